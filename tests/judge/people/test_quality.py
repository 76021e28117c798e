from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from tests.judge.people.studies import RUBRIC, made, unit

from polymodal.judge.people import quality
from polymodal.judge.people.quality import Flag, flagged, flags
from polymodal.judge.people.store import Store
from polymodal.judge.people.study import Study
from polymodal.judge.people.verdicts import Given

FAMILY = {
    **RUBRIC,
    "id": "scale",
    "items": [
        {"id": f"q{i}", "text": "?", "kind": "likert", "levels": 7, "family": "f", "reverse": i % 2 == 1}
        for i in range(12)
    ],
}


class Answered:
    """A store's answers without a database."""

    def __init__(self, study: Study) -> None:
        self.study, self.rows = study, list[Given]()

    def add(self, rater: str, values: dict[str, Any], *, unit: str = "", page: int = 1, **how: Any) -> None:
        number = len(self.rows)
        plain = {
            "stratum": "", "position": number, "repeat": False, "state": "done", "opened": 10.0 * number,
            "revealed": None, "submitted": 10.0 * number + 5, "notes": {}, "rows": {},
        }  # fmt: skip
        about = self.study.units.get(unit)
        self.rows.append(
            Given(slot=number, rater=rater, unit=about, page=page, values=values, **{**plain, **how})
        )


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Any:
    def look(store: Answered) -> list[Flag]:
        def given(_: Store) -> Iterator[Given]:
            return iter(store.rows)

        monkeypatch.setattr(quality, "given", given)
        return flags(store)  # type: ignore[arg-type]

    return look


def rules(found: Sequence[Flag]) -> set[tuple[str, str]]:
    return {(flag.rater, flag.rule) for flag in found}


def test_straight_liners_are_flagged_and_hardly_anybody_else(found: Any) -> None:
    rng = np.random.default_rng(0)
    store = Answered(made(items=14))
    quality_of = rng.integers(1, 8, 14)
    for rater in range(1000):
        line = rater % 10 == 0
        for item in rng.permutation(14):
            noise = int(rng.integers(-1, 2))
            value = 4 if line else int(np.clip(quality_of[item] + noise, 1, 7))
            store.add(f"r{rater}", {"good": value}, unit=f"u{item}-m")
    out = flagged(found(store), ["straight_line"])
    planted = {f"r{i}" for i in range(0, 1000, 10)}
    assert planted <= out
    assert len(out - planted) <= 0.02 * 900


def test_every_unbroken_line_is_flagged(found: Any) -> None:
    store = Answered(made(items=12))
    for item in range(12):
        store.add("line", {"good": 3}, unit=f"u{item}-m")
        store.add("ten", {"good": 3 if item < 10 else 5}, unit=f"u{item}-m")
        store.add("nine", {"good": 3 if item < 9 else 5}, unit=f"u{item}-m")
        if item < 11:
            store.add("short", {"good": 3}, unit=f"u{item}-m")
    assert rules(found(store)) == {("line", "straight_line"), ("ten", "straight_line")}


def test_one_value_on_a_scale_with_reversed_items(found: Any) -> None:
    pages = [{"kind": "consent"}, {"kind": "instrument", "rubric": "scale"}]
    store = Answered(made(units=[], rubrics=[FAMILY], pages=pages))
    three = [f"q{i}" for i in range(3)]
    store.add("same", dict.fromkeys(three, 4))
    store.add("true", {"q0": 6, "q1": 2, "q2": 7})
    store.add("all", {f"q{i}": 4 for i in range(12)})
    store.add("few", {"q0": 4, "q1": 4})
    assert rules(found(store)) == {("same", "straight_line"), ("all", "straight_line")}


def test_a_reversed_pair_that_contradicts(found: Any) -> None:
    pages = [{"kind": "consent"}, {"kind": "instrument", "rubric": "scale"}]
    store = Answered(made(units=[], rubrics=[FAMILY], pages=pages))
    store.add("yes", {"q0": 7, "q1": 7})
    store.add("fair", {"q0": 7, "q1": 2})
    store.add("half", {"q0": 6, "q2": 7})
    assert rules(found(store)) == {("yes", "reversed_pair")}


def test_attention_gold_and_time(found: Any) -> None:
    units = [
        unit("a", gold={"good": 1}, attention=True),
        unit("g", gold={"good": 7}),
        unit("h", gold={"good": "2"}),
    ]
    pages = [
        {"kind": "consent"},
        {"kind": "block", "rubric": "plain", "units": ["a", "g", "h"]},
        {"kind": "training", "rubric": "plain", "units": ["t"]},
    ]
    study = made(units=[*units, unit("t", gold={"good": 1})], pages=pages, quality={"minimum_seconds": 3})
    store = Answered(study)
    for rater, values in {
        "good": (1, 7, 2),
        "asleep": (3, 7, 2),
        "wrong": (1, 1, 1),
        "half": (1, 7, 1),
    }.items():
        for name, value in zip("agh", values, strict=True):
            store.add(rater, {"good": value}, unit=name)
        store.add(rater, {"good": 7}, unit="t", page=2)
    store.add("hasty", {"good": 1}, unit="a", opened=0.0, submitted=2.0)
    store.add("open", {"good": 5}, unit="a", state="leased")
    result = found(store)
    assert rules(result) == {
        ("asleep", "attention"), ("wrong", "gold"), ("half", "gold"), ("hasty", "minimum_seconds"),
    }  # fmt: skip
    assert [flag.detail for flag in result if flag.rater == "half"] == ["1 of 2 right"]
    assert flagged(result, ["gold"]) == {"wrong", "half"}
    assert flagged(result, []) == frozenset()


def test_hidden_repeats_that_differ(found: Any) -> None:
    store = Answered(made(items=6))
    for i in range(4):
        for rater, second in (("steady", 4), ("random", 1)):
            store.add(rater, {"good": 5}, unit=f"u{i}-m")
            store.add(rater, {"good": second}, unit=f"u{i}-m", repeat=True)
    store.add("once", {"good": 5}, unit="u0-m", repeat=True)
    assert rules(found(store)) == {("random", "repeat")}
