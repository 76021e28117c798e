import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.judge.people.studies import RUBRIC, made, unit

from polymodal.judge.people.bots import walk
from polymodal.judge.people.store import Store
from polymodal.judge.people.study import Study
from polymodal.judge.people.tables import Rater, Slot
from polymodal.judge.people.verdicts import (
    TRIALS,
    agreement,
    canonical,
    codebook,
    disagreements,
    drift,
    event_rows,
    message_rows,
    rating_rows,
    trial_rows,
    verdict_of,
    verdict_rows,
    verdicts,
)
from polymodal.judge.question import Question

PAIR = {
    **RUBRIC,
    "id": "pair",
    "items": [
        {"id": "better", "text": "?", "kind": "pair"},
        {"id": "order", "text": "?", "kind": "rank"},
        {"id": "marks", "text": "?", "kind": "span", "required": False},
        {"id": "hidden", "text": "?", "kind": "binary", "show_if": {"item": "better", "in": ["tie"]}},
    ],
}
TRIAL = {
    **RUBRIC,
    "id": "trial",
    "items": [
        {"id": "initial", "text": "?", "kind": "choice", "levels": ["a", "b"]},
        {"id": "confidence_initial", "text": "?", "kind": "probability"},
        {"id": "final", "text": "?", "kind": "choice", "levels": ["a", "b"]},
        {"id": "trust", "text": "?", "kind": "likert", "levels": 7},
    ],
}
PERSON = {
    **RUBRIC,
    "id": "person",
    "items": [{"id": "propensity", "text": "?", "kind": "likert", "levels": 7}],
}


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Any]:
    opened: list[Store] = []

    def opener(study: Study) -> Store:
        opened.append(Store(f"sqlite:///{tmp_path / 'x.db'}", study, clock=Clock()))
        return opened[-1]

    yield opener
    for store in opened:
        store.close()


def start(store: Store) -> Rater:
    rater = store.rater(store.enrol())
    assert rater is not None
    return store.advance(store.consent(rater, True), 1)


def answer(store: Store, rater: Rater, **values: Any) -> Slot:
    slot = store.lease(rater)
    assert slot is not None
    for field, value in values.items():
        store.save(rater, slot.id, field, value, seq=1, version=0)
    store.submit(rater, slot.id)
    return slot


def test_verdicts_come_back_equal(stores: Any, tmp_path: Path) -> None:
    store = stores(made(subjects=("x", "y")))
    for seed in range(3):
        rater = store.rater(store.enrol())
        list(walk(store, rater, seed=seed))
    rows = json.loads(json.dumps(list(verdict_rows(store))))
    said = list(verdicts(f"sqlite:///{tmp_path / 'x.db'}"))
    assert len(said) == 12
    assert [verdict_of(row) for row in rows] == said
    assert {row["subject"] for row in rows} == {"x", "y"}
    assert all(one.valid and 1 <= one.scores["good"] <= 7 and one.rationale for one in said)
    assert len({one.judge for one in said}) == 3
    assert "@" in said[0].judge
    with pytest.raises(ValueError, match="reason 'bored' is none of"):
        verdict_of({**rows[0], "reason": "bored"})


