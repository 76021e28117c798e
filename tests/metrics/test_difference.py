"""Estimates and paired differences of any metric, against loops over resampled rows."""

import math

import numpy as np
import pytest
from scipy import stats

from polymodal.metrics import (
    ACC7,
    ACCURACY,
    AUROC,
    BALANCED_ACCURACY,
    BRIER,
    ECE,
    MACRO_F1,
    MAE,
    NON0,
    PEARSON,
    WEIGHTED_F1,
    difference,
    estimate,
    mean,
    permutation,
    proportion,
    resample,
    unpaired,
)
from polymodal.metrics.resample import group_index, scorers, weights

RNG = np.random.default_rng(0)
GROUP = np.repeat(np.arange(15), 8)
LABELS = RNG.integers(0, 4, 120)
GOOD = np.where(RNG.random(120) < 0.8, LABELS, RNG.integers(0, 4, 120))
POOR = np.where(RNG.random(120) < 0.5, LABELS, RNG.integers(0, 4, 120))
SCORES = RNG.normal(size=120) * 1.5
CLOSE, FAR = SCORES + RNG.normal(size=120) * 0.3, SCORES + RNG.normal(size=120)
CASES = [
    (ACCURACY, LABELS, GOOD, POOR),
    (BALANCED_ACCURACY, LABELS, GOOD, POOR),
    (MACRO_F1, LABELS, GOOD, POOR),
    (WEIGHTED_F1, LABELS, GOOD, POOR),
    (MAE, SCORES, CLOSE, FAR),
    (PEARSON, SCORES, CLOSE, FAR),
    (NON0, np.where(np.abs(SCORES) < 0.5, 0, SCORES), CLOSE, FAR),
    (ACC7, SCORES, CLOSE, FAR),
    (AUROC, (SCORES > 0).astype(int), CLOSE, FAR),
]
IDS = [case[0].name for case in CASES]


def rows_of(w):
    """Positions of the samples that a row of group weights asks for."""
    return np.repeat(np.arange(120), w[GROUP].astype(int))


@pytest.mark.parametrize(("metric", "target", "good", "poor"), CASES, ids=IDS)
def test_weighted_groups_score_as_the_rows_they_stand_for(metric, target, good, poor):
    first, second = scorers(metric, target, [good, poor], GROUP, 15)
    for w in weights(15, draws=20, seed=1):
        picked = [rows_of(one) for one in w]
        assert first.weighted(w) == pytest.approx([metric.score(target[r], good[r]) for r in picked])
        swap = (w > 1).astype(float)
        mixed = [metric.score(target, np.where(s[GROUP] == 1, poor, good)) for s in swap]
        assert first.mixed(second, swap) == pytest.approx(mixed)


@pytest.mark.parametrize(("metric", "target", "good", "poor"), CASES, ids=IDS)
def test_estimate_and_difference_of_every_metric(metric, target, good, poor):
    draws = 60 if metric is AUROC else 400
    found = estimate(metric, target, good, group=GROUP, draws=draws)
    assert found.mean == pytest.approx(metric.score(target, good))
    assert found.low <= found.mean <= found.high
    assert (found.n, found.n_groups, found.better) == (120, 15, metric.better)
    gap = difference(metric, good, poor, target, group=GROUP, draws=draws)
    assert gap.mean == pytest.approx(metric.score(target, good) - metric.score(target, poor))
    assert (gap.mean > 0) == (metric.better == "higher")
    mirrored = difference(metric, poor, good, target, group=GROUP, draws=draws)
    assert (mirrored.low, mirrored.high, mirrored.p) == pytest.approx((-gap.high, -gap.low, gap.p))
    same = difference(metric, good, good, target, group=GROUP, draws=50)
    assert (same.mean, same.low, same.high, same.p) == (0, 0, 0, 1)


