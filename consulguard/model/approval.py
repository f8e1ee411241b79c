"""A person's agreement, as data: what was asked, of whom, until when, and what they said."""

from __future__ import annotations

import enum
from datetime import datetime

from consulguard.model.base import Value
from consulguard.model.mesh import Target
from consulguard.model.remedy import Approval, Run


class QuestionState(enum.StrEnum):
    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    VOID = "void"  # the plan changed, or there is nothing left to agree to


class Vote(Value, frozen=True, kw_only=True):
    who: str  # for people to read
    voter: str = ""  # the same person is the same voter, whatever the name; empty: ``who`` is
    agrees: bool
    at: datetime


class PlannedEffect(Value, frozen=True, kw_only=True):
    """One step of what is asked about, as people are shown it."""

    step: str
    action: str
    target: Target
    params: str  # as JSON: exactly what will be sent; empty for a step that cannot be filled in now
    effect: str = ""  # ``Intent.effect``


class Question(Value, frozen=True, kw_only=True):
    """May this run do exactly this? Any change of ``plan`` makes it another question.

    The id cannot be guessed (128 bits) and is good for one question only.
    """

    id: str
    run: Run  # pinned: what starts is what was shown
    plan: str  # SHA-256 over the playbook's digest and the effects
    effects: tuple[PlannedEffect, ...]
    rule: Approval
    needed: int  # different people
    asked_by: str = ""  # "": consulguard itself
    asker: str = ""  # as ``Vote.voter``
    asked_at: datetime
    expires_at: datetime
    votes: tuple[Vote, ...] = ()
    state: QuestionState = QuestionState.PENDING
    reason: str = ""  # why it is no longer pending
    decided_at: datetime | None = None

    @property
    def pending(self) -> bool:
        return self.state is QuestionState.PENDING
