"""Answers as verdicts, trials, ratings and events; agreement and drift for the operator."""

from __future__ import annotations

import heapq
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal, get_args

import numpy as np
from sqlalchemy import select

from polymodal.chat import Usage
from polymodal.judge.case import Reason, Span, Verdict
from polymodal.judge.people.store import Store
from polymodal.judge.people.study import Unit
from polymodal.judge.people.tables import answer, rater, slot
from polymodal.judge.question import Question
from polymodal.judge.rubric import Rubric, score
from polymodal.metrics import Estimate, estimate_alpha

_WORDS, _NUMBERS = "string", "double"
TRIALS = {
    **dict.fromkeys(("rater", "item"), _WORDS), "order": "int64",
    **dict.fromkeys(("capability", "mode", "display", "truth", "advice", "initial", "final"), _WORDS),
    **dict.fromkeys(("confidence_initial", "confidence_final", "advice_confidence"), _NUMBERS),
    **dict.fromkeys(("rt_initial", "rt_final", "trust"), _NUMBERS), "block": _WORDS, "propensity": _NUMBERS,
}  # fmt: skip
RATINGS = {
    **dict.fromkeys(("rater", "item", "subject", "field"), _WORDS), "value": _NUMBERS, "answer": _WORDS,
    "na": "bool", **dict.fromkeys(("note", "unit", "group", "variant", "stratum", "rubric", "page"), _WORDS),
    "slot": "int64", "position": "int64", "repeat": "bool", "state": _WORDS, "version": "int64",
    "seq": "int64", "saved": _NUMBERS, "opened": _NUMBERS, "submitted": _NUMBERS,
}  # fmt: skip
EVENTS = {
    "at": _NUMBERS, "rater": _WORDS, "slot": "int64", "kind": _WORDS, "data": _WORDS, "client_ms": _NUMBERS,
}  # fmt: skip
MODES = {"advice": "advise", "delegate": "delegate", "oversee": "autonomous"}
LEVELS: Mapping[str, Literal["nominal", "ordinal", "interval"]] = {
    "likert": "ordinal",
    "ordinal": "ordinal",
    "slider": "interval",
    "number": "interval",
    "probability": "interval",
    "binary": "nominal",
    "choice": "nominal",
    "pair": "nominal",
}


@dataclass(frozen=True, slots=True)
class Given:
    """What one rater has answered at one place.

    Attributes:
        slot: its number.
        rater: pseudonym.
        stratum: of the rater.
        unit: what it was about; None for an instrument.
        page: index in the study's pages.
        position: on the rater's page, from 0.
        repeat: whether it was shown before, hidden.
        state: done, or what it was left in.
        opened: Unix seconds, when it was first shown.
        revealed: when the advice was shown.
        submitted: when it was ended.
        values: by question, in canonical letters: `a` is the unit's first case, wherever it stood.
        notes: remarks by question.
        rows: newest stored row of each question.
    """

    slot: int
    rater: str
    stratum: str
    unit: Unit | None
    page: int
    position: int
    repeat: bool
    state: str
    opened: float
    revealed: float | None
    submitted: float | None
    values: Mapping[str, Any]
    notes: Mapping[str, str]
    rows: Mapping[str, Any]


def given(store: Store) -> Iterator[Given]:
    """All places with an answer, in the order they were dealt out, streamed."""
    columns = (
        answer, slot.c.unit, slot.c.page, slot.c.position, slot.c.repeat, slot.c.sides, slot.c.state,
        slot.c.opened, slot.c.revealed, slot.c.submitted, rater.c.pseudonym, rater.c.stratum,
    )  # fmt: skip
    joined = answer.join(slot, slot.c.id == answer.c.slot).join(rater, rater.c.id == slot.c.rater)
    query = select(*columns).select_from(joined).order_by(answer.c.slot, answer.c.field, answer.c.version)
    with store.database.read() as connection:
        for number, rows in groupby(connection.execute(query), key=lambda row: int(row.slot)):
            newest = {row.field: row for row in rows}
            one = next(iter(newest.values()))
            asked = store.study.asked(one.page)
            clean = {q.id: canonical(q, newest[q.id].value, one.sides) for q in asked.items if q.id in newest}
            yield Given(
                slot=number, rater=one.pseudonym, stratum=one.stratum,
                unit=store.study.units[one.unit] if one.unit else None, page=one.page, position=one.position,
                repeat=one.repeat, state=one.state, opened=one.opened, revealed=one.revealed,
                submitted=one.submitted, values=clean, rows=newest,
                notes={field: row.note for field, row in newest.items() if row.note},
            )  # fmt: skip


