"""Robustness curves: worked cases and numpy's trapezoid."""

import numpy as np
import pytest
from scipy.integrate import trapezoid

from polymodal.metrics import area, areas, difference, effective

P = np.arange(11) / 10


def test_area_by_hand():
    assert area(P, np.full(11, 0.8)) == pytest.approx(0.8)
    assert area(P, 1 - P) == pytest.approx(0.5)
    assert area([0, 0.5, 1], [1, 0.5, 0.2]) == pytest.approx(0.375 + 0.175)


def test_area_against_scipy():
    curve = np.random.default_rng(0).random(11)
    assert area(P, curve) == pytest.approx(trapezoid(curve, P))


def test_areas_of_samples_average_to_the_area_and_can_be_compared():
    right = np.random.default_rng(0).random((11, 50)) < (1 - P / 2)[:, None]
    assert areas(P, right).mean() == pytest.approx(area(P, right.mean(axis=1)))
    robust = np.ones((11, 50))
    gap = difference(None, areas(P, robust), areas(P, right), group=np.arange(50) // 5)
    assert gap.mean == pytest.approx(1 - area(P, right.mean(axis=1)))
    assert gap.low > 0


def test_effective_by_hand():
    late = np.array([0.8, 0.6, 0.4])
    assert effective(late + 0.1, late) == pytest.approx(0)
    assert effective([0.9, 0.8, 0.6], late) == pytest.approx(0 + 0.1 + 0.1)


@pytest.mark.parametrize("p", [[0], [0, 0], [1, 0], [0, 0.5, 1]])
def test_area_needs_rising_points(p):
    with pytest.raises(ValueError, match="two points or more"):
        area(p, [1.0] * (1 if len(p) == 1 else 2))


def test_effective_needs_two_curves():
    for curve, late in (([1.0], [1.0, 2.0]), ([], [])):
        with pytest.raises(ValueError, match="two curves"):
            effective(curve, late)
