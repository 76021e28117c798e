"""Stated trust: planted learning rates come back, calibration by hand, the capability card."""

import math

import numpy as np
import pytest

from polymodal.metrics.people import card, course, learning, trust_calibration

UP, DOWN = 0.10, 0.30


def reports(n=100, trials=60, *, up=UP, down=DOWN, seed=0):
    rng = np.random.default_rng(seed)
    correct = (rng.random((n, trials)) < 0.8).astype(float)
    t, told = rng.beta(4, 4, n), np.empty((n, trials))
    for k in range(trials):
        t = np.where(correct[:, k] == 1, t + up * (1 - t), t - down * t)
        told[:, k] = t
    return correct, np.clip(np.round(1 + 6 * told + rng.normal(0, 0.5, told.shape)), 1, 7)


def test_the_course_by_hand():
    a, b = course(np.array([[1.0, 0.0, np.nan]]), 0.1, 0.5)
    assert b[0].tolist() == pytest.approx([0.9, 0.45, 0.45])
    assert a[0].tolist() == pytest.approx([0.1, 0.05, 0.05])


@pytest.mark.parametrize("seed", range(3))
def test_planted_rates_come_back(seed):
    found = learning(*reports(seed=seed))
    assert found["up"].mean == pytest.approx(UP, abs=0.01)
    assert found["down"].mean == pytest.approx(DOWN, abs=0.02)
    assert found["down - up"].low > 0
    assert found["half-life"].mean == pytest.approx(6.58, abs=0.7)
    assert found["stationary"].low < 4 / 7 < found["stationary"].high
    assert all(one.low <= one.mean <= one.high for one in found.values())


def test_propensity_is_a_slope_of_the_first_trust():
    rng = np.random.default_rng(0)
    propensity = rng.uniform(1, 7, 80)
    correct = (rng.random((80, 20)) < 0.8).astype(float)
    a, b = course(correct, UP, DOWN)
    told = 1 + 6 * (a + b * (0.2 + 0.1 * propensity)[:, None]) + rng.normal(0, 0.05, a.shape)
    found = learning(correct, told, propensity)["first trust on propensity"]
    assert found.mean == pytest.approx(0.1, abs=0.01)
    assert found.low < found.mean < found.high
    assert "first trust on propensity" not in learning(correct, told, np.full(80, np.nan))


def test_trials_without_a_report_or_an_outcome_are_passed_over():
    correct, told = reports(40, 30)
    told[:, ::3] = np.nan
    correct[:, -1] = np.nan
    found = learning(correct, told)
    assert found["up"].n_valid == 40 * 20
    assert found["up"].mean == pytest.approx(UP, abs=0.02)
    alone = learning(correct[:1], told[:1])
    assert math.isnan(alone["up"].low)
    assert alone["up"].reason == "one person: no interval"


def test_trust_that_follows_accuracy():
    rng = np.random.default_rng(0)
    rater, kind = np.repeat(np.arange(40), 60), np.tile(np.arange(60) % 3, 40)
    right = (rng.random(2400) < np.array([0.9, 0.6, 0.3])[kind]).astype(float)
    trust = np.array([0.9, 0.6, 0.3])[kind]
    names = np.array(list("abc"))[kind]
    found = trust_calibration(trust, right, rater, names, seed=0, draws=100)
    assert found["specificity"].mean == pytest.approx(1, abs=0.15)
    assert found["slope"].mean > 0.5
    assert found["absolute gap"].mean < 0.03
    by_hand = trust[right == 1].mean() - trust[right == 0].mean()
    assert found["resolution"].mean == pytest.approx(by_hand)
    constant = trust_calibration(np.full(2400, 0.9), right, rater, names, seed=0, draws=20)
    assert constant["absolute gap"].mean == pytest.approx(0.9 - right.mean())
    assert constant["resolution"].mean == pytest.approx(0)
    one = trust_calibration(trust[:60], right[:60], rater[:60], names[:60], seed=0, draws=20)
    assert one["resolution"].reason == "one person: no interval"


def test_the_card_counts_silence_and_broken_replies():
    rows = [
        {"capability": "x", "answer": "a", "truth": "a", "confidence": 0.9, "reason": ""},
        {"capability": "x", "answer": "b", "truth": "a", "confidence": 0.9, "reason": ""},
        {"capability": "x", "answer": None, "truth": "a", "confidence": 0.1, "reason": ""},
        {"capability": "y", "answer": None, "truth": "a", "confidence": math.nan, "reason": "unparsable"},
    ]
    found = card(rows)
    assert found["x"]["accuracy"].mean == pytest.approx(1 / 3)
    assert found["x"]["confidence error"].mean == pytest.approx(0.4)
    assert found["x"]["abstention"].mean == pytest.approx(1 / 3)
    assert found["all"]["accuracy"].n == 4
    assert found["all"]["accuracy"].n_valid == 3
    assert math.isnan(found["y"]["accuracy"].mean)
