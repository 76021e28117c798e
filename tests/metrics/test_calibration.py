"""Calibration against scikit-learn, brute force and worked cases."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import softmax
from sklearn.metrics import brier_score_loss, log_loss

from polymodal.metrics import (
    BRIER,
    ECE,
    NLL,
    brier,
    coverage_threshold,
    ece,
    estimate,
    fit_temperature,
    nll,
    reliability,
    selective,
    tempered,
)

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(400, 3)) * 2
TARGET = np.array([RNG.choice(3, p=p) for p in softmax(LOGITS / 1.7, axis=1)])
GIVEN = softmax(LOGITS, axis=1)


def two(confidence):
    """Two-class rows that say class 1 with this probability."""
    p = np.asarray(confidence, dtype=float)
    return np.column_stack([1 - p, p])


def test_ece_by_hand():
    # Two bins of two: confidence .65 against accuracy .5, .9 against 1.
    assert ece([1, 0, 1, 1], two([0.6, 0.7, 0.8, 1.0]), bins=2) == pytest.approx((0.15 + 0.1) / 2)
    assert ece([1], two([0.7])) == pytest.approx(0.3)


def test_ece_against_a_loop_over_bins():
    confidence = GIVEN.max(axis=1)
    order = np.argsort(confidence)
    correct = (GIVEN.argmax(axis=1) == TARGET)[order]
    total = 0.0
    for rows in np.array_split(np.arange(400), 15):
        total += len(rows) / 400 * abs(confidence[order][rows].mean() - correct[rows].mean())
    assert ece(TARGET, GIVEN) == pytest.approx(total)


def test_equal_confidences_make_no_error_out_of_their_order():
    # A predictor that always says .7 and is right 7 times of 10 is calibrated, whatever the bins.
    target = np.array([1] * 7 + [0] * 3)
    assert ece(target, two([0.7] * 10), bins=5) == pytest.approx(0, abs=1e-12)
    order = np.random.default_rng(1).permutation(10)
    spread = two([0.6, 0.7, 0.7, 0.7, 0.7, 0.8, 0.8, 0.8, 0.9, 0.9])
    assert ece(target[order], spread[order], bins=4) == pytest.approx(ece(target, spread, bins=4))


def test_reliability_rows():
    rows = reliability([1, 0, 1, 1], two([0.6, 0.7, 0.8, 1.0]), bins=2)
    assert [(row.confidence, row.accuracy, row.n) for row in rows] == [
        (pytest.approx(0.65), 0.5, 2),
        (pytest.approx(0.9), 1.0, 2),
    ]
    assert all(row.low <= row.accuracy <= row.high for row in rows)
    every = reliability(TARGET, GIVEN)
    assert sum(row.n for row in every) == 400
    assert sum(row.n * abs(row.confidence - row.accuracy) for row in every) / 400 == pytest.approx(
        ece(TARGET, GIVEN)
    )
    assert len(reliability([1], two([0.7]))) == 1


def test_brier_and_nll_by_hand():
    assert brier([1, 0], two([0.8, 0.4])) == pytest.approx((2 * 0.04 + 2 * 0.16) / 2)
    assert nll([1, 0], two([0.8, 0.4])) == pytest.approx(-(math.log(0.8) + math.log(0.6)) / 2)
    assert nll([0], two([1.0])) == pytest.approx(-math.log(1e-12))
    assert nll([1], two([1.0])) == 0.0


def test_brier_and_nll_against_scikit_learn():
    assert brier(TARGET, GIVEN) == pytest.approx(brier_score_loss(TARGET, GIVEN, scale_by_half=False))
    assert nll(TARGET, GIVEN) == pytest.approx(log_loss(TARGET, GIVEN))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 30), st.integers(2, 5), st.integers(0, 1000))
def test_ranges(n, k, seed):
    rng = np.random.default_rng(seed)
    target, given_ = rng.integers(0, k, n), rng.dirichlet(np.full(k, 0.3), n)
    for metric in (ECE, BRIER, NLL):
        assert metric.low <= metric.score(target, given_) <= metric.high
    best = np.eye(k)[target]
    assert [metric.score(target, best) for metric in (ECE, BRIER, NLL)] == pytest.approx([0, 0, 0])


def test_temperature_against_a_general_minimiser():
    found = fit_temperature(LOGITS, TARGET)
    reference = minimize(lambda t: nll(TARGET, softmax(LOGITS / t[0], axis=1)), [1.0], bounds=[(0.05, 20)])
    assert found == pytest.approx(float(reference.x[0]), rel=1e-3)
    assert found == pytest.approx(1.7, abs=0.3)
    assert nll(TARGET, tempered(LOGITS, found)) < nll(TARGET, GIVEN)
    assert (tempered(LOGITS, found).argmax(axis=1) == GIVEN.argmax(axis=1)).all()


def test_temperature_stays_in_its_range_and_large_logits_do_not_overflow():
    assert fit_temperature(np.array([[5.0, 0.0], [0.0, 5.0]]), [0, 1]) < 0.1
    assert fit_temperature(np.array([[5.0, 0.0], [0.0, 5.0]]), [1, 0]) == pytest.approx(100, rel=0.01)
    assert tempered([[1e4, 0.0]]).tolist() == [[1.0, 0.0]]
    assert tempered(LOGITS) == pytest.approx(GIVEN)
    with pytest.raises(ValueError, match="must be positive"):
        tempered(LOGITS, 0)


def test_coverage_threshold_answers_at_least_what_was_asked():
    confidence = np.array([0.9, 0.5, 0.7, 0.6])
    assert coverage_threshold(confidence, 0.5) == 0.7
    assert coverage_threshold(confidence, 0.51) == 0.6
    assert coverage_threshold(confidence, 1) == 0.5
    many = RNG.random(1000)
    for share in (0.1, 0.3, 0.7):
        assert (many >= coverage_threshold(many, share)).mean() == pytest.approx(share)
    for bad in (0, 1.1):
        with pytest.raises(ValueError, match="coverage in"):
            coverage_threshold(confidence, bad)
    with pytest.raises(ValueError, match="coverage in"):
        coverage_threshold([], 0.5)


def test_abstention_reports_coverage_and_accuracy_together():
    found = selective([1, 0, 1, 1], two([0.6, 0.7, 0.8, 1.0]), 0.7)
    assert (found.coverage.mean, found.coverage.n) == (0.75, 4)
    assert (found.accuracy.mean, found.accuracy.n_valid) == (pytest.approx(2 / 3), 3)
    grouped = selective(TARGET, GIVEN, 0.8, group=np.arange(400) // 20)
    alone = selective(TARGET, GIVEN, 0.8)
    assert grouped.coverage.mean == pytest.approx(alone.coverage.mean)
    assert grouped.accuracy.mean == pytest.approx(alone.accuracy.mean)
    assert grouped.accuracy.n_groups == 20
    assert alone.accuracy.mean > (GIVEN.argmax(axis=1) == TARGET).mean()
    nobody = selective(TARGET, GIVEN, 1.01)
    assert nobody.coverage.mean == 0
    assert math.isnan(nobody.accuracy.mean)


def test_metrics_of_probabilities_have_intervals():
    for metric in (ECE, BRIER, NLL):
        found = estimate(metric, TARGET, GIVEN, group=np.arange(400) // 20, draws=60)
        assert found.low <= found.high
        assert found.better == "lower"
        assert found.mean == pytest.approx(metric.score(TARGET, GIVEN))


@pytest.mark.parametrize("score", [ece, brier, nll, reliability])
def test_bad_input_is_named(score):
    with pytest.raises(ValueError, match="no samples"):
        score([], np.empty((0, 2)))
    with pytest.raises(ValueError, match="row 1 is no distribution"):
        score([0, 1], [[0.5, 0.5], [0.9, 0.9]])
    with pytest.raises(ValueError, match="class positions"):
        score([2], two([0.5]))
    with pytest.raises(ValueError, match="class positions"):
        score(["a"], two([0.5]))
    with pytest.raises(ValueError, match="samples by classes"):
        score([1], [0.5])
    assert score([1.0], two([0.5]))


def test_no_bins_is_an_error():
    with pytest.raises(ValueError, match="at least one bin"):
        ece([1], two([0.5]), bins=0)
