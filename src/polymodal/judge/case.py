"""Cases and verdicts: what a rule, a model or a person is asked, and what it says."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import numpy as np

from polymodal.chat import Usage
from polymodal.media import Message

Reason = Literal[
    "no_output",
    "refused_to_judge",
    "unparsable",
    "missing_tag",
    "two_labels",
    "out_of_scale",
    "timeout",
    "over_budget",
]


@dataclass(frozen=True, slots=True)
class Case:
    """One thing to judge.

    Attributes:
        id: unique in its run.
        item: what was asked; the same for every subject, so that subjects are compared item by item.
        group: what is not independent: a picture, an author.
        subject: who made the output; hidden by `blind`.
        variant: the condition; hidden by `blind`.
        messages: all that was said and shown, media as parts.
        reference: the right answer where there is one.
        tags: anything else.
        error: why the output never came or was cut short; such a case is counted, not scored.
    """

    id: str
    item: str
    group: str
    subject: str
    variant: str
    messages: tuple[Message, ...]
    reference: str = ""
    tags: Mapping[str, str | float] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """Where the evidence stands: characters `start` to `end` of the text of message `turn` (from 0)."""

    turn: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge says of a case; an invalid one has a reason and no score.

    Attributes:
        scores: by name of the question.
        valid: whether there is a verdict at all.
        reason: why not, from a closed list; "" where valid.
        rationale: in the judge's words.
        evidence: where in the case.
        judge: name and digest of all that makes the judge: prompt, code, decoding.
        usage: what it cost, members included.
        members: the verdicts behind this one, where several judges made it.
    """

    scores: Mapping[str, float]
    valid: bool = True
    reason: Reason | Literal[""] = ""
    rationale: str = ""
    evidence: tuple[Span, ...] = ()
    judge: str = ""
    usage: Usage = field(default_factory=Usage)
    members: tuple[Verdict, ...] = ()

    def __post_init__(self) -> None:
        if self.valid == bool(self.reason) or (self.scores and not self.valid):
            raise ValueError(
                f"a valid verdict has no reason, an invalid one has a reason and no score: {self.reason!r}"
            )


def unjudged(case: Case, judge: str) -> Verdict | None:
    """The verdict of every judge on an output that never came; None where there is something to judge."""
    if not case.error:
        return None
    known: Mapping[str, Reason] = {"timeout": "timeout", "over_budget": "over_budget"}
    return invalid(known.get(case.error, "no_output"), judge, case.error)


def invalid(reason: Reason, judge: str, rationale: str = "", usage: Usage | None = None) -> Verdict:
    """No verdict, and why."""
    return Verdict({}, False, reason, rationale, judge=judge, usage=usage or Usage())


class Judge(Protocol):
    """A rule, a model or a person: one type."""

    @property
    def name(self) -> str:
        """Name and digest; see `Verdict.judge`."""

    def __call__(self, case: Case, *, seed: int) -> Verdict:
        """Judge a case; the same case and seed give the same verdict. Never raises for what a case holds."""


def blind(cases: Iterable[Case], *, seed: int) -> list[Case]:
    """Cases in a seeded order, without the names of subject and variant, under ids that tell nothing."""
    hidden = [
        replace(
            case, id=hashlib.sha256(f"{seed}\0{case.id}".encode()).hexdigest()[:16], subject="", variant=""
        )
        for case in cases
    ]
    order = np.random.default_rng(seed).permutation(len(hidden))
    return [hidden[i] for i in order]
