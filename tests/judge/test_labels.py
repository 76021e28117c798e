"""The long table: doubles, pivots against loops, rates with their invalid share."""

import math
import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from polymodal.chat import Usage, assistant, user
from polymodal.judge import Case, Span, Verdict, invalid
from polymodal.judge.labels import SCHEMA, Labels
from polymodal.media import Image
from polymodal.metrics import proportion


def row(item: str, value: float, **fields: Any) -> dict[str, Any]:
    return {"subject": "a", "item": item, "judge": "rule@1", "score": "defect", "value": value, **fields}


def bad(item: str, **fields: Any) -> dict[str, Any]:
    return row(item, math.nan, **{"valid": False, "reason": "timeout", **fields})


def case(item: str, subject: str = "a", **fields: Any) -> Case:
    talk = (user("hi"), assistant(f"{subject} says {item}"))
    return Case(
        **{
            "id": f"{subject}|{item}",
            "item": item,
            "group": item,
            "subject": subject,
            "variant": "mt",
            "messages": talk,
            **fields,
        }
    )


def test_verdicts_become_rows() -> None:
    usage = Usage(calls=2, tokens_in=5, tokens_out=7, seconds=0.5)
    good = Verdict({"defect": 1, "grade": 3}, evidence=(Span(3, 0, 2),), judge="j@1", usage=usage)
    empty = invalid("two_labels", "j@1", usage=usage)
    partly = Verdict({"grade": 2}, judge="j@1")
    judged = [(case("1"), good), (case("2"), empty), (case("3"), partly)]
    labels = Labels.of(judged, scores=("defect", "grade"), seed=7)
    assert labels.table.schema.equals(SCHEMA)
    rows = labels.table.to_pylist()
    assert [(r["item"], r["score"], r["valid"], r["reason"]) for r in rows] == [
        ("1", "defect", True, ""),
        ("1", "grade", True, ""),
        ("2", "defect", False, "two_labels"),
        ("2", "grade", False, "two_labels"),
        ("3", "grade", True, ""),
    ]
    assert rows[0]["turn"] == 3
    assert rows[2]["turn"] is None
    assert sum(r["calls"] for r in rows) == 4
    assert sum(r["tokens"] for r in rows) == 24
    assert sum(r["seconds"] for r in rows) == 1.0
    assert {r["seed"] for r in rows} == {7}
    assert len({r["prompt_digest"] for r in rows}) == 1
    assert len({r["output_digest"] for r in rows}) == 3
    with pytest.raises(ValueError, match="name the scores"):
        Labels.of(judged, scores=(), seed=7)


def test_a_panels_members_have_rows_and_the_cost_counts_once() -> None:
    members = tuple(Verdict({"x": v}, judge=f"j{v}@1", usage=Usage(calls=1)) for v in (0, 1, 1))
    whole = Verdict({"x": 1}, judge="panel@1", usage=Usage(calls=3), members=members)
    labels = Labels.of([(case("1"), whole)], scores=("x",), seed=0)
    assert labels.names("judge") == ["j0@1", "j1@1", "panel@1"]
    assert labels.column("calls").sum() == 2  # the same judge twice with the same verdict is one label
    assert labels.where(judge="panel@1").column("calls").sum() == 0


def test_a_picture_that_cannot_be_read_leaves_no_digest() -> None:
    from pathlib import Path

    shown = case("1", messages=(user(Image(Path("not/there.png"))), assistant("x")))
    rows = Labels.of([(shown, Verdict({"x": 1}, judge="j"))], scores=("x",), seed=0).table.to_pylist()
    assert (rows[0]["prompt_digest"], len(rows[0]["output_digest"])) == ("", 32)


def test_the_same_label_twice_counts_once_and_another_value_raises() -> None:
    labels = Labels.from_rows([row("1", 1), row("2", 0), bad("3")])
    assert len(labels.merge(Labels.from_rows([row("2", 0, seconds=9.0), bad("3"), row("4", 1)]))) == 4
    for other in (row("1", 0), bad("1"), row("3", 1), bad("3", reason="no_output")):
        with pytest.raises(ValueError, match="doubled with another value: a, "):
            labels.merge(Labels.from_rows([other]))
    assert len(labels.merge(Labels.from_rows([row("1", 0, seed=1), row("1", 0, variant="st")]))) == 5


def test_a_label_is_valid_with_a_value_or_invalid_with_a_reason() -> None:
    for wrong in (
        row("1", math.nan),
        row("1", math.inf),
        row("1", 1, reason="timeout"),
        row("1", 0, valid=False),
    ):
        with pytest.raises(ValueError, match="finite value"):
            Labels.from_rows([wrong])
    with pytest.raises(ValueError, match="lack values of: item, judge"):
        Labels.from_rows([{"subject": "a", "score": "x", "value": 1.0}])
    with pytest.raises(ValueError, match="not a label among 1 rows"):
        Labels.from_rows([row("1", 1, group=7)])
    with pytest.raises(ValueError, match="lack columns: group"):
        Labels(Labels.from_rows([row("1", 1)]).table.drop_columns("group"))


