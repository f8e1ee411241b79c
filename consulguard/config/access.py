"""Who may say what, as people write it, and what becomes of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from consulguard import access
from consulguard.plan.duration import shorten
from consulguard.plan.strict import Strict


def _id(first: str, what: str) -> Callable[[str], str]:
    """Ids only: a name can be taken by somebody else."""
    shape = re.compile(f"[{first}][A-Z0-9]{{1,31}}")

    def check(value: str) -> str:
        if shape.fullmatch(value) is None:
            sentence = f"{shorten(value)} is not the id of a Slack {what} ({first[0]} and capitals or digits)"
            raise PydanticCustomError("wrong", "{text}", {"text": sentence})
        return value

    return check


SlackUser = Annotated[str, AfterValidator(_id("UW", "user"))]
SlackGroup = Annotated[str, AfterValidator(_id("S", "user group"))]
SlackChannel = Annotated[str, AfterValidator(_id("CGD", "channel"))]
SlackTeam = Annotated[str, AfterValidator(_id("T", "workspace"))]
User = Annotated[str, Field(min_length=1)]


class Role(Strict):
    users: list[User] = Field([], description="System users, on the command line.")
    slack_users: list[SlackUser] = Field([], description="Slack user ids (U...).")
    slack_usergroups: list[SlackGroup] = Field([], description="Slack user group ids (S...).")
    slack_channels: list[SlackChannel] = Field(
        [], description="Held in these Slack channels only (C...). Empty: wherever its people write."
    )

    def build(self) -> access.Role:
        return access.Role(
            users=tuple(self.users),
            slack_users=tuple(self.slack_users),
            slack_usergroups=tuple(self.slack_usergroups),
            slack_channels=tuple(self.slack_channels),
        )


class Access(Strict):
    slack_teams: list[SlackTeam] = Field(
        [], description="Workspace ids (T...) whose people may say anything at all. Empty: nobody in Slack."
    )
    viewer: Role = Role()
    operator: Role = Role()
    approver: Role = Role()
    admin: Role = Role()

    def build(self) -> access.AccessPolicy:
        return access.AccessPolicy(
            slack_teams=tuple(self.slack_teams),
            viewer=self.viewer.build(),
            operator=self.operator.build(),
            approver=self.approver.build(),
            admin=self.admin.build(),
        )
