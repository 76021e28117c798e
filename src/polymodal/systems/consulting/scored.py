"""How a consultation went, in numbers: its course, what was asked, what was heard.

Scores that a consultation has no ground for are left out: no red flag was due, no take was poor, the case
has no tables.
"""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from polymodal.envs.clinic import UNSURE, Ask, Case, Clinic, Present, Request, Retake
from polymodal.envs.clinic.patient import RETAKES, named
from polymodal.envs.clinic.spoken import sentences
from polymodal.envs.clinic.state import OTHER, status_of
from polymodal.envs.doctor import concluded
from polymodal.envs.doctor.beliefs import GUARDED
from polymodal.metrics.acting import (
    confirm,
    covered,
    differentials,
    explore,
    gtpa,
    matrix,
    overlap,
    progress,
    question_yield,
    rank,
    trajectory,
)

if TYPE_CHECKING:
    from polymodal.envs.clinic import Shown
    from polymodal.envs.play import Turn

Told = Mapping[str, float]
SCORES: Mapping[str, tuple[str, Any]] = {  # by the key in a row: its name, and which direction is good
    "gtpa1": ("GTPA@1", "higher"),
    "gtpa3": ("GTPA@3", "higher"),
    "ddr": ("DDR", "higher"),
    "ddp": ("DDP", "higher"),
    "ddf1": ("DDF1", "higher"),
    "per": ("PER", "higher"),
    "pep": ("PEP", "higher"),
    "pef1": ("PEF1", "higher"),
    "trajectory": ("trajectory", "higher"),
    "confirm": ("confirm", "higher"),
    "explore": ("explore", "higher"),
    "rank": ("rank of the truth", "lower"),
    "progress": ("places gained a turn", "higher"),
    "missed": ("red flags missed", "lower"),
    "telling": ("telling artefact requested", "higher"),
    "retaken": ("poor takes taken again", "higher"),
    "recall": ("fact recall", "higher"),
    "yield": ("questions that bring news", "higher"),
}
MEANT = {  # for who reads the report
    "GTPA@k": "the truth is among the first k told, with more than 1 %",
    "DDR, DDP, DDF1": "recall, precision and F1 of the diseases told with more than 1 %, against the case's "
    "own differential, or what exact inference makes of all that could be known of the case",
    "PER, PEP, PEF1": "the same of what was asked and requested, against the findings that are there and the "
    "artefacts that are out of the usual",
    "trajectory, confirm, explore": "exploring early and confirming late, over the turns that have a "
    "differential; nearness of the last to the reference; distance of the last from the first",
    "red flags missed": "share of those that were due (a disease they guard had more than 5 %, or is the "
    "truth) and were never asked",
    "telling artefact": "the one whose classes under the truth differ most from what is usual",
    "fact recall": "share of the findings that are there, or of a written case's sentences, that were heard",
}


def scored(
    case: Case,
    turns: Sequence[Turn],
    told: Sequence[Told],
    clinic: Clinic | None = None,
    *,
    shown: Mapping[str, Sequence[Shown]] | None = None,
    verbatim: bool = True,
) -> dict[str, Any]:
    """Scores of a consultation by the keys of SCORES, and `ranks`, the truth's place turn by turn.

    It counts up to the last differential that was presented. Ranks are 11 or more where the truth was not
    listed, as before a first differential.

    Args:
        case: who came, with artefacts of its own.
        turns: of the consultation.
        told: the differential after each turn, empty before the first.
        clinic: the case's tables, where there are any.
        shown: the takes that were there to be shown, where they were not the case's own.
        verbatim: whether the patient says findings and sentences as the case has them; else what was heard
            cannot be told, and `recall` and `yield` are left out.
    """
    last = max((i for i, turn in enumerate(turns) if isinstance(turn.action, Present)), default=len(turns))
    turns, beliefs = turns[: last + 1], [_own(p, clinic) for p in told[: last + 1]]
    asked = {
        name
        for turn in turns
        if isinstance(turn.action, Ask)
        and ((name := turn.action.finding) or (name := turn.action.text.strip()) in case.findings)
    }
    kinds = {named(turn.action.kind, case.artefacts) for turn in turns if isinstance(turn.action, Request)}
    found = differential(case, clinic, beliefs)
    found |= evidence(case, clinic, asked, kinds - {None})
    if clinic is not None:
        found["missed"] = missed(case, clinic, beliefs, asked)
        best = telling(case, clinic)
        found["telling"] = math.nan if best is None else float(best in kinds)
    found["retaken"] = retaken(turns, case.artefacts if shown is None else shown)
    if verbatim:
        found |= heard(case, turns)
    return {name: x if name == "ranks" else round(x, 6) for name, x in found.items() if x == x}