def canonical(question: Question, value: Any, sides: Iterable[int]) -> Any:
    """An answer whose letters are those of the screen, in letters of the unit's own order."""
    order = list(sides)
    if value is None or order == sorted(order) or (question.levels and question.kind != "pair"):
        return value
    letters = {chr(97 + shown): chr(97 + side) for shown, side in enumerate(order)}
    match question.kind:
        case "pair":
            return letters.get(value, value)
        case "rank":
            return [letters[letter] for letter in value]
        case "best_worst":
            return {end: letters[letter] for end, letter in value.items()}
        case _:
            return value


def verdicts(url: str) -> Iterator[Verdict]:
    """What people said, as a rule or a model says it: a verdict for every submitted place about a case."""
    store = Store(url)
    try:
        yield from (verdict(store, one) for one in given(store) if one.state == "done" and one.unit)
    finally:
        store.close()


def verdict(store: Store, one: Given) -> Verdict:
    """One place as a verdict; marks in text are its evidence, remarks and free text its rationale."""
    asked = store.study.asked(one.page)
    values = {q.id: one.values[q.id] for q in asked.shown(one.values) if one.values.get(q.id) is not None}
    texts = [values[q.id] for q in asked.items if q.kind == "text" and values.get(q.id)]
    marks = [mark for q in asked.items if q.kind == "span" for mark in values.get(q.id, ())]
    return Verdict(
        scores=score(asked, values),
        rationale="\n".join([*texts, *one.notes.values()]),
        evidence=tuple(Span(mark["turn"], mark["start"], mark["end"]) for mark in marks),
        judge=f"{one.rater} {asked.id}@{asked.digest}",
    )


def verdict_rows(store: Store) -> Iterator[dict[str, Any]]:
    """Verdicts with what they are about, as JSON lines have them; `verdict_of` reads one back."""
    for one in given(store):
        if one.state != "done" or one.unit is None:
            continue
        said = verdict(store, one)
        yield {
            "study": store.digest, **_about(one.unit), "case_digest": one.unit.digest, "rater": one.rater,
            "stratum": one.stratum, "page": store.study.pages[one.page].id, "slot": one.slot,
            "repeat": one.repeat, "seconds": _gap(one.opened, one.submitted), "submitted": one.submitted,
            "scores": dict(said.scores), "valid": said.valid, "reason": said.reason,
            "rationale": said.rationale,
            "evidence": [[span.turn, span.start, span.end] for span in said.evidence], "judge": said.judge,
            "usage": said.usage.to_json(),
        }  # fmt: skip


def verdict_of(row: Mapping[str, Any]) -> Verdict:
    """The verdict of an exported row, equal to the one that was written.

    Raises:
        ValueError: not such a row.
    """
    reason = row["reason"]
    if reason and reason not in get_args(Reason):
        raise ValueError(f"reason {reason!r} is none of: {', '.join(get_args(Reason))}")
    return Verdict(
        scores={str(name): float(x) for name, x in row["scores"].items()},
        valid=row["valid"],
        reason=reason,
        rationale=row["rationale"],
        evidence=tuple(Span(*span) for span in row["evidence"]),
        judge=row["judge"],
        usage=Usage(**row["usage"]),
    )


def rating_rows(store: Store) -> Iterator[dict[str, Any]]:
    """Every stored answer once, its newest version: the long table of `rater, item, subject, field, value`.

    `value` is the number as answered (a pair's is the first case's win), None where there is none; `answer`
    is the whole answer as JSON, in canonical letters.
    """
    for one in given(store):
        asked = store.study.asked(one.page)
        for question in asked.items:
            if question.id not in one.rows:
                continue
            row, value = one.rows[question.id], one.values[question.id]
            yield {
                "rater": one.rater, **_about(one.unit), "field": question.id, "na": row.na,
                "value": plain_number(question, value), "answer": json.dumps(value), "rubric": asked.id,
                "note": row.note.encode(errors="replace").decode(), "stratum": one.stratum,
                "page": store.study.pages[one.page].id, "slot": one.slot, "position": one.position,
                "repeat": one.repeat, "state": one.state, "version": row.version, "seq": row.seq,
                "saved": row.saved, "opened": one.opened, "submitted": one.submitted,
            }  # fmt: skip


