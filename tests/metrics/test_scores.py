"""Number scores: the hand case of the sentiment scale, scipy and scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import mean_absolute_error

from polymodal.metrics import (
    ACC5,
    ACC7,
    HAS0,
    MAE,
    NON0,
    PEARSON,
    acc5,
    acc7,
    has0,
    has0_classification,
    has0_regression,
    mae,
    non0,
    pearson,
)

TARGET, PREDICTION = [-3, -1, 0, 0.4, 2.5], [-2.6, 0.2, -0.1, 0.5, 3.4]
VALUES = st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=1, max_size=30)


@pytest.mark.parametrize(
    ("score", "expected"),
    [(acc7, 0.6), (acc5, 0.8), (has0, 0.6), (non0, 0.75), (mae, 0.54), (pearson, 0.9674)],
)
def test_by_hand(score, expected):
    assert score(TARGET, PREDICTION) == pytest.approx(expected, abs=5e-5)


def test_rounding_goes_half_to_even():
    assert acc7([0.5, 1.5, 2.5], [0, 2, 2]) == 1.0
    assert acc7([3.0, -3.0], [9.0, -4.0]) == 1.0
    assert acc5([3.0], [2.0]) == 1.0


def test_neutral_changes_side_between_the_toolkits_two_definitions():
    target, prediction = [0.0, 0.0, 1.0], [0.5, -0.5, 1.0]
    assert has0_regression(target, prediction) == has0(target, prediction) == pytest.approx(2 / 3)
    assert has0_classification(target, prediction) == pytest.approx(2 / 3)
    assert has0_regression([0.0], [0.5]) == 1.0
    assert has0_classification([0.0], [0.5]) == 0.0


def toolkit(target, prediction):
    """The regression scores as the sentiment toolkits compute them, sample by sample."""

    def share(pairs):
        return sum(a == b for a, b in pairs) / len(pairs) if pairs else float("nan")

    def clip(x, edge):
        return round(max(-edge, min(edge, x)))

    pairs = list(zip(target, prediction, strict=True))
    return {
        acc7: share([(clip(t, 3), clip(p, 3)) for t, p in pairs]),
        acc5: share([(clip(t, 2), clip(p, 2)) for t, p in pairs]),
        has0: share([(t >= 0, p >= 0) for t, p in pairs]),
        non0: share([(t > 0, p > 0) for t, p in pairs if t != 0]),
        has0_classification: share([(t > 0, p > 0) for t, p in pairs]),
    }


@settings(max_examples=40, deadline=None)
@given(VALUES)
def test_against_a_second_implementation(pairs):
    target, prediction = zip(*pairs, strict=True)
    for score, expected in toolkit(target, prediction).items():
        assert score(target, prediction) == pytest.approx(expected, nan_ok=True)
    assert mae(target, prediction) == pytest.approx(mean_absolute_error(target, prediction))


def test_pearson_against_scipy():
    rng = np.random.default_rng(0)
    for scale, shift in ((1.0, 0.0), (1e-6, 1e3), (1e6, -5.0)):
        x = rng.normal(size=50)
        y = 0.5 * x + rng.normal(size=50)
        expected = stats.pearsonr(x, y).statistic
        assert pearson(x * scale + shift, y) == pytest.approx(expected, abs=1e-9)


def test_undefined_scores_are_nan():
    assert np.isnan(pearson([1, 1, 1], [1, 2, 3]))
    assert np.isnan(pearson([0.1, 0.2, 0.3], [0.3] * 3))
    assert np.isnan(pearson([1.0], [2.0]))
    assert np.isnan(non0([0, 0], [1, -1]))


@pytest.mark.parametrize("score", [mae, pearson, acc7, acc5, has0, non0, has0_classification])
def test_nothing_is_an_error(score):
    with pytest.raises(ValueError, match="no samples"):
        score([], [])


@pytest.mark.parametrize("metric", [MAE, PEARSON, ACC7, ACC5, HAS0, NON0])
def test_direction_and_range(metric):
    assert metric.task == "scores"
    best = metric.score(np.array([-2.0, 1.0, 3.0]), np.array([-2.0, 1.0, 3.0]))
    assert best == pytest.approx(metric.low if metric.better == "lower" else metric.high)
