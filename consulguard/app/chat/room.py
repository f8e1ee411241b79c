"""One envelope after the other: who speaks, what they want, whether they may, and the answer.

A door has acknowledged it before it comes here. What is only read is told to who asked; what was decided is told
in the channel, with who did it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

import msgspec
import structlog

from consulguard import correlate
from consulguard.access import allowed, refusal
from consulguard.act import Action
from consulguard.app import wiring
from consulguard.app.chat import answers, picture, tell, words
from consulguard.app.chat.mouth import Mouth, Place, place_of
from consulguard.app.chat.people import People, Stranger
from consulguard.app.desk import Desk, refused
from consulguard.engine import EngineState, offers
from consulguard.engine.state import Standing
from consulguard.engine.step import restore, snapshot
from consulguard.errors import NotifyRefused, NotifyUnavailable
from consulguard.events import Reply
from consulguard.model import Caller
from consulguard.serve.slack import Envelope, Kind, SlackWeb

HANDLE_S = 30.0
LINKS = ("dashboard",)  # entries of the menu that only lead somewhere
ASKS = {"deny": tell.deny_form, "silence": tell.silence_form}  # verbs that need words before they count
UNKNOWN = "status"  # the right that is checked for a button nobody knows: whether they are known here at all
T = TypeVar("T")
log = structlog.get_logger("consulguard.slack")


class Bot(Protocol):
    """What the room needs of the daemon."""

    async def ask(self, question: Callable[[EngineState], T]) -> T: ...

    async def command(self, name: str, args: dict[str, Any], who: str) -> Reply | None: ...


class Room:
    """``handle`` never raises: a bug here, or Slack's silence, must not end what repairs."""

    def __init__(
        self,
        bot: Bot,
        desk: Desk,
        web: SlackWeb,
        people: People,
        actions: Mapping[str, Action[Any]],
        failpoint: Callable[[str], None] = lambda name: None,
    ) -> None:
        self._bot = bot
        self._desk = desk
        self._web = web
        self._people = people
        self._actions = actions
        self._failpoint = failpoint
        self._mouth = Mouth(web)

    async def handle(self, envelope: Envelope) -> None:
        self._failpoint("chat.acknowledged")
        if envelope.kind is Kind.CLICK and envelope.value in LINKS:
            return
        try:
            async with asyncio.timeout(HANDLE_S):
                await self._handle(envelope)
        except TimeoutError:
            log.warning("slack_not_answered_in_time", kind=envelope.kind.value)
        except Exception as error:
            log.error("slack_not_answered", kind=envelope.kind.value, error=type(error).__name__, exc_info=error)

    async def _handle(self, envelope: Envelope) -> None:
        place = _place(envelope)
        try:
            caller = await self._people.caller(envelope, place.channel)
        except Stranger as error:
            await self._turn_away(envelope, place, str(error))
            return
        match envelope.kind:
            case Kind.COMMAND:
                await self._typed(caller, place, envelope.text)
            case Kind.CLICK:
                await self._clicked(caller, place, envelope)
            case Kind.SUBMIT:
                await self._submitted(caller, place, envelope)

    async def _turn_away(self, envelope: Envelope, place: Place, why: str) -> None:
        """On record, like everything that was refused."""
        caller = Caller(via="slack", user=envelope.user, team=envelope.team, channel=place.channel)
        verb = envelope.text.split(" ", 1)[0][:40] if envelope.kind is Kind.COMMAND else envelope.kind.value
        args = refused(caller, verb or "help", {"offer": envelope.value[:64]}, why)
        await self._bot.command("refused", args, _who(caller))
        await self._mouth.whisper(place, [f"Sorry: {why}."])

    # ---- typed

    async def _typed(self, caller: Caller, place: Place, text: str) -> None:
        may = allowed(self._desk.policy, caller)
        asked = words.parse(text, [verb for verb in words.FORMS if verb in may])
        if asked.problem:
            await self._mouth.whisper(place, [f"{asked.problem}."])
        elif asked.verb in words.READING or asked.args.get("dry_run"):
            await self._read(caller, place, asked.verb, asked.args)
        else:
            args = {name: value for name, value in asked.args.items() if name != "dry_run"}
            reply = await self._desk.say(caller, asked.verb, args, who=_who(caller))
            await self._answer(caller, place, asked.verb, reply)

    async def _read(self, caller: Caller, place: Place, verb: str, args: Mapping[str, Any]) -> None:
        dry = verb == "run"
        if why := refusal(self._desk.policy, caller, "plan" if dry else verb):
            signed = refused(caller, verb, args, why)
            await self._bot.command("refused", signed, _who(caller))
            await self._mouth.whisper(place, [f"Sorry: {why}."])
        elif verb == "help":
            await self._mouth.whisper(place, _help(allowed(self._desk.policy, caller)))
        elif dry:
            await self._mouth.whisper(place, await self._rehearsed(args))
        elif verb == "topology":
            await self._topology(place, str(args.get("service", "")), str(args.get("incident", "")))
        else:
            read = answers.reader(verb, args, self._actions)
            await self._mouth.whisper(place, await self._bot.ask(lambda state: list(read(state))))

    async def _rehearsed(self, args: Mapping[str, Any]) -> list[str]:
        """What an order would do, tried on a copy: nothing of it happens."""
        body = await self._bot.ask(snapshot)

        def rehearse() -> list[str]:
            state, reply = wiring.ordered(restore(body), str(args["playbook"]), str(args["service"]))
            told = answers.would(state, reply.incident, self._actions) if reply.incident else []
            return [f"DRY-RUN {reply.text}", *told]

        return await asyncio.to_thread(rehearse)

    async def _topology(self, place: Place, service: str, incident: str) -> None:
        """As a picture in the channel; in words where that cannot be."""
        if incident:
            found = await self._bot.ask(lambda state: answers.find(state, incident))
            service = "" if isinstance(found, str) else found.members[0].target.service if found.members else ""
        shown = await self._bot.ask(
            lambda state: correlate.topology(state.book, state.troubles(), service or None)
        )
        image = await asyncio.to_thread(picture.draw, shown)
        if image is not None and place.channel:
            try:
                await self._web.upload(place.channel, "topology.png", image, "")
                return
            except (NotifyRefused, NotifyUnavailable) as error:
                log.info("slack_picture_not_uploaded", reason=str(error))
        await self._mouth.whisper(place, await self._bot.ask(lambda state: answers.topology(state, service)))

    # ---- pressed

    async def _clicked(self, caller: Caller, place: Place, envelope: Envelope) -> None:
        """Only the id counts, not what the button says it is."""
        offer = await self._bot.ask(lambda state: offers.known(state, envelope.value))
        if offer is not None and offer.verb in words.READING:
            args = {"incident": offer.incident, "subject": offer.incident}
            await self._read(caller, place, offer.verb, args)
        elif offer is not None and not offer.over and offer.verb in ASKS:
            await self._ask(caller, place, envelope, offer)
        else:
            await self._decide(caller, place, envelope.value, offer, {})

    async def _ask(self, caller: Caller, place: Place, envelope: Envelope, offer: Standing) -> None:
        if refusal(self._desk.policy, caller, offer.verb):
            await self._decide(caller, place, envelope.value, offer, {})  # which refuses it, on record
            return
        kept = [envelope.value, place.channel, place.thread, place.response_url]
        metadata = msgspec.json.encode(kept).decode()
        about = await self._bot.ask(lambda state: _about(state, offer))
        view = ASKS[offer.verb](metadata, about)
        try:
            await self._web.write("views.open", {"trigger_id": envelope.trigger, "view": view})
        except (NotifyRefused, NotifyUnavailable) as error:
            log.warning("slack_form_not_opened", reason=str(error))
            await self._mouth.whisper(place, ["Slack did not open the form; please press again."])

    async def _submitted(self, caller: Caller, place: Place, envelope: Envelope) -> None:
        offer_id = _kept(envelope)[0]
        offer = await self._bot.ask(lambda state: offers.known(state, offer_id))
        given: dict[str, Any] = {}
        if reason := envelope.fields.get("reason", "") or envelope.fields.get("comment", ""):
            given["reason"] = reason[: words.REASON_MAX]
        if (for_s := words.duration(envelope.fields.get("for", ""))) is not None:
            given["for_s"] = for_s
        await self._decide(caller, place, offer_id, offer, given)

    async def _decide(
        self, caller: Caller, place: Place, offer_id: str, offer: Standing | None, given: dict[str, Any]
    ) -> None:
        verb = offer.verb if offer is not None else UNKNOWN
        args = {"offer": offer_id[:64], **given} | ({"verb": verb} if offer is not None else {})
        reply = await self._desk.say(caller, "click", args, who=_who(caller), verb=verb)
        self._failpoint("chat.decided")
        await self._answer(caller, place, verb, reply)

    async def _answer(self, caller: Caller, place: Place, verb: str, reply: Reply | None) -> None:
        said = reply.text if reply is not None and reply.text else f"{verb}: done"
        if reply is None or reply.ok:
            await self._mouth.announce(place, [f"{caller.name}: {said}"])
        else:
            await self._mouth.whisper(place, [f"Sorry: {said}."])