def test_letters_of_the_screen_become_those_of_the_unit(stores: Any) -> None:
    sides = [
        {"subject": name, "messages": [{"role": "assistant", "parts": [f"I am {name}"]}]} for name in "xy"
    ]
    pages = [{"kind": "consent"}, {"kind": "block", "rubric": "pair"}]
    units = [{"id": f"p{i}", "sides": sides} for i in range(4)]
    study = made(
        units=units, rubrics=[PAIR], pages=pages, design={"ratings_per_case": 2, "cases_per_rater": 4}
    )
    store = stores(study)
    for _ in range(2):
        rater = start(store)
        for _ in range(4):
            shown = store.lease(rater).sides
            best = "ab"[shown.index(1)]  # y, wherever it stands
            order = [best, "b" if best == "a" else "a"]
            answer(store, rater, better=best, order=order, marks=[{"turn": 0, "start": 1, "end": 3}])
    rows = list(verdict_rows(store))
    assert {row["scores"]["better"] for row in rows} == {0.0}
    assert {(row["scores"]["order.b"], row["scores"]["order.a"]) for row in rows} == {(1.0, 2.0)}
    assert rows[0]["evidence"] == [[0, 1, 3]]
    assert {row["answer"] for row in rating_rows(store) if row["field"] == "better"} == {'"b"'}
    assert {row["value"] for row in rating_rows(store) if row["field"] == "better"} == {0.0}
    assert {json.loads(row["data"])["value"] for row in event_rows(store) if '"better"' in row["data"]} == {
        "a",
        "b",
    }


@pytest.mark.parametrize(
    ("kind", "value", "wanted"),
    [
        ("pair", "a", "b"),
        ("pair", "tie", "tie"),
        ("rank", ["a", "c", "b"], ["b", "c", "a"]),
        ("best_worst", {"best": "b", "worst": "c"}, {"best": "a", "worst": "c"}),
        ("text", "a", "a"),
        ("rank", None, None),
    ],
)
def test_canonical(kind: Any, value: Any, wanted: Any) -> None:
    question = Question(id="q", kind=kind, text="?")
    assert canonical(question, value, (1, 0, 2)) == wanted
    assert canonical(question, value, (0, 1, 2)) == value


def test_trials_have_the_columns_that_reliance_is_computed_from(stores: Any) -> None:
    tags = {"advice": "b", "advice_confidence": 0.9, "capability": "colour", "display": "card"}
    units = [unit(f"u{i}", reference="a", tags=tags) for i in range(2)]
    pages = [
        {"kind": "consent"},
        {"kind": "instrument", "rubric": "person"},
        {"id": "trials", "kind": "advice", "rubric": "trial"},
    ]
    study = made(
        units=units,
        rubrics=[TRIAL, PERSON],
        pages=pages,
        design={"ratings_per_case": 1, "cases_per_rater": 2},
    )
    store = stores(study)
    rater = start(store)
    answer(store, rater, propensity=6)
    rater = store.advance(rater, 2)
    items = []
    for final in "ab":
        slot = store.lease(rater)
        store.save(rater, slot.id, "initial", "a", seq=1, version=0)
        store.save(rater, slot.id, "confidence_initial", 0.5, seq=2, version=0)
        store.reveal(rater, slot.id)
        answer(store, rater, final=final, trust=3)
        items.append(slot.unit)
    rows = trial_rows(store)
    assert [list(row) for row in rows] == [list(TRIALS), list(TRIALS)]
    assert [row["item"] for row in rows] == items
    assert rows[0] | {"item": "", "rt_initial": 0, "rt_final": 0} == {
        "rater": rater.pseudonym, "item": "", "order": 0, "capability": "colour", "mode": "advise",
        "display": "card", "truth": "a", "advice": "b", "initial": "a", "final": "a",
        "confidence_initial": 0.5, "confidence_final": None, "advice_confidence": 0.9, "rt_initial": 0,
        "rt_final": 0, "trust": 3, "block": "trials", "propensity": 6.0,
    }  # fmt: skip
    assert (rows[1]["final"], rows[1]["order"]) == ("b", 1)
    assert rows[0]["rt_initial"] > 0
    assert rows[0]["rt_final"] > 0
    assert len(list(verdict_rows(store))) == 2
    assert [row["field"] for row in rating_rows(store) if not row["unit"]] == ["propensity"]


