"""Careless answering, flagged by rules written before the first answer; nothing is deleted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean
from typing import Any

from polymodal.judge.people.store import Store
from polymodal.judge.people.verdicts import Given, given
from polymodal.judge.question import Question

RULES: Mapping[str, float] = {
    "attention": 1.0,  # least share of attention items answered as asked
    "gold": 0.6,  # least share of hidden gold
    "longest_run": 10,  # equal answers in a row ...
    "run_of": 12,  # ... among so many
    "reversed_gap": 0.75,  # of the scale, between an item and its reversed pair, from which they contradict
    "repeat_gap": 0.3,  # of the scale, mean between first and second time
    "minimum_seconds": 0.0,  # a place
}
PAIRS = 3  # repeated answers that a rater needs before their mean gap counts
STEPS = 3  # of a scale, below which runs say nothing


@dataclass(frozen=True, slots=True)
class Flag:
    """Something to look at.

    Attributes:
        rater: pseudonym.
        rule: attention, gold, minimum_seconds, straight_line, reversed_pair or repeat.
        detail: what was found.
        slots: where.
    """

    rater: str
    rule: str
    detail: str
    slots: tuple[int, ...]


def flags(store: Store) -> list[Flag]:
    """All flags of a study's submitted places, by rater and rule, under the rules of its file.

    Straight lines are runs of equal answers on a scale (over the items of one place, or one item over the
    places), and one value throughout a scale with reversed items (Curran 2016, J. Exp. Soc. Psychol. 66).
    """
    rules = {**RULES, **store.study.quality}
    people: defaultdict[str, list[Given]] = defaultdict(list)
    for one in given(store):
        if one.state == "done":
            people[one.rater].append(one)
    found = []
    for name, places in sorted(people.items()):
        places.sort(key=lambda one: (one.submitted or 0.0, one.slot))
        for rule, check in CHECKS.items():
            found += [Flag(name, rule, detail, slots) for detail, slots in check(store, places, rules)]
    return found


def flagged(found: Sequence[Flag], rules: Sequence[str]) -> frozenset[str]:
    """Who has a flag that the study's `exclusions` name; for the analysis without them."""
    return frozenset(flag.rater for flag in found if flag.rule in rules)


Hits = Iterator[tuple[str, tuple[int, ...]]]


def _gold(attention: bool) -> Callable[[Store, Sequence[Given], Mapping[str, Any]], Hits]:
    def check(store: Store, places: Sequence[Given], rules: Mapping[str, Any]) -> Hits:
        wrong, n = [], 0
        for one in places:
            hidden = store.study.pages[one.page].kind not in ("training", "qualification")
            if one.unit and one.unit.gold and one.unit.attention == attention and hidden:
                asked = store.study.asked(one.page)
                right = {field: asked[field].validate(value) for field, value in one.unit.gold.items()}
                n += len(right)
                wrong += [one.slot for field, value in right.items() if one.values.get(field) != value]
        least = rules["attention" if attention else "gold"]
        if n and 1 - len(wrong) / n < least:
            yield f"{n - len(wrong)} of {n} right", tuple(dict.fromkeys(wrong))

    return check


def _fast(store: Store, places: Sequence[Given], rules: Mapping[str, Any]) -> Hits:
    fast = [one for one in places if one.submitted and one.submitted - one.opened < rules["minimum_seconds"]]
    if fast:
        yield f"{len(fast)} of {len(places)} places in less than {rules['minimum_seconds']:g} s", _slots(fast)


def _line(store: Store, places: Sequence[Given], rules: Mapping[str, Any]) -> Hits:
    for one in places:
        scale = _scale(store, one)
        values = [one.values[question.id] for question in scale]
        if _run(values, rules):
            yield f"{len(values)} items of one place in a line", (one.slot,)
        for family, members in groupby(sorted(scale, key=lambda q: q.family), key=lambda q: q.family):
            items = list(members)
            both = {question.reverse for question in items} == {True, False}
            if both and len(items) > 2 and len({one.values[question.id] for question in items}) == 1:
                yield f"one value on {family or 'a scale'} with reversed items", (one.slot,)
    lines: defaultdict[tuple[int, str], list[Given]] = defaultdict(list)
    for one in places:
        for question in _scale(store, one) if one.unit else ():
            lines[one.page, question.id].append(one)
    for (_, field), line in lines.items():
        if _run([one.values[field] for one in line], rules):
            yield f"{field} alike in {len(line)} places", _slots(line)


def _scale(store: Store, one: Given) -> list[Question]:
    """The answered questions of a place that have a scale of some steps."""
    items = store.study.asked(one.page).items
    return [
        q
        for q in items
        if q.kind in ("likert", "ordinal") and len(q.levels) >= STEPS and one.values.get(q.id) is not None
    ]


def _run(values: Sequence[Any], rules: Mapping[str, Any]) -> bool:
    """Whether among some `run_of` answers in a row `longest_run` in a row are equal."""
    longest = max((len(list(same)) for _, same in groupby(values)), default=0)
    return len(values) >= int(rules["run_of"]) and longest >= int(rules["longest_run"])


def _reversed(store: Store, places: Sequence[Given], rules: Mapping[str, Any]) -> Hits:
    for one in places:
        scale = sorted((q for q in _scale(store, one) if q.family), key=lambda q: q.family)
        for family, members in groupby(scale, key=lambda q: q.family):
            items = list(members)
            sides: dict[bool, list[float]] = {True: [], False: []}
            for question in items:
                low, high = question.range
                scored = question.numbers(one.values[question.id])[question.id]
                sides[question.reverse].append((scored - low) / (high - low))
            if sides[True] and sides[False]:
                gap = abs(fmean(sides[True]) - fmean(sides[False]))
                if gap >= rules["reversed_gap"]:
                    yield f"{family} contradicts itself by {gap:.2f} of the scale", (one.slot,)


def _repeat(store: Store, places: Sequence[Given], rules: Mapping[str, Any]) -> Hits:
    first = {one.unit.id: one for one in places if one.unit and not one.repeat}
    gaps, where = [], []
    for one in places:
        before = first.get(one.unit.id) if one.unit and one.repeat else None
        if before is None:
            continue
        where.append(one)
        for question in _scale(store, one):
            if before.values.get(question.id) is not None:
                low, high = question.range
                gaps.append(abs(one.values[question.id] - before.values[question.id]) / (high - low))
    if len(gaps) >= PAIRS and fmean(gaps) > rules["repeat_gap"]:
        yield f"{fmean(gaps):.2f} of the scale between first and second time", _slots(where)


def _slots(places: Sequence[Given]) -> tuple[int, ...]:
    return tuple(one.slot for one in places)


CHECKS: Mapping[str, Callable[[Store, Sequence[Given], Mapping[str, Any]], Hits]] = {
    "attention": _gold(True),
    "gold": _gold(False),
    "minimum_seconds": _fast,
    "straight_line": _line,
    "reversed_pair": _reversed,
    "repeat": _repeat,
}
