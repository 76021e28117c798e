"""What a doctor keeps of a consultation: phase, findings with their sources, differential."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Literal

from polymodal.envs.clinic.table import UNSURE

Status = Literal["present", "absent", "unsure"]
_WORD = re.compile(r"[^\W_]+")
OTHER = "other"  # the differential's remainder
PROFILE = (
    "complaint", "illness", "demographics", "past", "family", "social", "medications", "allergies",
)  # fmt: skip
TRANSITIONS: Mapping[str, frozenset[str]] = {
    "history": frozenset({"validate", "present"}),  # present: the budget is spent
    "validate": frozenset({"present", "history"}),
    "present": frozenset({"plan", "history", "closed"}),  # closed: the budget is spent
    "plan": frozenset({"followup", "history", "closed"}),
    "followup": frozenset({"closed", "history"}),
    "closed": frozenset({"history"}),  # the next visit, see `State.returned`
}


@dataclass(frozen=True, slots=True)
class Noted:
    """A finding, and where it comes from.

    Attributes:
        name: of the finding; one state holds a name once, the latest word on it.
        status: whether it is there.
        source: the turn in which it was said (from 0), or the digest of the artefact that shows it.
        quote: the words that say so.
        box: left, top, right, bottom in the artefact's pixels.
    """

    name: str
    status: Status
    source: int | str
    quote: str = ""
    box: tuple[int, int, int, int] | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """An artefact that was shown: quality good, poor or unread; `findings` are what a reader saw in it."""

    digest: str
    kind: str
    quality: str = "good"
    findings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Gap:
    """Something not known yet: kind text, artefact or exam; the first of a list is asked for first."""

    what: str
    kind: str
    why: str = ""
    weight: float = 0.0


@dataclass(frozen=True, slots=True)
class Ranked:
    """A diagnosis with its probability and the names of the findings for and against it."""

    name: str
    p: float
    support: tuple[str, ...] = ()
    against: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """One turn of the talk: what was heard, as `Heard` has it, and what the doctor did then."""

    said: str
    finding: str = ""
    value: str = ""
    kind: str = ""
    digest: str = ""
    reply: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """All that a doctor carries from turn to turn: a consultation goes on from it alone (section 2).

    Attributes:
        phase: history, validate, present, plan, followup or closed.
        trail: the phases so far, this one included.
        profile: lists of words by the fields of PROFILE; positives and negatives are in `findings`.
        findings: by order of their first mention.
        artefacts: in the order shown.
        gaps: the most wanted first.
        differential: the likeliest first, OTHER last; sums to 1, or is empty before the first ranking.
        plan: as told last.
        sources: what the plan rests on.
        flags: what a reader of the record should know: cut, reopened.
        counts: of questions, retakes, calls, tokens, invalid replies and the like.
        talk: turn by turn, over all visits.
        visits: the turn with which each visit began.
    """

    phase: str = "history"
    trail: tuple[str, ...] = ("history",)
    profile: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    findings: tuple[Noted, ...] = ()
    artefacts: tuple[Seen, ...] = ()
    gaps: tuple[Gap, ...] = ()
    differential: tuple[Ranked, ...] = ()
    plan: str = ""
    sources: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    talk: tuple[Line, ...] = ()
    visits: tuple[int, ...] = (0,)

    def to_json(self) -> str:
        """One line of JSON; equal states give equal bytes."""
        return json.dumps(
            plain(self), default=plain, ensure_ascii=False, sort_keys=True, separators=(",", ":")
        )

    @staticmethod
    def from_json(text: str) -> State:
        """The state that `to_json` wrote.

        Raises:
            ValueError: not such a line.
        """
        try:
            data = json.loads(text)
            kinds = {"artefacts": Seen, "gaps": Gap, "differential": Ranked, "talk": Line, "findings": Noted}
            for name, kind in kinds.items():
                rows = [{k: _fixed(v) for k, v in row.items()} for row in data[name]]
                data[name] = tuple(kind(**row) for row in rows)
            data["profile"] = {name: tuple(words) for name, words in data["profile"].items()}
            return State(**{name: _fixed(value) for name, value in data.items()})
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"not a line of State.to_json: {error}") from None

    def moved(self, phase: str) -> State:
        """The state in another phase.

        Raises:
            ValueError: TRANSITIONS knows no such step.
        """
        if phase not in TRANSITIONS.get(self.phase, ()):
            known = ", ".join(sorted(TRANSITIONS.get(self.phase, ()))) or "none"
            raise ValueError(f"no step from {self.phase!r} to {phase!r}; known: {known}")
        return replace(self, phase=phase, trail=(*self.trail, phase))

    def returned(self) -> State:
        """The state with which the next visit begins: what is known and what was advised, and the whole talk.

        Counts and flags are of a visit and begin anew. A visit that was broken off may have left a question
        without its answer; it is marked in the talk, so that no later words pass for that answer.
        """
        talk = self.talk
        if talk and not talk[-1].reply.startswith("["):
            talk = (*talk[:-1], replace(talk[-1], reply=f"[unanswered] {talk[-1].reply}"))
        trail, visits = (*self.trail, "history"), (*self.visits, len(talk))
        return replace(self, phase="history", trail=trail, flags=(), counts={}, talk=talk, visits=visits)

    def takes(self) -> dict[str, int]:
        """By kind of artefact, the take that was shown last; 0 is the first."""
        shown: dict[str, set[str]] = {}
        for one in self.artefacts:
            shown.setdefault(one.kind, set()).add(one.digest)
        return {kind: len(digests) - 1 for kind, digests in shown.items()}

    def counted(self, **more: int) -> State:
        """The state with counts raised."""
        counts = {name: self.counts.get(name, 0) + n for name, n in more.items()}
        return replace(self, counts={**self.counts, **counts})

    def flagged(self, flag: str) -> State:
        """The state with a flag, once."""
        return self if flag in self.flags else replace(self, flags=(*self.flags, flag))

    def noted(self, found: Sequence[Noted]) -> State:
        """The state with findings: a name that is there keeps its place and takes the later word."""
        return replace(self, findings=tuple({one.name: one for one in (*self.findings, *found)}.values()))


def plain(one: Any) -> dict[str, Any]:
    """A state or one of its rows by field; the `default` that lets `json.dumps` write it."""
    return {name: getattr(one, name) for name in one.__slots__}


def _fixed(value: Any) -> Any:
    """Lists as the tuples they were."""
    return tuple(value) if isinstance(value, list) else value


def supported(claims: Sequence[Noted], talk: Sequence[Line], artefacts: Sequence[Seen]) -> tuple[bool, ...]:
    """Whether each claim's source says what it claims; a claim that cannot be checked is not supported.

    Where a table patient answered, the claim must be the finding that was asked for, with the value given.
    Free words must hold the claim's quote, and the quote or the question before it the words of its name
    (by their first five letters), so a doctor should name findings as the patient does. What was seen must be
    among the readings of that artefact.
    """
    shown = {one.digest: one.findings for one in artefacts}
    return tuple(_holds(claim, talk, shown) for claim in claims)


def _holds(claim: Noted, talk: Sequence[Line], shown: Mapping[str, tuple[str, ...]]) -> bool:
    if isinstance(claim.source, str):
        return claim.status == "present" and claim.name in shown.get(claim.source, ())
    if not 0 <= claim.source < len(talk):
        return False
    line = talk[claim.source]
    if line.finding and line.value:
        return (claim.name, claim.status) == (line.finding, status_of(line.value))
    quote, asked = _words(claim.quote), talk[claim.source - 1].reply if claim.source else ""
    asked = "" if asked.startswith("[") else asked  # what is no question gives no name to an answer
    stems = {word[:5] for word in _words(f"{quote} {asked} {line.finding}").split()}
    named = {word[:5] for word in _words(claim.name).split() if len(word) > 2 or word.isdigit()}
    return bool(quote) and f" {quote} " in f" {_words(line.said)} " and named <= stems


def status_of(value: str) -> Status:
    """The status that a table patient's value stands for."""
    return "unsure" if value in ("", UNSURE) else "absent" if value == "no" else "present"


@lru_cache(maxsize=1024)  # a ranking compares each name with each
def _words(text: str) -> str:
    """Letters and digits in lower case, one blank between words."""
    return " ".join(_WORD.findall(text.casefold()))


def same_name(one: str, other: str) -> bool:
    """Whether two names are equal but for case, signs and spacing."""
    return _words(one) == _words(other)


def names(text: str, name: str) -> bool:
    """Whether a text has a name in it, as whole words."""
    return bool(_words(name)) and f" {_words(name)} " in f" {_words(text)} "


def wordless(text: str) -> bool:
    """Whether an entry of a profile says that there is nothing: "none", "no known allergies"."""
    first = _words(text).split()[:1]
    return not first or first[0] in ("no", "none", "nil", "nothing", "unknown", "nkda")