def _about(unit: Unit | None) -> dict[str, str]:
    """What a row is about; empty words for an instrument."""
    names = ("item", "subject", "unit", "group", "variant")
    return {name: getattr(unit, "id" if name == "unit" else name) if unit else "" for name in names}


def plain_number(question: Question, value: Any) -> float | None:
    """An answer as one number, as answered: not turned round; None where it is no number."""
    if isinstance(value, int | float):
        return float(value)
    return question.numbers(value)[question.id] if question.kind == "pair" and value is not None else None


def trial_rows(store: Store) -> list[dict[str, Any]]:
    """Advice trials in the columns that reliance is computed from; see `TRIALS`.

    `initial` and `final` are the answers of those names, `advice`, `advice_confidence`, `capability`, `mode`
    and `display` the unit's tags, `truth` its reference. Who delegates takes the advice as final. Times are
    seconds from the first sight, and from the reveal. `propensity` is that score of an instrument.
    """
    own: dict[str, float] = {}
    trials: list[Given] = []
    for one in given(store):
        kind = store.study.pages[one.page].kind
        if kind == "instrument" and one.state == "done":
            scored = score(
                store.study.asked(one.page), {k: v for k, v in one.values.items() if v is not None}
            )
            if "propensity" in scored:
                own[one.rater] = scored["propensity"]
        elif kind in MODES and one.state == "done" and one.unit is not None:
            trials.append(one)
    orders: defaultdict[str, int] = defaultdict(int)
    rows = []
    for one in sorted(trials, key=lambda t: (t.rater, t.submitted or 0.0, t.slot)):
        rows.append(_trial(store, one, orders[one.rater], own.get(one.rater)))
        orders[one.rater] += 1
    return rows


def _trial(store: Store, one: Given, order: int, propensity: float | None) -> dict[str, Any]:
    assert one.unit is not None
    case, page, values = one.unit.cases[0], store.study.pages[one.page], one.values
    tags, advice = case.tags, case.tags.get("advice")
    delegated = values.get("delegate") in (1, "yes", "delegate")
    row = {
        "rater": one.rater, "item": one.unit.item, "order": order, "capability": tags.get("capability"),
        "mode": tags.get("mode", MODES[page.kind]), "display": tags.get("display", one.unit.variant or None),
        "truth": case.reference or None, "advice": advice, "initial": values.get("initial"),
        "final": advice if delegated else values.get("final"),
        "confidence_initial": values.get("confidence_initial"),
        "confidence_final": values.get("confidence_final"),
        "advice_confidence": tags.get("advice_confidence"), "rt_initial": _gap(one.opened, one.revealed),
        "rt_final": _gap(one.revealed or one.opened, one.submitted), "trust": values.get("trust"),
        "block": page.id, "propensity": propensity,
    }  # fmt: skip
    return {key: x if x is None or TRIALS[key] != _WORDS else str(x) for key, x in row.items()}


