"""What passes the desk is signed; what does not is kept on record."""

from typing import Any

from consulguard.access import AccessPolicy, Role
from consulguard.app.desk import Desk
from consulguard.events import Reply
from consulguard.model import Caller

POLICY = AccessPolicy(
    slack_teams=("T1",),
    operator=Role(slack_users=("U1",), users=("ann",)),
    approver=Role(slack_usergroups=("S1",)),
)
DONE = Reply(key="k", ok=True, text="done")


class Heard:
    def __init__(self):
        self.said: list[tuple[str, dict[str, Any], str]] = []

    async def __call__(self, command, args, who):
        self.said.append((command, args, who))
        return DONE


async def test_a_command_is_signed_by_the_door_not_by_the_request():
    heard = Heard()
    forged = {"id": "q", "users": ["root"], "slack_users": ["U9"], "caller": {"user": "root"}}
    caller = Caller(via="slack", user="U1", team="T1", groups=("S1",))
    assert await Desk(heard, POLICY).say(caller, "approve", forged, who="ann in #ops") is DONE
    ((command, args, who),) = heard.said
    assert (command, who) == ("approve", "ann in #ops")
    assert args.pop("caller")["user"] == "U1"
    assert args == {"id": "q", "slack_users": ["U1"], "slack_usergroups": ["S1"]}


async def test_a_refused_command_is_recorded_and_not_obeyed():
    heard = Heard()
    reply = await Desk(heard, POLICY).say_locally("resume", {"reason": "moving"}, "ann (command line)")
    assert reply is not None
    assert (reply.ok, reply.blocked) == (False, True)
    ((command, args, who),) = heard.said
    assert (command, who) == ("refused", "ann (command line)")
    assert args == {
        "verb": "resume",
        "subject": "moving",
        "why": reply.text,
        "caller": {"via": "cli", "user": "ann"},
    }


async def test_a_click_is_checked_as_what_it_does():
    heard = Heard()
    caller = Caller(via="slack", user="U1", team="T1")
    desk = Desk(heard, POLICY)
    assert not (await desk.say(caller, "click", {"offer": "o"}, who="ann", verb="approve")).ok
    assert await desk.say(caller, "click", {"offer": "o"}, who="ann", verb="silence") is DONE
    assert [(c, a.get("verb"), a.get("subject")) for c, a, _ in heard.said] == [
        ("refused", "approve", "o"),
        ("click", None, None),
    ]
