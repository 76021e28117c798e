"""A chat model rates a consultation: the axes of a rubric, by what was said."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polymodal import metrics as m
from polymodal.judge import Case as Judged
from polymodal.judge.asked import asked
from polymodal.judge.rubric import read_rubric
from polymodal.metrics.acting import top_k
from polymodal.metrics.people import tables

if TYPE_CHECKING:
    from polymodal.chat import ChatModel
    from polymodal.envs.clinic import Case, Clinic
    from polymodal.media import Message
    from polymodal.training.study import Book

Row = Mapping[str, Any]
AXIS = "axis "  # before a score's name in a row
PEOPLE = "people:"  # before the folder of an exported study, in the place of a rater
ALPHA = 0.05
LISTED = ("first_diagnosis", "second_diagnosis", "third_diagnosis")  # what people write as doctors


def rated(
    model: ChatModel, rubric: Mapping[str, Any], messages: tuple[Message, ...], case: Case, *, seed: int
) -> dict[str, Any]:
    """A score an axis; without one where the rater gave no verdict, which `unrated` names.

    The rater is not told which arm it sees; it is told the true diagnosis, as the specialists of the study
    were.
    """
    if not messages:
        return {"unrated": "no talk"}
    judge = asked(model, read_rubric(rubric), reference=True)
    group = case.group or case.id
    seen = Judged(case.id, case.id, group, "doctor", "", messages, reference=case.diagnosis)
    verdict = judge(seen, seed=seed)
    if not verdict.valid:
        return {"unrated": verdict.reason or "invalid"}
    return {f"{AXIS}{name}": float(x) for name, x in verdict.scores.items()}


def axes(book: Book, doctor: str, arms: Mapping[str, Sequence[Row]]) -> None:
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
    for name, gap in gaps(arms.get("state", ()), arms.get("plain_matched", ()), seed=book.seed).items():
        book.add(f"{doctor}: state - plain_matched, {name}", gap)


def gaps(mine: Sequence[Row], others: Sequence[Row], *, seed: int) -> dict[str, m.Estimate]:
    """Paired differences of every axis on the cases that both arms have, p by Benjamini-Hochberg."""
    both = {row["case"]: row for row in others}
    named = dict.fromkeys(key for row in mine for key in row if key.startswith(AXIS))
    found: dict[str, m.Estimate] = {}
    for name in named:
        pairs = [(row[name], both[row["case"]][name]) for row in mine
                 if name in row and name in both.get(row["case"], {})]  # fmt: skip
        if pairs:
            found[name] = m.difference(None, *np.array(pairs, float).T, seed=seed)
    held = m.benjamini_hochberg([np.nan if one.p is None else one.p for one in found.values()])
    return {
        name: replace(gap, p=float(p) if p == p else None)
        for (name, gap), p in zip(found.items(), held, strict=True)
    }


def people(book: Book, folder: Path, cases: Iterable[Case] = (), clinic: Clinic | None = None) -> None:
    """What people said of talks in a study, axis by axis, and what they concluded as doctors.

    A case's score on an axis is the mean over its raters. Rows of simulated raters are counted and left out,
    and what was not submitted does not count.

    Args:
        book: takes the differences of the state-aware arm and another, and as `people: axes` the share of
            axes on which the arm is superior: p below .05 by Benjamini-Hochberg, and the difference positive;
            as `people: top1` and `people: top3` how often people in the doctor's chair were right.
        folder: what `polymodal study export` wrote.
        cases: whom people met as doctors.
        clinic: the cases' tables, whose other names of a diagnosis count as it.

    Raises:
        FileNotFoundError: no export there.
        ValueError: no ratings of talks in it.
    """
    table = tables.read(folder, duplicates="first").columns  # hidden repeats come later
    if lacking := {"subject", "item", "field", "value"} - table.keys():
        raise ValueError(f"{folder} has no ratings of consultations: it lacks {', '.join(sorted(lacking))}")
    source = table.get("source", np.full(len(table["item"]), "person"))
    ended = table.get("state", np.full(len(table["item"]), "done")) == "done"
    scores: dict[tuple[str, str], dict[str, list[float]]] = {}
    columns = [table[name][(source == "person") & ended] for name in ("subject", "item", "field", "value")]
    for subject, item, field, value in zip(*columns, strict=True):
        if np.isfinite(value):  # a text has no number
            scores.setdefault((str(subject), str(item)), {}).setdefault(f"{AXIS}{field}", []).append(value)
    robots = int((source == "simulated").sum())
    if robots:
        book.sections["notes"].append(f"people: {robots} ratings by simulated raters are left out.")
    concluded(book, {name: values[source == "person"] for name, values in table.items()}, cases, clinic)
    arms: dict[str, list[Row]] = {}
    for (subject, item), axes_ in scores.items():
        means = {name: float(np.mean(values)) for name, values in axes_.items()}
        arms.setdefault(subject, []).append({"case": item, **means})
    found: dict[str, m.Estimate] = {}
    for subject in arms:
        doctor, _, arm = subject.rpartition(" ")
        other = next((f"{doctor} {x}" for x in ("plain_matched", "plain") if f"{doctor} {x}" in arms), "")
        if arm == "state" and other:
            for name, gap in gaps(arms[subject], arms[other], seed=book.seed).items():
                found[f"people: {subject} - {other}, {name}"] = gap
    for name, gap in found.items():
        book.add(name, gap, group="People")
    if found:
        better = sum(gap.mean > 0 and gap.p is not None and gap.p < ALPHA for gap in found.values())
        book.add("people: axes", m.proportion(better, len(found), better="higher"), group="People", page=True)


def concluded(
    book: Book, table: Mapping[str, np.ndarray], cases: Iterable[Case], clinic: Clinic | None
) -> None:
    """How often the first, or one of three diagnoses that people wrote as doctors is the case's.

    Names are compared as the models' are. What was not submitted does not count, nor what is about none of
    the cases, which a note tells.
    """
    written: dict[tuple[str, str], dict[str, str]] = {}
    if not {"rater", "answer", "state"} <= table.keys():
        return
    columns = (table[name] for name in ("rater", "item", "field", "answer", "state"))
    for rater, item, field, answer, state in zip(*columns, strict=True):
        if field in LISTED and state == "done" and (name := str(json.loads(answer or "null") or "").strip()):
            written.setdefault((str(item), str(rater)), {})[str(field)] = name
    truth = {case.id: case.diagnosis for case in cases} if written else {}
    aliases = {one.name: one.aliases for one in clinic.diseases} if clinic else None
    known = [pair for pair in written if pair[0] in truth]
    if len(known) < len(written):
        lost = len(written) - len(known)
        book.sections["notes"].append(f"people: {lost} conclusions are about none of this run's cases.")
    items = [item for item, _ in known]
    for k in (1, len(LISTED)) if known else ():
        lists = [[written[pair][name] for name in LISTED if name in written[pair]] for pair in known]
        right = [
            top_k(truth[item], list_, k, aliases=aliases) for item, list_ in zip(items, lists, strict=True)
        ]
        alone = len(set(items)) == len(items)
        found = (
            m.proportion(int(sum(right)), len(right), better="higher")
            if alone
            else m.mean(np.array(right), group=items, seed=book.seed, better="higher")
        )
        book.add(f"people: top{k}", found, group="People", page=k == 1)
