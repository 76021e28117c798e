"""Rows of studies: files and foreign names, conditions, ratings with scales, codings, what is refused."""

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from polymodal.metrics import reliance
from polymodal.metrics.people import codings, conditions, discriminates, matrix, rated, stated, trials
from polymodal.metrics.people.tables import read, tables_in
from polymodal.systems.user_trust import method

RATINGS = Path(__file__).parents[3] / "../shared/data/geneval_ratings/annotations_clip.csv"
ROWS = [
    {
        "rater": r, "item": f"i{k}", "order": k, "truth": 1, "advice": 1 + (k % 2),
        "initial": 2 - (k % 2), "final": 1,
    }
    for r in ("ann", "bob", "cid")
    for k in range(6)
]  # fmt: skip


def written(folder, rows, suffix):
    file = folder / f"rows{suffix}"
    if suffix == ".jsonl":
        file.write_text("\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")
    elif suffix == ".parquet":
        parquet.write_table(pa.Table.from_pylist(rows), file)
    else:
        with file.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return file


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_every_file_gives_the_same_numbers(tmp_path, suffix):
    book = read(written(tmp_path, ROWS, suffix))
    assert book.kind == "trials"
    found = reliance(trials(book.columns), draws=20)
    assert found["rair"].mean == 1
    assert found["rsr"].mean == 1
    assert found["final accuracy"].n == 18