def test_classes_only_on_one_side_of_a_difference_do_not_leak_into_the_other():
    target, narrow, wide = np.zeros(20, int), np.zeros(20, int), np.arange(20) % 5
    gap = difference(MACRO_F1, narrow, wide, target, group=np.arange(20) // 2, draws=50)
    assert gap.mean == pytest.approx(1 - MACRO_F1.score(target, wide))


def test_without_groups_a_mean_over_samples_has_its_exact_interval():
    found = estimate(ACCURACY, LABELS, GOOD)
    hits = int((LABELS == GOOD).sum())
    assert found == proportion(hits, 120, better="higher")
    errors = estimate(MAE, SCORES, CLOSE)
    assert errors == mean(np.abs(SCORES - CLOSE), better="lower")
    whole = estimate(MAE, np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 3.0]))
    assert whole.method == "t"
    nameless = estimate(ACCURACY, LABELS, GOOD, group=[None] * 120)
    assert nameless == found
    neutral = estimate(NON0, np.array([0.0, 1.0, -1.0]), np.array([1.0, 1.0, 1.0]))
    assert (neutral.mean, neutral.n, neutral.n_valid, neutral.method) == (0.5, 3, 2, "wilson")


def test_ungrouped_bootstrap_against_scipy():
    found = estimate(PEARSON, SCORES, FAR, draws=2000)
    expected = stats.bootstrap(
        (SCORES, FAR), lambda a, b: stats.pearsonr(a, b).statistic, paired=True, vectorized=False,
        method="percentile", n_resamples=600, rng=1,
    ).confidence_interval  # fmt: skip
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.03)
    assert found.n_groups is None
    alone = estimate(PEARSON, SCORES, FAR, group=np.arange(120), draws=2000)
    assert (alone.low, alone.high) == (found.low, found.high)


def test_difference_of_values_is_paired_and_clustered():
    a, b = SCORES + GROUP, SCORES + GROUP + 0.1
    gap = difference(None, b, a, group=GROUP)
    assert (gap.mean, gap.low, gap.high) == pytest.approx((0.1, 0.1, 0.1))
    assert gap.p == pytest.approx(permutation(b, a, group=GROUP, draws=2000), abs=1e-3)
    noisy = a + np.random.default_rng(1).normal(size=120)
    gap = difference(None, noisy, a, group=GROUP)
    alone = mean(noisy - a, group=GROUP)
    assert (gap.mean, gap.low, gap.high) == pytest.approx((alone.mean, alone.low, alone.high))


def test_pairs_where_a_side_is_invalid_are_left_out_and_counted():
    a, b = np.array([1.0, np.nan, 3.0, 4.0]), np.array([0.0, 1.0, np.nan, 1.0])
    gap = difference(None, a, b)
    assert (gap.mean, gap.n, gap.n_valid) == (2.0, 4, 2)
    labels = np.array(["x", None, "y", "y"], dtype=object)
    found = estimate(ACCURACY, labels, ["x", "x", "y", "x"])
    assert (found.mean, found.n, found.n_valid) == (pytest.approx(2 / 3), 4, 3)
    rows = np.array([[0.9, 0.1], [np.nan, 0.5], [0.2, 0.8]])
    found = estimate(BRIER, np.array([0, 0, 1]), rows)
    assert (found.n, found.n_valid) == (3, 2)


def test_nothing_valid_is_undefined_and_one_group_has_no_interval():
    empty = estimate(MACRO_F1, np.array([None, None], dtype=object), ["a", "b"])
    assert math.isnan(empty.mean)
    assert empty.reason == "no valid sample"
    assert math.isnan(estimate(ACCURACY, np.array([np.nan]), np.array([1])).mean)
    one = estimate(ACCURACY, LABELS, GOOD, group=["s"] * 120)
    assert math.isnan(one.low)
    assert one.mean == ACCURACY.score(LABELS, GOOD)
    assert "fewer than two groups" in one.reason
    flat = estimate(PEARSON, [1.0, 1.0, 1.0], [1.0, 2.0, 3.0])
    assert "Pearson is undefined" in flat.reason
    assert math.isnan(flat.high)