def _who(caller: Caller) -> str:
    """For people to read. The id makes it theirs: a name anybody can take."""
    return f"{caller.name or 'somebody'} ({caller.user} in Slack)"


def _help(may: tuple[str, ...]) -> list[str]:
    lines = [
        f"{verb} {form.usage}".rstrip() + f": {form.help}" for verb, form in words.FORMS.items() if verb in may
    ]
    return ["What you may say here, behind /consulguard:", *lines]


def _about(state: EngineState, offer: Standing) -> str:
    question = state.questions.get(offer.question)
    if question is not None:
        return offers.confirm(question)
    found = state.book.incidents.get(offer.incident)
    return f"{offer.incident}: {found.root.name}" if found is not None else offer.incident


def _kept(envelope: Envelope) -> list[str]:
    """What the form was opened with: the offer, its channel and thread, the response URL of the click."""
    try:
        kept = msgspec.json.decode(envelope.value, type=list[str])
    except msgspec.DecodeError:
        kept = []
    return kept if len(kept) == 4 else ["", "", "", ""]


def _place(envelope: Envelope) -> Place:
    """A form has no channel of its own: it belongs to the message whose button opened it."""
    if envelope.kind is not Kind.SUBMIT:
        return place_of(envelope)
    _, channel, thread, url = _kept(envelope)
    return Place(channel=channel, user=envelope.user, thread=thread, response_url=url)