def _gap(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else round(end - start, 3)


def event_rows(store: Store) -> Iterator[dict[str, Any]]:
    """All that happened in order of time: events as noted, and each version of each answer as `answer`."""
    names = {row["id"]: row["pseudonym"] for row in store.rows("rater")}
    owners = {row["id"]: row["rater"] for row in store.rows("slot")}

    def answers() -> Iterator[dict[str, Any]]:
        for row in store.rows("answer"):
            data = {key: row[key] for key in ("field", "value", "na", "note", "version", "seq")}
            yield {
                "at": row["saved"], "rater": names.get(owners.get(row["slot"])), "slot": row["slot"],
                "kind": "answer", "data": json.dumps(data), "client_ms": row["client_ms"],
            }  # fmt: skip

    def others() -> Iterator[dict[str, Any]]:
        for row in store.rows("event"):
            yield {
                "at": row["at"], "rater": names.get(row["rater"]), "slot": row["slot"], "kind": row["kind"],
                "data": json.dumps(row["data"]), "client_ms": row["client_ms"],
            }  # fmt: skip

    return heapq.merge(answers(), others(), key=lambda row: float(row["at"]))


def message_rows(store: Store) -> Iterator[dict[str, Any]]:
    """What was said in rooms, in order."""
    names = {row["id"]: row["pseudonym"] for row in store.rows("rater")}
    slots = {row["id"]: (names.get(row["rater"]), row["unit"]) for row in store.rows("slot") if row["rater"]}
    for row in store.rows("message"):
        who, unit = slots.get(row["slot"], (None, None))
        yield {"rater": who, "unit": unit, **{key: value for key, value in row.items() if key != "id"}}


def codebook(store: Store) -> dict[str, Any]:
    """What the exported columns mean: study, rubrics, units, raters, and the rules of quality."""
    study = store.study
    return {
        "study": {
            "id": study.id, "version": study.version, "title": study.title, "digest": store.digest,
            "seed": study.seed, "store_seed": store.seed,
        },
        "rubrics": list(study.raw["rubrics"]),
        "pages": [
            {"id": p.id, "kind": p.kind, "rubric": p.rubric, "units": list(p.units)} for p in study.pages
        ],
        "units": [
            {
                "id": u.id, "item": u.item, "group": u.group, "subject": u.subject, "variant": u.variant,
                "digest": u.digest, "reference": u.cases[0].reference, "tags": dict(u.cases[0].tags),
                "gold": dict(u.gold), "attention": u.attention,
            }
            for u in study.units.values()
        ],
        "raters": [
            {key: row[key] for key in ("pseudonym", "stratum", "state", "language")}
            for row in store.rows("rater")
        ],
        "design": dict(study.raw.get("design", {})), "quality": dict(study.quality),
        "exclusions": list(study.exclusions),
    }  # fmt: skip


def agreement(
    store: Store, *, leave_out: Iterable[str] = (), seed: int = 0, draws: int = 500
) -> dict[str, Estimate]:
    """Krippendorff's alpha of each question between raters, from submitted places; repeats left out.

    Args:
        store: the study.
        leave_out: pseudonyms.
        seed: of the bootstrap of units.
        draws: of it.

    Returns:
        By question, `page.question` where several pages ask it; questions whose answers have no level of
        measurement, and those without two ratings of a unit, are not in it.
    """
    gone = set(leave_out)
    found: defaultdict[tuple[int, str], defaultdict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for one in given(store):
        if one.state == "done" and one.unit and not one.repeat and one.rater not in gone:
            for field, value in one.values.items():
                if value is not None:
                    found[one.page, field][one.unit.id].append(value)
    fields = [field for _, field in found]
    result = {}
    for (page, field), units in sorted(found.items()):
        level = LEVELS.get(store.study.asked(page)[field].kind)
        if level is None or not any(len(values) > 1 for values in units.values()):
            continue
        name = field if fields.count(field) == 1 else f"{store.study.pages[page].id}.{field}"
        result[name] = estimate_alpha(list(units.values()), level=level, seed=seed, draws=draws)
    return result


def drift(store: Store, *, bins: int = 10) -> list[dict[str, Any]]:
    """Mean of each numeric question over time, in bins of equally many answers: `field, start, n, mean`."""
    found: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for one in given(store):
        asked: Rubric = store.study.asked(one.page)
        for field, value in one.values.items():
            x = plain_number(asked[field], value)
            if one.state == "done" and one.unit and x is not None:
                found[field].append((one.submitted or 0.0, x))
    rows = []
    for field, pairs in sorted(found.items()):
        for part in np.array_split(np.array(sorted(pairs)), min(bins, len(pairs))):
            rows.append(
                {"field": field, "start": float(part[0, 0]), "n": len(part), "mean": float(part[:, 1].mean())}
            )
    return rows


def disagreements(store: Store) -> list[dict[str, Any]]:
    """For adjudicators: units whose ratings are final and differ, nobody named: `unit, field, values`."""
    waiting = {row["unit"] for row in store.rows("slot") if row["state"] in ("open", "leased")}
    found: defaultdict[tuple[str, str], list[Any]] = defaultdict(list)
    for one in given(store):
        if one.state == "done" and one.unit and not one.repeat and one.unit.id not in waiting:
            for field, value in one.values.items():
                found[one.unit.id, field].append(value)
    return [
        {"unit": unit, "field": field, "values": sorted(values, key=json.dumps)}
        for (unit, field), values in sorted(found.items())
        if len({json.dumps(value) for value in values}) > 1
    ]