def test_foreign_names_and_relying_without_answers(tmp_path):
    rows = [{"who": k % 4, "ok": k % 2, "went": (k // 2) % 2} for k in range(40)]
    file = written(tmp_path, rows, ".csv")
    book = read(file, "rater:who,advice_correct:ok,relied:went")
    found = reliance(trials(book.columns), draws=20)
    assert found["hit rate"].mean == 0.5
    assert np.isnan(found["rair"].mean)
    with pytest.raises(ValueError, match="no column nope; it has who, ok, went"):
        read(file, "rater:nope")
    with pytest.raises(ValueError, match="needed: rater, truth, advice, initial, final; or rater"):
        read(file)


def test_delegated_rows_without_a_relied_column():
    columns = {
        "rater": np.array(["a", "a", "b", "b"], dtype=object),
        "truth": np.array(["x"] * 4, dtype=object), "advice": np.array(["x", "y", "x", None], dtype=object),
        "initial": np.array([None] * 4, dtype=object), "final": np.array(["x", "x", "y", "x"], dtype=object),
    }  # fmt: skip
    found = reliance(trials(columns), draws=10)
    assert found["hit rate"].mean == 0.5
    assert found["hit rate"].n == 4
    assert found["hit rate"].n_valid == 3


def test_doubled_and_mixed_rows_are_refused(tmp_path):
    file = written(tmp_path, [*ROWS, {**ROWS[0], "final": 2}], ".jsonl")
    with pytest.raises(ValueError, match="1 rows repeat rater, item, order"):
        read(file)
    book = read(file, duplicates="first")
    assert len(book.columns["rater"]) == 18
    assert book.columns["final"][0] == "1"
    assert "1 doubled rows of 19" in book.notes[0]
    with pytest.raises(ValueError, match="truth mixes"):
        read(written(tmp_path, [{**ROWS[0], "truth": "one"}, *ROWS[1:]], ".jsonl"))
    with pytest.raises(ValueError, match="trust must hold numbers"):
        read(written(tmp_path, [{**row, "trust": "high"} for row in ROWS], ".jsonl"))
    with pytest.raises(FileNotFoundError, match="no such table"):
        read(tmp_path / "none.csv")
    (tmp_path / "x.txt").touch()
    with pytest.raises(ValueError, match="a table is"):
        read(tmp_path / "x.txt")


def test_an_export_is_read_by_its_trials_else_its_ratings(tmp_path):
    assert tables_in(tmp_path) == []
    parquet.write_table(
        pa.Table.from_pylist([], pa.schema([("rater", pa.string())])), tmp_path / "trials.parquet"
    )
    rows = [
        {"rater": r, "item": i, "field": "good", "value": 1.0 * (i + r)} for r in range(2) for i in range(9)
    ]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "ratings.parquet")
    assert read(tmp_path).kind == "ratings"
    parquet.write_table(pa.Table.from_pylist(ROWS), tmp_path / "trials.parquet")
    assert read(tmp_path).kind == "trials"


def test_conditions_and_stated_trust():
    rng = np.random.default_rng(0)
    n = 400
    amounts = rng.normal(50, 10, (3, n))
    columns = {
        "rater": np.repeat(np.arange(20), 20).astype(str).astype(object),
        "display": np.where(np.arange(n) % 2, "card", "none").astype(object),
        "mode": np.full(n, "advise", dtype=object),
        "truth": amounts[0], "initial": amounts[1], "advice": amounts[0],
        "final": amounts[1] + 0.4 * (amounts[0] - amounts[1]), "trust": rng.integers(1, 8, n).astype(float),
    }  # fmt: skip
    parts = conditions(columns)
    assert list(parts) == ["none", "card"]
    columns["mode"][:200] = "query"
    assert set(conditions(columns)) == {"none, query", "card, query", "none, advise", "card, advise"}
    found = stated(parts["none"], draws=20)
    assert found["weight of advice, raw"].mean == pytest.approx(0.4)
    assert "resolution" in found
    assert "learning: up" in found
    assert stated({"rater": columns["rater"]}) == {}


def test_ratings_and_scales_by_field():
    rng = np.random.default_rng(0)
    good = [
        (r, i, "good", float(np.clip(i % 5 + rng.integers(-1, 2), 0, 4))) for r in "ab" for i in range(30)
    ]
    trust = rng.normal(size=40)
    ticks = 4 + np.where(np.arange(12) > 4, 1, -1) * trust[:, None] + rng.normal(0, 0.7, (40, 12))
    jian = [
        (f"p{k}", "end", f"jian-{j + 1}", float(np.clip(round(ticks[k, j]), 1, 7)))
        for k in range(40)
        for j in range(12)
    ]
    names = ("rater", "item", "field", "value")
    columns = {
        name: np.array(x, dtype=object) for name, x in zip(names, zip(*good, *jian, strict=True), strict=True)
    }
    columns["value"] = columns["value"].astype(float)
    found = rated(columns, method.instruments(), draws=50)
    assert found["good: ordinal alpha"].low > 0.3
    assert found["jian: trust"].n == 40
    assert {"jian: distrust", "jian: composite", "jian: alpha", "jian: omega"} <= set(found)
    assert found["jian: alpha"].mean > 0.7
    assert found["jian: straight lines"].mean == 0
    assert not [name for name in found if name.startswith("jian-")]


def test_codings_by_leaf():
    known = [("modes", "advise"), ("modes", "query")]
    columns = {
        "study": np.array(["s", "s", "t"], dtype=object), "coder": np.array(["a", "b", "a"], dtype=object),
        "axis": np.array(["modes"] * 3, dtype=object), "leaves": np.empty(3, dtype=object),
    }  # fmt: skip
    columns["leaves"][:] = [["advise"], ["advise", "query"], []]
    found = codings(columns, known)
    assert found["modes/advise"][0] == [1.0, 1.0]
    assert found["modes/query"][0] == [0.0, 1.0]
    assert found["modes/advise"][1][0] == 0
    assert np.isnan(found["modes/advise"][1][1])
    with pytest.raises(ValueError, match="no leaf 'query' on the axis"):
        codings(columns, known[:1])


@pytest.mark.skipif(not RATINGS.exists(), reason="real ratings are not beside the checkout")
def test_real_ratings_give_the_known_agreement():
    book = read(RATINGS, "item:Input.index,value:Answer.task-quality")
    assert matrix(book.columns).shape == (400, 5)
    found = rated(book.columns, {}, draws=20)
    expected = {"ordinal alpha": 0.4642, "interval alpha": 0.4676, "nominal alpha": 0.2976, "mean": 3.1035}
    for name, value in expected.items():
        assert found[f"rating: {name}"].mean == pytest.approx(value, abs=5e-5), name


def test_ratings_side_by_side(tmp_path):
    rows = [{"unit": f"u{k}", "x": k % 3, "y": (k + k // 5) % 3} for k in range(20)]
    book = read(written(tmp_path, rows, ".csv"), "item:unit,value:x|y")
    assert matrix(book.columns).tolist() == [[row["x"], row["y"]] for row in rows]


def test_a_d_prime_in_words():
    found = reliance(
        trials(
            {
                "rater": np.arange(40) % 8,
                "advice_correct": np.arange(40) % 2.0,
                "relied": np.arange(40) // 20 % 2.0,
            }
        ),
        draws=50,
    )
    assert discriminates(found["d'"]) == "no discrimination"
    assert discriminates(found["rair"]) == "undetermined"
