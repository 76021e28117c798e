"""Estimates against statsmodels and scipy, worked cases, and coverage by simulation."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from polymodal.metrics import Estimate, bounds, exact, mean, over_seeds, proportion
from polymodal.metrics.estimate import normal_quantile
from polymodal.metrics.resample import percentile

METHODS = {"wilson": "wilson", "clopper-pearson": "beta"}


@pytest.mark.parametrize(
    ("x", "low", "high"),
    [(0, 0.0, 0.1611), (3, 0.0524, 0.3604), (20, 0.8389, 1.0)],
    ids=["none", "three", "all"],
)
def test_wilson_by_hand(x, low, high):
    found = proportion(x, 20)
    assert (found.low, found.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))
    assert found.n == found.n_valid == 20
    assert found.method == "wilson"


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 500), st.floats(0, 1), st.sampled_from(sorted(METHODS)), st.sampled_from([0.8, 0.95, 0.99])
)
def test_proportion_against_statsmodels(n, share, method, level):
    x = round(share * n)
    found = proportion(x, n, method=method, level=level)
    low, high = proportion_confint(x, n, alpha=1 - level, method=METHODS[method])
    assert found.low == pytest.approx(max(0.0, low), abs=1e-9)
    assert found.high == pytest.approx(min(1.0, high), abs=1e-9)
    assert 0 <= found.low <= found.mean <= found.high <= 1


def test_proportion_of_nothing_is_undefined_and_invalid_trials_are_counted():
    empty = proportion(0, 0, invalid=3)
    assert math.isnan(empty.mean)
    assert (empty.low, empty.high, empty.n, empty.n_valid) == (0.0, 1.0, 3, 0)
    assert empty.reason


@pytest.mark.parametrize(("x", "n", "invalid"), [(3, 2, 0), (-1, 2, 0), (1, 2, -1)])
def test_proportion_refuses_counts_that_do_not_fit(x, n, invalid):
    with pytest.raises(ValueError, match="0 <= x <= n"):
        proportion(x, n, invalid=invalid)


def test_mean_is_students_t_without_groups():
    values = np.array([1.0, 2.0, 4.0, np.nan, 7.0])
    found = mean(values, better="lower")
    kept = values[np.isfinite(values)]
    expected = stats.ttest_1samp(kept, 0).confidence_interval()
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert (found.mean, found.n, found.n_valid, found.better) == (3.5, 5, 4, "lower")


def test_singleton_groups_are_an_ordinary_bootstrap():
    values = np.random.default_rng(1).gamma(2.0, size=60)
    found = mean(values, group=np.arange(60), draws=20_000)
    expected = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20_000, rng=2)
    assert found.low == pytest.approx(expected.confidence_interval.low, abs=0.02)
    assert found.high == pytest.approx(expected.confidence_interval.high, abs=0.02)
    assert found.n_groups == 60


def test_grouped_mean_equals_the_resample_rows_loop():
    rng = np.random.default_rng(0)
    group = rng.integers(0, 12, 200)
    values = rng.normal(size=200) + group / 4
    found = mean(values, group=group, draws=4000)
    rows = [np.flatnonzero(group == g) for g in range(12)]
    loop = [values[np.concatenate([rows[g] for g in rng.integers(0, 12, 12)])].mean() for _ in range(4000)]
    assert (found.low, found.high) == pytest.approx(percentile(np.array(loop), 0.95, 12), abs=0.04)
    assert found.high - found.low > 2 * (mean(values).high - mean(values).low)


def test_groups_may_be_names_in_a_list_and_the_seed_decides():
    values, group = [1, 0, 1, 1, 0, 0], ["a", "a", "b", "b", None, None]
    first, same, other = (mean(values, group=group, seed=s, draws=50) for s in (0, 0, 1))
    assert first == same
    assert first.n_groups == 4
    assert mean(values, group=[None] * 6) == mean(values)
    assert other.mean == first.mean


@pytest.mark.parametrize(
    ("values", "group", "reason"),
    [
        ([1.0, 2.0], ["a", "a"], "fewer than two groups"),
        ([1.0, np.nan], None, "one valid sample"),
        ([np.nan, np.nan], None, "no valid sample"),
        ([np.nan, np.nan], ["a", "b"], "no valid sample"),
        ([1.0, np.nan], ["a", "b"], "fewer than two groups"),
    ],
)
def test_too_little_for_an_interval_says_so(values, group, reason):
    found = mean(values, group=group)
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert reason in found.reason


def test_bad_values_and_groups_are_refused():
    with pytest.raises(ValueError, match="no samples"):
        mean([])
    with pytest.raises(ValueError, match="one value a sample"):
        mean(np.zeros((2, 2)))
    with pytest.raises(ValueError, match="group has shape"):
        mean([1.0, 2.0], group=["a"])


def test_percentiles_are_plain_for_many_groups_and_wider_for_few():
    scores = np.random.default_rng(0).normal(size=200_000)
    plain = tuple(np.quantile(scores, [0.025, 0.975]))
    assert percentile(scores, 0.95, 10**6) == pytest.approx(plain, abs=1e-3)
    wide = 2.5706 * (6 / 5) ** 0.5  # Student's t of 5 degrees of freedom
    assert percentile(scores, 0.95, 6) == pytest.approx((-wide, wide), abs=0.05)
    gaps = np.append(scores, np.nan)
    assert percentile(gaps, 0.95, 6) == percentile(scores, 0.95, 6)
    assert np.isnan(percentile(np.full(3, np.nan), 0.95, 6)).all()


def coverage(make, truth, rounds, **how):
    hits = 0
    for i in range(rounds):
        found = mean(**make(np.random.default_rng(i)), seed=10_000 + i, **how)
        hits += found.low <= truth <= found.high
    return hits / rounds


def test_t_interval_covers_at_its_nominal_level():
    share = coverage(lambda rng: {"values": rng.normal(3, 2, 12)}, 3.0, 500)
    assert share == pytest.approx(0.95, abs=0.03)
    share = coverage(lambda rng: {"values": rng.normal(3, 2, 12)}, 3.0, 500, level=0.8)
    assert share == pytest.approx(0.8, abs=0.05)


def test_clustered_interval_covers_at_its_nominal_level_where_rows_alone_do_not():
    def sample(rng):
        group = np.repeat(np.arange(60), 5)
        return {"values": rng.normal(size=60)[group] + rng.normal(size=300), "group": group}

    def six_speakers(rng):
        group = np.repeat(np.arange(6), 5)
        return {"values": rng.normal(size=6)[group] + rng.normal(size=30), "group": group}

    def ungrouped(rng):
        return {"values": sample(rng)["values"]}

    assert coverage(sample, 0.0, 250, draws=400) == pytest.approx(0.95, abs=0.04)
    assert coverage(six_speakers, 0.0, 250, draws=1000) == pytest.approx(0.94, abs=0.04)
    assert coverage(ungrouped, 0.0, 250) < 0.8


def test_wilson_covers_on_average():
    rng = np.random.default_rng(0)
    p = rng.uniform(0.02, 0.98, 1500)
    hits = [
        found.low <= one <= found.high
        for one, x in zip(p, rng.binomial(40, p), strict=True)
        for found in [proportion(int(x), 40)]
    ]
    assert np.mean(hits) == pytest.approx(0.95, abs=0.015)


def test_bounds_take_the_worst_and_the_best_for_invalid_samples():
    found = bounds([1, 0, np.nan, 1])
    assert (found.mean, found.low, found.high) == (pytest.approx(2 / 3), 0.5, 0.75)
    assert (found.n, found.n_valid) == (4, 3)
    scale = bounds([4.0, np.nan], low=1, high=5)
    assert (scale.low, scale.high) == (2.5, 4.5)
    nothing = bounds([np.nan])
    assert math.isnan(nothing.mean)
    assert (nothing.low, nothing.high) == (0.0, 1.0)


def test_seeds_are_averaged_per_sample_before_samples_are_clustered():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(3, 40))
    values[1, 7] = np.nan
    group = np.repeat(np.arange(10), 4)
    found = over_seeds(values, group=group, seed=4)
    alone = mean(values.mean(axis=0), group=group, seed=4)
    assert (found.mean, found.low, found.high) == (alone.mean, alone.low, alone.high)
    assert found.n_valid == 39
    kept = np.delete(values, 7, axis=1)
    assert found.between == pytest.approx(kept.mean(axis=1).std(ddof=1))
    copies = over_seeds(np.stack([values[0]] * 5))
    assert copies.between == 0
    assert copies.high == pytest.approx(mean(values[0]).high)
    assert over_seeds(values[:1]).between is None
    with pytest.raises(ValueError, match="seeds by samples"):
        over_seeds(values[0])


def test_exact_numbers_have_no_width():
    found = exact(12, n=3, better="lower")
    assert (found.low, found.mean, found.high, found.method) == (12.0, 12.0, 12.0, "exact")


def test_json_keeps_everything_and_writes_nan_as_null():
    found = mean([1.0, np.nan], group=["a", "b"])
    text = json.dumps(found.to_json(), allow_nan=False)
    back = Estimate.from_json(json.loads(text))
    assert math.isnan(back.low)
    assert math.isnan(back.high)
    assert back.to_json() == found.to_json()
    whole = mean([1.0, 2.0])
    assert Estimate.from_json(json.loads(json.dumps(whole.to_json()))) == whole


def test_whole_numbers_will_do():
    assert Estimate(mean=1, low=0, high=2, n=3, n_valid=3).high == 2


def test_normal_quantile():
    assert normal_quantile(0.95) == pytest.approx(1.959963985)
