"""Corrections through labels: worked values, refusals, coverage at the nominal level."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from polymodal.judge.calibration import Correction, Pair, calibrate
from polymodal.judge.labels import Labels
from polymodal.metrics import isotonic, proportion, rectified

JUDGE = "noisy@1"


def labels(values: Any, *, judge: str = JUDGE, prefix: str = "i", **fields: Any) -> Labels:
    """One label an item; NaN is invalid."""
    rows = []
    for i, value in enumerate(values):
        row = {
            "subject": "s",
            "item": f"{prefix}{i:04d}",
            "judge": judge,
            "score": "x",
            "value": float(value),
        }
        if value != value:
            row |= {"valid": False, "reason": "timeout"}
        rows.append({**row, "group": row["item"], **{k: v[i] for k, v in fields.items()}})
    return Labels.from_rows(rows)


def known(tp: int = 51, n1: int = 60, tn: int = 57, n0: int = 60) -> tuple[Labels, Labels]:
    """A judge's labels of cases whose truth is known, and people's."""
    truth = [1] * n1 + [0] * n0
    said = [1] * tp + [0] * (n1 - tp) + [0] * tn + [1] * (n0 - tn)
    return labels(said, prefix="c"), labels(truth, judge="person", prefix="c")


def test_the_worked_values_through_labels() -> None:
    correction = calibrate(*known(), score="x", date="2026-11-23")
    assert (correction.n, correction.sensitivity, correction.specificity) == (120, (51, 60), (57, 60))
    assert (correction.judge, correction.date, len(correction.fingerprint)) == (JUDGE, "2026-11-23", 32)
    found = correction.apply(labels([1] * 36 + [0] * 164 + [np.nan] * 5), better="lower")
    assert (found.mean, found.low, found.high) == pytest.approx((0.1625, 0.0556, 0.2510), abs=5e-5)
    assert (found.n, found.n_valid, found.better) == (205, 200, "lower")
    few = correction.apply(labels([1] * 8 + [0] * 192))
    assert (few.mean, few.low, few.high) == pytest.approx((0, 0, 0.0608), abs=5e-5)
    assert few.reason == "clipped from -0.0125"


def test_the_corrected_rate_covers_the_truth_and_the_raw_one_does_not() -> None:
    """1,000 runs of 200 cases at a true rate of .12, judged at .85 and .95, with 60 + 60 labelled cases."""
    truth, rounds, rng = 0.12, 1000, np.random.default_rng(0)
    pairs = {
        (human, judged): Pair("s", "i", "", human, judged) for human in (0.0, 1.0) for judged in (0.0, 1.0)
    }
    corrected = raw = 0
    for _ in range(rounds):
        ill = rng.random(200) < truth
        values = np.where(ill, rng.random(200) < 0.85, rng.random(200) < 0.05).astype(float)
        tp, tn = rng.binomial(60, 0.85), rng.binomial(60, 0.95)
        seen = [pairs[1, 1]] * tp + [pairs[1, 0]] * (60 - tp) + [pairs[0, 0]] * tn + [pairs[0, 1]] * (60 - tn)
        found = Correction(how="rogan_gladen", score="x", judge=JUDGE, pairs=tuple(seen)).rate(values)
        plain = proportion(int(values.sum()), 200)
        corrected += found.low <= truth <= found.high
        raw += plain.low <= truth <= plain.high
    assert corrected / rounds >= 0.93
    assert raw / rounds < 0.9


def test_labels_by_another_judge_are_refused() -> None:
    correction = calibrate(*known(), score="x")
    other = labels([0, 1], judge="noisy@2")
    with pytest.raises(ValueError, match="is for noisy@1, the labels are by noisy@2"):
        correction.apply(other)
    both = labels([0, 1]).merge(other)
    with pytest.raises(ValueError, match="by noisy@2"):
        correction.apply(both)
    assert correction.apply(both, judge=JUDGE).n == 2
    with pytest.raises(ValueError, match="no valid label"):
        correction.apply(labels([np.nan]))
    with pytest.raises(ValueError, match="0 and 1, noisy@1 gives others"):
        correction.apply(labels([0.5, 1]))


def test_a_judge_that_tells_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="not better than chance"):
        calibrate(*known(30, 60, 30, 60), score="x")
    with pytest.raises(ValueError, match="not better than chance"):
        calibrate(*known(4, 6, 4, 6), score="x")
    with pytest.raises(ValueError, match="of both kinds"):
        calibrate(*known(6, 6, 0, 0), score="x")
    with pytest.raises(ValueError, match="two or more"):
        calibrate(labels([1]), labels([1], judge="person"), score="x")


def test_what_can_be_calibrated() -> None:
    said, truth = known()
    with pytest.raises(ValueError, match=r"these are by noisy@1, other@1$"):
        calibrate(said.merge(labels([1], judge="other@1")), truth, score="x")
    with pytest.raises(ValueError, match="by none"):
        calibrate(said, truth, score="y")
    with pytest.raises(ValueError, match="unknown correction 'bayes'"):
        calibrate(said, truth, "bayes", score="x")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="under several seeds"):
        calibrate(said.merge(labels([1], prefix="c", seed=[1])), truth, score="x")
    both = calibrate(said.merge(labels([1], judge="other@1")), truth, judge=JUDGE, score="x")
    assert both.n == 120
    assert both.date.count("-") == 2


def test_several_people_decide_by_majority_and_a_tie_is_left_out() -> None:
    people = labels([1, 1, 0, 0, 1], judge="p1").merge(
        labels([1, 0, 0, 0, np.nan], judge="p2"), labels([1, 1, 0], judge="p3")
    )
    said = labels([1, 1, 0, 0, np.nan])
    big, truth = known()
    correction = calibrate(said.merge(big), people.merge(truth), score="x")
    assert correction.sensitivity == (53, 62)  # items 0 and 1
    assert correction.specificity == (59, 62)  # items 2 and 3
    assert correction.left_out == 1  # item 4 was invalid for the judge
    split = calibrate(
        big.merge(labels([1])), truth.merge(labels([1], judge="p1"), labels([0], judge="p2")), score="x"
    )
    assert (split.n, split.left_out) == (120, 1)


def test_groups_widen_the_interval_of_a_rate() -> None:
    correction = calibrate(*known(), score="x")
    rng = np.random.default_rng(1)
    tiles = rng.random(40) < 0.2
    values = np.repeat(tiles, 10).astype(float)
    alone = correction.apply(labels(values))
    groups = [f"tile{i // 10}" for i in range(400)]
    whole = correction.apply(labels(values, group=groups), seed=1)
    assert whole.mean == alone.mean
    assert whole.n_groups == 40
    assert whole.high - whole.low > 1.8 * (alone.high - alone.low)
    assert whole == correction.apply(labels(values, group=groups), seed=1)
    one = correction.apply(labels(values, group=["tile"] * 400))
    assert one.reason == "fewer than two groups: no interval"
    assert np.isnan(one.low)


def test_groups_of_one_or_two_give_about_the_closed_form() -> None:
    """The bootstrap with drawn rates against Lang and Reiczigel, where both hold."""
    correction = calibrate(*known(), score="x")
    values = np.array([1.0] * 80 + [0.0] * 320)
    closed = correction.rate(values)
    drawn = correction.rate(values, np.array([*range(399), 0]), seed=0, draws=4000)
    assert (drawn.low, drawn.high) == pytest.approx((closed.low, closed.high), abs=0.015)


def graded(n: int = 300, labelled: int = 100) -> tuple[Labels, Labels, Any, Any]:
    rng = np.random.default_rng(2)
    truth = rng.integers(0, 4, n).astype(float)
    judged = np.clip(truth + rng.choice([0, 0, 1, 1], n), 0, 4)
    return labels(judged), labels(truth[:labelled], judge="person"), truth, judged


def test_rectified_takes_the_labelled_part_of_the_run_itself() -> None:
    said, people, truth, judged = graded()
    found = calibrate(said, people, "rectified", score="x").apply(said)
    same = rectified(truth[:100], judged[:100], judged[100:])
    assert found == replace(same, n=300, better=None)
    assert found.low < truth.mean() < found.high
    assert not found.low < judged.mean() < found.high
    with pytest.raises(ValueError, match="got 0 of 2"):
        calibrate(said, people, "rectified", score="x").apply(labels([1, 2], prefix="new"))
    with pytest.raises(ValueError, match="got 100 of 100"):
        calibrate(said, people, "rectified", score="x").apply(labels(judged[:100]))


def test_rectified_by_groups() -> None:
    said, people, _, judged = graded()
    twins = labels(
        np.concatenate([judged, judged[100:]]), group=[f"g{i}" for i in (*range(300), *range(100, 300))]
    )
    correction = calibrate(said, people, "rectified", score="x")
    found = correction.apply(twins, draws=300)
    assert found.n_groups == 300
    assert found.method.endswith("bootstrap of groups")
    assert found.low < found.mean < found.high
    one = correction.apply(labels(judged, group=["g"] * 300))
    assert one.reason == "fewer than two groups: no interval"


def test_isotonic_maps_to_the_human_scale_and_carries_its_own_error() -> None:
    said, people, truth, judged = graded()
    found = calibrate(said, people, "isotonic", score="x").apply(said)
    assert found.mean == pytest.approx(isotonic(judged[:100], truth[:100])(judged).mean())
    assert found.low < truth.mean() < found.high
    fewer = calibrate(said, graded(labelled=15)[1], "isotonic", score="x").apply(said)
    assert fewer.high - fewer.low > 1.3 * (found.high - found.low)


def test_a_correction_is_kept_as_json() -> None:
    for how in ("rogan_gladen", "rectified", "isotonic"):
        correction = calibrate(*known(), how, score="x")
        assert Correction.from_json(json.loads(json.dumps(correction.to_json()))) == correction
