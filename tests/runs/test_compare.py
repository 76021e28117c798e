"""compare: paired by sample, clustered by group, and loud where the data differ."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polymodal.metrics import accuracy, mcnemar, proportion
from polymodal.runs import Run, RunError, compare

Rows = list[dict[str, Any]]
Make = Callable[..., Path]


@pytest.fixture
def made(tmp_path: Path) -> Make:
    def make(rows: Rows | None, system: str = "toy", data: str = "d1", **config: object) -> Path:
        run = Run.create(system, config, tmp_path)
        if rows is not None:
            run.table("predictions.parquet", rows)
        run.finish({"x": proportion(1, 2)}, [], {"data": data})
        return run.folder

    return make


def predicted(
    share: float, *, arms: tuple[str, ...] = ("all",), seeds: int = 1, start: int = 0, n: int = 60
) -> Rows:
    """Right with probability `share`; the draws are the same for every share, so better runs only gain."""
    rows = []
    for arm in arms:
        for seed in range(seeds):
            random = np.random.default_rng([seed, arms.index(arm)])
            for i in range(n):
                target = str((start + i) % 3)
                right = random.random() < share
                row = {"id": f"s{start + i}", "group": f"g{(start + i) % 12}", "target": target, "world": "w"}
                said = target if right else "none of these"
                rows.append({**row, "prediction": said, "arm": arm, "seed": seed, "fold": i % 2})
    return rows


def test_a_run_against_itself_is_exactly_zero(made: Make) -> None:
    rows = predicted(0.7, arms=("all", "text"), seeds=2)
    result = compare(made(rows), made(rows))
    assert result.notes == ()
    assert result.metric == "accuracy"
    assert [row.name for row in result.rows] == ["all", "text"]
    for row in result.rows:
        assert (row.difference.mean, row.difference.low, row.difference.high) == (0, 0, 0)
        assert (row.p, row.mcnemar, row.unpaired) == (1, 1, 0)
        assert row.first == row.second


def test_difference_is_second_minus_first_with_mcnemar_and_holm(made: Make) -> None:
    low, high = predicted(0.5, arms=("all", "text")), predicted(0.9, arms=("all", "text"))
    result = compare(made(low), made(high))
    for row in result.rows:
        a = [r for r in low if r["arm"] == row.name]
        b = [r for r in high if r["arm"] == row.name]
        right = [[r["target"] == r["prediction"] for r in rows] for rows in (a, b)]
        gained = sum(y and not x for x, y in zip(*right, strict=True))
        assert row.first == pytest.approx(sum(right[0]) / 60)
        assert row.difference.mean == pytest.approx((sum(right[1]) - sum(right[0])) / 60)
        assert row.difference.low > 0
        assert row.difference.n_groups == 12
        assert (row.only_first, row.only_second) == (0, gained)
        assert row.mcnemar == mcnemar(0, gained)
        assert row.p is not None
        assert row.difference.p is not None
        assert row.p >= row.difference.p
    assert result.rows[0].p == pytest.approx(
        min(1, 2 * min(r.difference.p or 0 for r in result.rows)), rel=1e-6
    )


def test_seeds_are_averaged_and_need_not_share_folds(made: Make) -> None:
    rows = predicted(0.6, seeds=3)
    for row in rows:
        row["fold"] = (int(row["id"][1:]) + row["seed"]) % 5
    row = compare(made(rows), made(predicted(0.8, seeds=3))).rows[0]
    per_seed = []
    for seed in range(3):
        here = [r for r in rows if r["seed"] == seed]
        per_seed.append(accuracy([r["target"] for r in here], [r["prediction"] for r in here]))
    assert row.first == pytest.approx(np.mean(per_seed))
    assert row.difference.n == 60


def test_repeated_folds_pair_by_fold(made: Make) -> None:
    rows = [{**row, "fold": fold} for fold in range(2) for row in predicted(0.6)]
    assert compare(made(rows), made(rows)).rows[0].difference.n == 120
    with pytest.raises(RunError, match="repeats a sample"):
        compare(made(rows + rows), made(rows))


def test_rows_without_a_partner_are_counted(made: Make) -> None:
    a = predicted(0.7, arms=("all", "text"))
    b = predicted(0.7, start=10) + predicted(0.7, arms=("all", "new"))[60:]
    result = compare(made(a), made(b, data="d2"))
    assert [row.name for row in result.rows] == ["all"]
    assert result.rows[0].unpaired == 20
    text = "\n".join(result.notes)
    assert "w/all: 10 rows only in the first run, 10 in the second" in text
    assert "only in" in text
    assert "w/text" in text
    assert "w/new" in text
    assert result.notes[0] == "DIFFERENT DATA: fingerprints differ for data d1 -> d2"


def test_other_targets_and_missing_seeds_are_left_out_and_said(made: Make) -> None:
    a, b = predicted(0.7, seeds=2), predicted(0.7, seeds=2)
    for row in b:
        if row["id"] == "s3":
            row["target"] = "other"
    del b[-1]
    result = compare(made(a), made(b))
    assert result.rows[0].difference.n == 58
    assert any("DIFFERENT DATA: targets differ, samples left out: 1" in note for note in result.notes)
    assert any("some seed is lacking, samples left out: 1" in note for note in result.notes)


def test_invalid_answers_count_but_are_not_scored(made: Make) -> None:
    a, b = predicted(1.0), predicted(1.0)
    a[0]["prediction"] = None
    row = compare(made(a), made(b)).rows[0]
    assert (row.difference.n, row.difference.n_valid) == (60, 59)
    assert (row.first, row.second) == (1, 1)


def test_nothing_valid_is_not_a_number(made: Make) -> None:
    row = compare(
        made([{"id": "a", "target": "x", "prediction": None}]),
        made([{"id": "a", "target": "x", "prediction": "x"}]),
    ).rows[0]
    assert np.isnan(row.first)
    assert np.isnan(row.difference.mean)
    assert row.p is None


def test_scores_by_mae_and_pearson_several_worlds(made: Make) -> None:
    random = np.random.default_rng(0)
    rows = [
        {"id": str(i), "group": None, "target": float(i), "prediction": i + random.normal(), "world": world}
        for world in ("a", "b")
        for i in range(30)
    ]
    better = [{**row, "prediction": (row["prediction"] + row["target"]) / 2} for row in rows]
    result = compare(made(rows, "one", x=1), made(better, "two", x=2))
    assert [row.name for row in result.rows] == ["a", "b"]
    assert result.metric == "MAE"
    assert result.rows[0].second == pytest.approx(result.rows[0].first / 2)
    assert result.rows[0].mcnemar is None
    assert "different systems: one and two" in result.notes
    assert "configuration: x 1 -> 2" in result.notes
    assert compare(made(rows), made(better), "pearson").rows[0].difference.mean > 0
    with pytest.raises(ValueError, match=r"no metric 'accuracy' for targets such as 0\.0.*mae, "):
        compare(made(rows), made(better), "accuracy")


def test_what_cannot_be_compared_says_why(made: Make, tmp_path: Path) -> None:
    rows = predicted(0.5)
    with pytest.raises(RunError, match=r"no predictions\.parquet"):
        compare(made(None), made(rows))
    with pytest.raises(RunError, match="not a run folder"):
        compare(tmp_path / "none", made(rows))
    with pytest.raises(RunError, match="no sample in common"):
        compare(made(rows), made(predicted(0.5, start=100)))
    assert compare(made(rows), made(rows), "Macro-F1").metric == "macro-F1"


def test_versions_that_differ_are_said(made: Make) -> None:
    a, b = made(predicted(0.5)), made(predicted(0.5))
    path = b / "result.json"
    path.write_text(path.read_text().replace('"python": "', '"python": "9.'))
    assert any(note.startswith("versions: python") for note in compare(a, b).notes)