def reference(case: Case, clinic: Clinic | None) -> dict[str, float]:
    """The case's own differential, else exact inference over all its findings and its artefacts' classes.

    Empty where there is neither.
    """
    own = {name: p for name, p in _own(case.differential, clinic).items() if p > 0}
    if own:
        return {name: p / sum(own.values()) for name, p in own.items()}
    if clinic is None:
        return {}
    known = {one.name for one in clinic.findings}
    seen = {
        one.kind: [float(name == takes[0].truth) for name in one.classes]
        for one in clinic.artefacts
        if (takes := case.artefacts.get(one.kind)) and takes[0].truth in one.classes
    }
    return concluded(clinic, {name: value for name, value in case.findings.items() if name in known}, seen)


def differential(case: Case, clinic: Clinic | None, told: Sequence[Told]) -> dict[str, Any]:
    """What was told in the end and how it came about; `told` by the clinic's own names.

    GTPA and DDR follow DDXPlus (2205.09148). The course counts the turns that have a differential, towards
    the reference, or the truth where there is none.
    """
    truth = next(iter(_own({case.diagnosis: 1.0}, clinic)))
    final = told[-1] if told else {}
    ranks = [rank(truth, sorted(p, key=lambda name: -p[name])) for p in told or [{}]]
    gained = progress(ranks)
    found: dict[str, Any] = {f"gtpa{k}": gtpa(truth, final, k) for k in (1, 3)}
    found |= {"ranks": ranks, "rank": ranks[-1]}
    if gained:
        found["progress"] = sum(gained) / len(gained)
    wanted = reference(case, clinic)
    if wanted:
        found |= dict(zip(("ddr", "ddp", "ddf1"), differentials(final, wanted), strict=True))
    if steps := [p for p in told if p]:
        goal = wanted or {truth: 1.0}
        listed = (
            [one.name for one in clinic.diseases]
            if clinic
            else dict.fromkeys(n for p in (goal, *steps) for n in p)
        )
        *course, g = matrix([*steps, goal], list(listed))
        found |= {"trajectory": trajectory(g, course), "confirm": confirm(g, course[-1])}
        if len(course) > 1:
            found["explore"] = explore(course[0], course[-1])
    return found


def evidence(
    case: Case, clinic: Clinic | None, asked: Collection[str], kinds: Collection[str | None]
) -> dict[str, float]:
    """PER, PEP and PEF1: what was asked and requested, against positive findings and unusual artefacts.

    The complaint, which is told unasked, counts on neither side.
    """
    wanted = ({*positive(case)} - {case.complaint}) | unusual(case, clinic)
    got = ({*asked} - {case.complaint}) | {*kinds}
    return dict(zip(("per", "pep", "pef1"), overlap(got, wanted), strict=True)) if wanted else {}


def positive(case: Case) -> dict[str, str]:
    """The findings that are there, with their values.

    Of a DDXPlus patient those of its list: the rest has the release's defaults, which are no evidence.
    """
    said = case.findings.maps[0] if isinstance(case.findings, ChainMap) else case.findings
    return {name: value for name, value in said.items() if status_of(value) == "present"}