def test_pivot_against_a_loop() -> None:
    rng = np.random.default_rng(0)
    rows = [
        {**row(f"i{i}", float(rng.integers(0, 5))), "subject": f"s{s}", "group": f"g{i // 2}"}
        for i in range(12)
        for s in range(3)
        if rng.random() < 0.8
    ]
    rows += [bad("i99", subject="s1", group="g9")]
    rng.shuffle(rows)
    found = Labels.from_rows(rows).pivot("defect")
    for one in rows:
        at = found.rows.index(one["item"]), found.columns.index(one["subject"])
        assert found.present[at]
        assert found.valid[at] == one.get("valid", True)
        assert np.array_equal(found.values[at], one["value"], equal_nan=True)
        assert found.group[at[0]] == one["group"]
    assert found.present.sum() == len(rows)
    assert np.isnan(found.values[~found.valid]).all()


def test_pivot_wants_one_label_a_cell_and_says_what_differs() -> None:
    labels = Labels.from_rows([row("1", 1, variant="mt"), row("1", 0, variant="st"), row("1", 1, judge="b")])
    with pytest.raises(ValueError, match=r"differ in variant, judge$"):
        labels.pivot("defect")
    assert labels.pivot("defect", variant="st").values.tolist() == [[0.0]]
    judged = labels.pivot("defect", rows=("item", "variant"), columns="judge")
    assert judged.columns == ["b", "rule@1"]
    assert judged.rows == [("1", ""), ("1", "mt"), ("1", "st")]
    empty = labels.pivot("refusal")
    assert empty.values.shape == (0, 0)


def test_rates_carry_their_invalid_share_and_worst_cases() -> None:
    rows = [row(str(i), float(i < 3), group=str(i)) for i in range(16)]
    rows += [bad(str(i), group=str(i)) for i in range(16, 19)] + [bad("19", group="19", reason="two_labels")]
    found = Labels.from_rows(rows).rates("defect", better="lower")[("a", "")]
    plain = proportion(3, 16, invalid=4, better="lower")
    assert found.estimate == plain
    assert (found.invalid.mean, found.invalid.n) == (0.2, 20)
    assert (found.bounds.low, found.bounds.high) == (3 / 20, 7 / 20)
    assert found.reasons == {"timeout": 3, "two_labels": 1}


def test_rates_by_cell_cluster_where_groups_repeat() -> None:
    rows = [row(f"{s}{i}", float(i % 2), subject=s, group=f"g{i // 4}") for s in "ab" for i in range(12)]
    labels = Labels.from_rows(rows)
    found = labels.rates("defect", by=("subject",), seed=1)
    assert list(found) == [("a",), ("b",)]
    assert found[("a",)].estimate.n_groups == 3
    pooled = labels.rates("defect", by=())[()]
    assert (pooled.estimate.n, pooled.estimate.mean) == (24, 0.5)
    grades = Labels.from_rows([row(str(i), i / 2, group=str(i)) for i in range(5)]).rates("defect", high=5)
    assert grades[("a", "")].estimate.method == "t"
    assert Labels.from_rows([]).rates("defect") == {}


def test_fingerprint_is_of_the_labels_not_of_their_order_or_cost() -> None:
    rows = [row(str(i), float(i % 2)) for i in range(6)] + [bad("9")]
    one = Labels.from_rows(rows).fingerprint()
    assert Labels.from_rows([{**r, "seconds": 3.0} for r in reversed(rows)]).fingerprint() == one
    assert Labels.from_rows([*rows[1:], row("0", 1)]).fingerprint() != one


def test_where_takes_one_value_or_several() -> None:
    labels = Labels.from_rows([row("1", 1), row("2", 0, subject="b"), row("3", 0, subject="c")])
    assert labels.where(subject=["a", "c"]).names("item") == ["1", "3"]
    assert len(labels.where(subject="nobody")) == 0
    assert len(labels.where(subject="nobody").where(item="1")) == 0


def test_labels_are_streamed() -> None:
    """The stream is never held whole: 500 cases of 200 kB each in a few MB."""

    def judged() -> Iterator[tuple[Case, Verdict]]:
        for i in range(500):
            talk = (user("?"), assistant(f"{i} " + "x" * 200_000))
            yield case(str(i), messages=talk), Verdict({"x": i % 2}, judge="j")

    tracemalloc.start()
    labels = Labels.of(judged(), scores=("x",), seed=0)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(labels) == 500
    assert most < 20e6
