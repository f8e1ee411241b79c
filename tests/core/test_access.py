"""Who may say what: nobody who is not listed, and never less with a role more."""

import msgspec
import pytest
from consulguard.access import ROLES, VERBS, AccessPolicy, Role, allowed, refusal
from consulguard.model import Caller
from hypothesis import given
from hypothesis import strategies as st

VIAS = ("slack", "cli", "http", "")
USERS, GROUPS, CHANNELS, TEAMS = ("U1", "U2", "ann", "ben"), ("S1", "S2"), ("C1", "C2"), ("T1", "T2")


def some(names):
    return st.lists(st.sampled_from(names), unique=True).map(tuple)


roles = st.builds(
    Role, users=some(USERS), slack_users=some(USERS), slack_usergroups=some(GROUPS), slack_channels=some(CHANNELS)
)
policies = st.builds(
    AccessPolicy, slack_teams=some(TEAMS), viewer=roles, operator=roles, approver=roles, admin=roles
)
callers = st.builds(
    Caller,
    via=st.sampled_from(VIAS),
    user=st.sampled_from((*USERS, "")),
    team=st.sampled_from((*TEAMS, "")),
    channel=st.sampled_from((*CHANNELS, "")),
    groups=some(GROUPS),
)
verbs = st.one_of(st.sampled_from(sorted(VERBS)), st.text(max_size=8))


def slack(user="U1", **fields):
    return Caller(via="slack", user=user, **{"team": "T1", "channel": "C1", **fields})


def granting(role, **lists):
    return AccessPolicy(slack_teams=("T1",), **{role: Role(**lists)})


@given(callers, verbs)
def test_an_empty_policy_lets_nobody_in_but_whom_the_socket_lets_in(caller, verb):
    refused = refusal(AccessPolicy(), caller, verb)
    assert refused == "" if caller.via == "cli" and verb in VERBS else refused


@given(policies, callers, verbs)
def test_what_is_not_allowed_has_a_reason(policy, caller, verb):
    assert bool(refusal(policy, caller, verb)) == (verb not in allowed(policy, caller))


@given(policies, callers)
def test_a_higher_role_includes_the_lower_ones(policy, caller):
    held = {VERBS[verb] for verb in allowed(policy, caller)}
    assert held == set(ROLES[: len(held)])


@given(policies, callers, st.sampled_from(ROLES))
def test_a_role_more_never_means_less(policy, caller, role):
    """But that once a system user is listed, only those who are listed count; and a channel list narrows."""
    before = policy.role(role)
    more = msgspec.structs.replace(
        before,
        users=(*before.users, caller.user) if policy.names_users else before.users,
        slack_users=(*before.slack_users, caller.user),
        slack_usergroups=(*before.slack_usergroups, *caller.groups),
    )
    after = msgspec.structs.replace(policy, **{role: more})
    assert set(allowed(policy, caller)) <= set(allowed(after, caller))


@given(policies, callers)
def test_nobody_of_another_workspace(policy, caller):
    if caller.via == "slack" and caller.team not in policy.slack_teams:
        assert allowed(policy, caller) == ()


@pytest.mark.parametrize("lists", [{"slack_users": ("U1",)}, {"slack_usergroups": ("S0", "S1")}])
def test_listed_by_user_or_by_group(lists):
    policy = granting("operator", **lists)
    assert refusal(policy, slack(groups=("S1",)), "pause") == ""
    assert refusal(policy, slack(groups=("S1",)), "status") == ""
    assert refusal(policy, slack(groups=("S1",)), "resume") == "resume needs the role admin; you have operator"
    assert refusal(policy, slack("U9"), "status") == "status needs the role viewer; you have none"


def test_a_role_can_be_bound_to_channels():
    policy = granting("approver", slack_users=("U1",), slack_channels=("C1",))
    policy = msgspec.structs.replace(policy, viewer=Role(slack_users=("U1",)))
    assert refusal(policy, slack(), "approve") == ""
    elsewhere = slack(channel="C2")
    assert refusal(policy, elsewhere, "show") == ""
    assert refusal(policy, elsewhere, "approve") == (
        "approve needs the role approver, which you do not have in this channel"
    )


def test_a_channel_alone_makes_nobody_anything():
    assert allowed(granting("admin", slack_channels=("C1",)), slack()) == ()


def test_ids_of_one_door_mean_nothing_at_another():
    policy = granting("admin", slack_users=("U1",), users=("ann",))
    assert allowed(policy, Caller(via="cli", user="U1")) == ()
    assert allowed(policy, slack("ann")) == ()
    assert allowed(policy, Caller(via="http", user="ann")) == ()
    assert set(allowed(policy, Caller(via="cli", user="ann"))) == set(VERBS)


def test_to_pull_a_brake_is_easier_than_to_release_it():
    order = ROLES.index
    assert order(VERBS["pause"]) < order(VERBS["resume"])
    assert order(VERBS["silence"]) < order(VERBS["rearm"])
