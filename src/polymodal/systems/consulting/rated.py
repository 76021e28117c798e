"""A chat model as the rater of a consultation: the axes of a rubric, by what was said and recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    names = list(
        dict.fromkeys(k for rows in arms.values() for row in rows for k in row if k.startswith(AXIS))
    )
    for arm, rows in arms.items():
        lost = sum("unrated" in row for row in rows)
        if lost:
            book.sections["notes"].append(
                f"{doctor} {arm}: {lost} of {len(rows)} consultations got no rating."
            )
        for name in names:
            values = [row[name] for row in rows if name in row]
            if values:
                book.add(f"{doctor} {arm}: {name}", m.mean(np.array(values)))
    if not {"state", "plain_matched"} <= arms.keys():
        return
    both = {row["case"]: row for row in arms["plain_matched"]}
    found = {}
    for name in names:
        pairs = [
            (a[name], b[name]) for a in arms["state"] if name in a and name in (b := both.get(a["case"], {}))
        ]
        if pairs:
            one, other = (np.array(side) for side in zip(*pairs, strict=True))
            found[name] = m.difference(None, one, other, seed=book.seed)
    held = m.benjamini_hochberg([float("nan") if x.p is None else x.p for x in found.values()])
    for (name, one), p in zip(found.items(), held, strict=True):
        book.add(f"{doctor}: state - plain_matched, {name} (p {p:.3f} by BH)", one)
