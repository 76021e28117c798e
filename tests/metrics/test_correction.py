"""Judge-error correction: worked values, ppi-python, scikit-learn, coverage by simulation."""

import math

import numpy as np
import pytest
from ppi_py import ppi_mean_ci, ppi_mean_pointestimate
from sklearn.isotonic import IsotonicRegression

from polymodal.metrics import isotonic, proportion, rectified, rogan_gladen

Y, F, REST = (np.array([int(c) for c in s], float) for s in ("10100100", "10001100", "1001000100100010"))


def test_rogan_gladen_by_hand():
    found = rogan_gladen((36, 200), (51, 60), (57, 60))
    assert (found.mean, found.low, found.high) == pytest.approx((0.1625, 0.0556, 0.2510), abs=5e-5)
    assert not found.reason
    low = rogan_gladen((8, 200), (51, 60), (57, 60))
    assert (low.mean, low.low, low.high) == pytest.approx((0, 0, 0.0608), abs=5e-5)
    assert low.reason == "clipped from -0.0125"


def by_the_letter(p, n, se, n1, sp, n0, z):
    """The Lang-Reiczigel interval as its paper states it."""
    n_, p_ = n + z**2, (n * p + z**2 / 2) / (n + z**2)
    se_, sp_ = (n1 * se + 1) / (n1 + 2), (n0 * sp + 1) / (n0 + 2)
    j = se_ + sp_ - 1
    q = (p_ + sp_ - 1) / j
    d = 2 * z**2 * (q * se_ * (1 - se_) / (n1 + 2) - (1 - q) * sp_ * (1 - sp_) / (n0 + 2))
    inner = p_ * (1 - p_) / n_ + q**2 * se_ * (1 - se_) / (n1 + 2)
    s = math.sqrt(inner + (1 - q) ** 2 * sp_ * (1 - sp_) / (n0 + 2)) / j
    return max(0, q + d - z * s), min(1, q + d + z * s)


@pytest.mark.parametrize(("x", "tp", "tn"), [(100, 80, 190), (40, 70, 180), (180, 95, 150)])
def test_rogan_gladen_against_its_formula(x, tp, tn):
    found = rogan_gladen((x, 300), (tp, 100), (tn, 200))
    expected = by_the_letter(x / 300, 300, tp / 100, 100, tn / 200, 200, 1.959963984540054)
    assert (found.low, found.high) == pytest.approx(expected)
    assert found.mean == pytest.approx((x / 300 + tn / 200 - 1) / (tp / 100 + tn / 200 - 1))


def test_a_judge_no_better_than_chance_is_refused():
    with pytest.raises(ValueError, match="not better than chance"):
        rogan_gladen((36, 200), (30, 60), (30, 60))
    with pytest.raises(ValueError, match="not better than chance"):
        rogan_gladen((36, 200), (4, 6), (4, 6))
    with pytest.raises(ValueError, match=r"0 <= x <= n"):
        rogan_gladen((36, 20), (51, 60), (57, 60))
    with pytest.raises(ValueError, match=r"n > 0"):
        rogan_gladen((36, 200), (0, 0), (57, 60))


def test_corrected_interval_covers_where_the_raw_one_does_not():
    rng = np.random.default_rng(0)
    truth, se, sp, rounds = 0.12, 0.85, 0.95, 1000
    said = rng.binomial(200, truth * se + (1 - truth) * (1 - sp), rounds)
    right = zip(said, rng.binomial(60, se, rounds), rng.binomial(60, sp, rounds), strict=True)
    corrected, raw = 0, 0
    for x, tp, tn in right:
        found, plain = rogan_gladen((int(x), 200), (int(tp), 60), (int(tn), 60)), proportion(int(x), 200)
        corrected += found.low <= truth <= found.high
        raw += plain.low <= truth <= plain.high
    assert corrected / rounds >= 0.93
    assert raw / rounds < 0.9


def test_rectified_by_hand():
    plain = rectified(Y, F, REST, tune=False)
    assert (plain.mean, plain.low, plain.high) == pytest.approx((0.3125, -0.1018, 0.7268), abs=5e-5)
    tuned = rectified(Y, F, REST)
    assert (tuned.mean, tuned.low, tuned.high) == pytest.approx((0.3553, 0.0459, 0.6648), abs=5e-5)
    assert tuned.method == "rectified, weight 0.3145"
    assert (tuned.n, tuned.n_valid) == (24, 8)


@pytest.mark.parametrize("seed", range(4))
def test_rectified_against_ppi_python(seed):
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=300)
    judge = truth + rng.normal(size=300) * (0.3 + seed)
    y, f, rest = truth[:60], judge[:60], judge[60:]
    plain, tuned = rectified(y, f, rest, tune=False), rectified(y, f, rest)
    for found, weight in ((plain, 1), (tuned, None)):
        low, high = (float(end[0]) for end in ppi_mean_ci(y, f, rest, alpha=0.05, lam=weight))
        assert (found.low, found.high) == pytest.approx((low, high))
        assert found.mean == pytest.approx(float(ppi_mean_pointestimate(y, f, rest, lam=weight)[0]))
    assert tuned.high - tuned.low <= plain.high - plain.low + 1e-9


def test_a_judge_that_says_one_thing_carries_no_weight():
    found = rectified(Y, np.ones(8), np.ones(16))
    assert found.mean == pytest.approx(Y.mean())
    assert found.method.endswith("0.0000")
    against = rectified(Y, 1 - Y, REST)
    assert against.method.endswith("0.0000")


def test_rectified_refuses_what_it_cannot_use():
    with pytest.raises(ValueError, match="finite scores"):
        rectified([1.0, np.nan], [1.0, 0.0], [1.0])
    with pytest.raises(ValueError, match="two labelled items"):
        rectified([1.0], [1.0], [1.0])
    with pytest.raises(ValueError, match="2 targets but 1"):
        rectified([1.0, 0.0], [1.0], [1.0])
    with pytest.raises(ValueError, match="no samples"):
        rectified([1.0, 0.0], [1.0, 1.0], [])


def test_isotonic_by_hand():
    fitted = isotonic([1, 2, 3, 4], [1, 3, 2, 4])
    assert fitted([1, 2, 3, 4]) == pytest.approx([1, 2.5, 2.5, 4])
    assert fitted([0, 1.5, 9]) == pytest.approx([1, 1.75, 4])


def test_isotonic_against_scikit_learn():
    rng = np.random.default_rng(0)
    score = rng.integers(0, 20, 150).astype(float)
    target = score / 20 + rng.normal(size=150) * 0.3
    reference = IsotonicRegression(out_of_bounds="clip").fit(score, target)
    asked = np.linspace(-2, 22, 60)
    assert isotonic(score, target)(asked) == pytest.approx(reference.predict(asked))
    with pytest.raises(ValueError, match="no samples"):
        isotonic([], [])
