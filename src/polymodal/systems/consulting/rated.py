"""A chat model rates a consultation: the axes of a rubric, by what was said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from polymodal import metrics as m
from polymodal.judge import Case as Judged
from polymodal.judge.asked import asked
from polymodal.judge.rubric import read_rubric

if TYPE_CHECKING:
    from polymodal.chat import ChatModel
    from polymodal.envs.clinic import Case
    from polymodal.media import Message
    from polymodal.training.study import Book

AXIS = "axis "  # before a score's name in a row


def rated(
    model: ChatModel, rubric: Mapping[str, Any], messages: tuple[Message, ...], case: Case, *, seed: int
) -> dict[str, Any]:
    """A score an axis; without one where the rater gave no verdict, which `unrated` names.

    The rater is not told which arm it sees; it is told the true diagnosis, as the specialists of the study
    were.
    """
    judge = asked(model, read_rubric(rubric), reference=True)
    group = case.group or case.id
    seen = Judged(case.id, case.id, group, "doctor", "", messages, reference=case.diagnosis)
    verdict = judge(seen, seed=seed)
    if not verdict.valid:
        return {"unrated": verdict.reason or "invalid"}
    return {f"{AXIS}{name}": float(x) for name, x in verdict.scores.items()}


def axes(book: Book, doctor: str, arms: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Means of every axis in every arm, and the state's less the matched arm's, p by Benjamini-Hochberg."""
    named = dict.fromkeys(
        key for rows in arms.values() for row in rows for key in row if key.startswith(AXIS)
    )
    for arm, rows in arms.items():
        lost = sum("unrated" in row for row in rows)
        if lost:
            book.sections["notes"].append(f"{doctor} {arm}: {lost} of {len(rows)} got no rating.")
        for name in named:
            values = [row[name] for row in rows if name in row]
            if values:
                book.add(f"{doctor} {arm}: {name}", m.mean(np.array(values)))
    both = {row["case"]: row for row in arms.get("plain_matched", ())}
    found: dict[str, m.Estimate] = {}
    for name in named:
        mine = {row["case"]: row[name] for row in arms.get("state", ()) if name in row}
        cases = [case for case in mine if name in both.get(case, {})]
        if cases:
            sides = ([mine[case] for case in cases], [both[case][name] for case in cases])
            found[name] = m.difference(None, *map(np.array, sides), seed=book.seed)
    held = m.benjamini_hochberg([np.nan if one.p is None else one.p for one in found.values()])
    for (name, gap), p in zip(found.items(), held, strict=True):
        book.add(f"{doctor}: state - plain_matched, {name}", replace(gap, p=float(p) if p == p else None))