def test_who_delegates_takes_the_advice(stores: Any) -> None:
    rubric = {
        **RUBRIC,
        "id": "trial",
        "items": [
            {"id": "delegate", "text": "?", "kind": "binary"},
            {
                "id": "final",
                "text": "?",
                "kind": "choice",
                "levels": ["a", "b"],
                "show_if": {"item": "delegate", "in": [0]},
            },
        ],
    }
    pages = [{"kind": "consent"}, {"kind": "delegate", "rubric": "trial"}]
    units = [unit(f"u{i}", reference="a", tags={"advice": "b"}) for i in range(2)]
    store = stores(
        made(units=units, rubrics=[rubric], pages=pages, design={"ratings_per_case": 1, "cases_per_rater": 2})
    )
    rater = start(store)
    for delegate, rest in ((1, {}), (0, {"final": "a"})):
        slot = store.lease(rater)
        store.save(rater, slot.id, "delegate", delegate, seq=1, version=0)
        store.reveal(rater, slot.id)
        answer(store, rater, **rest)
    assert [(row["initial"], row["final"], row["mode"]) for row in trial_rows(store)] == [
        (None, "b", "delegate"), (None, "a", "delegate"),
    ]  # fmt: skip


def test_agreement_drift_and_disagreements(stores: Any) -> None:
    store = stores(made(items=4, design={"ratings_per_case": 2, "cases_per_rater": 4}))
    people = []
    for shift in (0, 1):
        people.append(start(store))
        for _ in range(4):
            slot = store.lease(people[-1])
            number = int(slot.unit[1])
            answer(store, people[-1], good=1 + number + (shift if number == 3 else 0), why="x")
    told = agreement(store, draws=50)
    assert list(told) == ["good"]
    assert told["good"].mean > 0.9
    assert told["good"].n == 4
    assert agreement(store, leave_out=[people[0].pseudonym]) == {}
    rows = drift(store, bins=2)
    assert [(row["field"], row["n"]) for row in rows] == [("good", 4), ("good", 4)]
    assert [row["mean"] for row in rows] == [2.5, 2.75]
    assert disagreements(store) == [{"unit": "u3-m", "field": "good", "values": [4, 5]}]


def test_disagreements_wait_for_the_last_rating(stores: Any) -> None:
    store = stores(made(items=2, design={"ratings_per_case": 2, "cases_per_rater": 2}))
    rater = start(store)
    answer(store, rater, good=1)
    answer(store, rater, good=1)
    other = start(store)
    slot = answer(store, other, good=7)
    assert [row["unit"] for row in disagreements(store)] == [slot.unit]


def test_two_pages_that_ask_the_same_are_told_apart(stores: Any) -> None:
    pages = [
        {"kind": "consent"},
        {"id": "one", "kind": "block", "rubric": "plain"},
        {"id": "two", "kind": "block", "rubric": "plain"},
    ]
    units = [unit(f"u{i}", page="one" if i < 2 else "two") for i in range(4)]
    store = stores(made(units=units, pages=pages, design={"ratings_per_case": 2, "cases_per_rater": 4}))
    for seed in range(2):
        list(walk(store, store.rater(store.enrol()), seed=seed))
    assert list(agreement(store, draws=10)) == ["one.good", "two.good"]


def test_messages_and_codebook_know_pseudonyms_only(stores: Any) -> None:
    store = stores(made(subjects=("secret",)))
    rater = start(store)
    slot = store.lease(rater)
    store.say(rater, slot.id, "user", [{"text": "hello"}], latency_ms=5, usage={"calls": 1})
    row = next(message_rows(store))
    assert (row["rater"], row["unit"], row["role"], row["usage"]) == (
        rater.pseudonym,
        slot.unit,
        "user",
        {"calls": 1},
    )
    book = json.loads(json.dumps(codebook(store)))
    assert book["raters"] == [
        {"pseudonym": rater.pseudonym, "stratum": "", "state": "active", "language": "en"}
    ]
    assert book["study"]["digest"] == store.digest
    assert {one["subject"] for one in book["units"]} == {"secret"}
    kinds = [row["kind"] for row in event_rows(store)]
    assert kinds == ["consent", "page"]