def test_seeds_share_their_resampled_groups():
    runs = np.stack([GOOD, POOR, GOOD])
    found = estimate(MACRO_F1, LABELS, runs, group=GROUP, draws=300)
    each = [MACRO_F1.score(LABELS, run) for run in runs]
    assert found.mean == pytest.approx(np.mean(each))
    assert found.between == pytest.approx(np.std(each, ddof=1))
    copies = estimate(MACRO_F1, LABELS, np.stack([GOOD, GOOD]), group=GROUP, draws=300)
    single = estimate(MACRO_F1, LABELS, GOOD, group=GROUP, draws=300)
    assert (copies.low, copies.high) == pytest.approx((single.low, single.high))
    assert copies.between == 0
    plain = estimate(ACCURACY, LABELS, runs)
    assert plain.mean == pytest.approx(np.mean([ACCURACY.score(LABELS, run) for run in runs]))
    assert plain.between is not None
    gap = difference(ACCURACY, runs, np.stack([POOR, POOR, GOOD]), LABELS, group=GROUP, draws=300)
    step = ACCURACY.score(LABELS, GOOD) - ACCURACY.score(LABELS, POOR)
    assert gap.mean == pytest.approx(step / 3)
    assert gap.between == pytest.approx(np.std([step, 0, 0], ddof=1))
    uneven = difference(ACCURACY, runs, POOR, LABELS, group=GROUP, draws=50)
    assert uneven.p is None
    assert uneven.between is None
    values = difference(None, np.ones((2, 120)), np.zeros((2, 120)), group=GROUP, draws=50)
    assert (values.mean, values.low) == (1.0, 1.0)


def test_seeds_of_probabilities_have_one_more_axis():
    rng = np.random.default_rng(0)
    runs = rng.dirichlet([1, 1, 1, 1], (2, 120))
    found = estimate(ECE, LABELS, runs, group=GROUP, draws=30)
    assert found.mean == pytest.approx(np.mean([ECE.score(LABELS, run) for run in runs]))


def test_too_many_classes_for_memory_are_scored_row_by_row(monkeypatch):
    quick = estimate(MACRO_F1, LABELS, GOOD, group=GROUP, draws=40)
    monkeypatch.setattr(resample, "_WIDEST", 10)
    slow = estimate(MACRO_F1, LABELS, GOOD, group=GROUP, draws=40)
    assert (slow.low, slow.high) == pytest.approx((quick.low, quick.high))


def test_blocks_are_bounded(monkeypatch):
    monkeypatch.setattr(resample, "_CELLS", 64)
    blocks = list(weights(15, draws=11, seed=0))
    assert [len(block) for block in blocks] == [4, 4, 3]
    assert all((block.sum(axis=1) == 15).all() for block in blocks)


def test_misuse_is_refused():
    with pytest.raises(ValueError, match="needs the target"):
        difference(ACCURACY, GOOD, POOR)
    with pytest.raises(ValueError, match="120 targets but 3"):
        estimate(ACCURACY, LABELS, GOOD[:3])
    with pytest.raises(ValueError, match="no samples"):
        estimate(ACCURACY, [], [])
    with pytest.raises(ValueError, match="group has shape"):
        group_index(np.array(["a"]), 2, np.ones(2, dtype=bool))


def test_unpaired_difference_is_newcombes_for_shares():
    from statsmodels.stats.proportion import confint_proportions_2indep

    # Newcombe 1998, table II, case (a): 56/70 - 48/80
    found = unpaired(proportion(56, 70, better="higher"), proportion(48, 80))
    assert (found.mean, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
    assert (found.n, found.better) == (150, "higher")
    for x, n, y, k in ((9, 10, 3, 10), (0, 20, 0, 30), (10, 10, 0, 20)):
        found = unpaired(proportion(x, n), proportion(y, k))
        wanted = confint_proportions_2indep(x, n, y, k, method="newcomb", compare="diff")
        assert (found.low, found.high) == pytest.approx(wanted, abs=1e-9)


def test_unpaired_difference_of_means_and_without_an_interval():
    a, b = mean([1.0, 2.0, 3.0, 6.0]), mean([0.0, 1.0, 1.0])
    found = unpaired(a, b)
    half = np.hypot(a.high - a.mean, b.high - b.mean)  # t intervals are symmetric
    assert (found.low, found.high) == pytest.approx((a.mean - b.mean - half, a.mean - b.mean + half))
    lone = unpaired(a, mean([1.0]))
    assert np.isnan(lone.low)
    assert lone.reason == "one valid sample: no interval"
    with pytest.raises(ValueError, match=r"one level are needed, got 0.95 and 0.9"):
        unpaired(a, mean([1.0, 2.0], level=0.9))