def unusual(case: Case, clinic: Clinic | None) -> set[str]:
    """The kinds whose class is not the one that is commonest among all who come."""
    found = set()
    for one in clinic.artefacts if clinic else ():
        takes = case.artefacts.get(one.kind)
        usual = one.classes[int(np.argmax(clinic.prior @ clinic.shows[one.kind]))] if clinic else ""
        if takes and takes[0].truth not in ("", usual):
            found.add(one.kind)
    return found


def missed(case: Case, clinic: Clinic, told: Sequence[Told], asked: Collection[str]) -> float:
    """Share of the red flags due that were never asked; NaN where none was due.

    One is due where a disease that it guards is the truth, or had more than .05 together with the others it
    guards after some turn.
    """
    truth, due = clinic.diseases[clinic.index(case.diagnosis)].name, set()
    for finding in clinic.findings:
        guarded = {clinic.diseases[clinic.index(name)].name for name in finding.guards}
        if truth in guarded or any(sum(p.get(name, 0.0) for name in guarded) > GUARDED for p in told):
            due.add(finding.name)
    return 1 - covered(due, {*asked, case.complaint})


def telling(case: Case, clinic: Clinic) -> str | None:
    """The kind of artefact whose classes under the truth differ most from the usual (total variation).

    None where no artefact of the case tells anything about it.
    """
    d = clinic.index(case.diagnosis)
    gaps = {
        one.kind: float(np.abs(clinic.shows[one.kind][d] - clinic.prior @ clinic.shows[one.kind]).sum())
        for one in clinic.artefacts
        if one.kind in case.artefacts
    }
    best = max(gaps, key=lambda kind: gaps[kind], default=None)
    return best if best is not None and gaps[best] > 1e-9 else None


def retaken(turns: Sequence[Turn], shown: Mapping[str, Sequence[Shown]]) -> float:
    """Share of the poor takes seen, of which another could be had, that were followed by it; else NaN."""
    seen, at = set[tuple[str, int]](), dict[str, int]()
    for turn in turns:
        kind = named(turn.action.kind, shown) if isinstance(turn.action, Request | Retake) else None
        if kind is None:
            continue
        again = isinstance(turn.action, Retake) and kind in at
        take = at[kind] + 1 if again else 0
        if take <= min(RETAKES, len(shown[kind]) - 1):
            at[kind] = take
            seen.add((kind, take))
    more = {
        (kind, take + 1)
        for kind, take in seen
        if shown[kind][take].poor and take < min(RETAKES, len(shown[kind]) - 1)
    }
    return covered(more, seen)


def heard(case: Case, turns: Sequence[Turn]) -> dict[str, float]:
    """Fact recall, and the share of questions that brought news.

    Facts are the positive findings, the complaint's among them, and news any answer but "not sure"; of a
    case without findings both are its sentences.
    """
    facts: set[Any] = {*positive(case).items()} if case.findings else {x for _, x in sentences(case)}
    told: Callable[[Any], set[Any]] = _answers if case.findings else lambda seen: _said(facts, seen)
    known, fresh = told(turns[0].observation) if turns else set(), []
    for turn in turns:
        new = told(turn.after) - known if turn.after else set()
        known |= new
        if isinstance(turn.action, Ask):
            fresh.append(bool(new))
    return {"recall": covered(facts, known), "yield": question_yield(fresh)}


def _answers(seen: Mapping[str, Any]) -> set[Any]:
    known = seen["finding"] and seen["value"] not in ("", UNSURE)
    return {(seen["finding"], seen["value"])} if known else set()


def _said(facts: Collection[str], seen: Mapping[str, Any]) -> set[Any]:
    return {fact for fact in facts if fact.rstrip(".!?") in seen["said"]}


def _own(p: Told, clinic: Clinic | None) -> dict[str, float]:
    """A differential by the clinic's own names, without what is left over."""
    found: dict[str, float] = {}
    for name, x in p.items():
        own = name
        if clinic is not None:
            try:
                own = clinic.diseases[clinic.index(name)].name
            except LookupError:
                own = name
        if own != OTHER:
            found[own] = found.get(own, 0.0) + x
    return found
