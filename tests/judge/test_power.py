"""Sample sizes: the published anchor, statsmodels, and simulation that agrees with the closed form."""

import math

import numpy as np
import pytest
from scipy.stats import binom
from statsmodels.stats.power import NormalIndPower

from polymodal.judge.power import needed, simulated, two_rates


def test_the_published_anchor() -> None:
    """Reliance of .296 against .389 asks for 405 discordant trials an arm at design effect 1."""
    assert needed(0.296, 0.389) == 405
    assert needed(0.389, 0.296) == 405
    assert needed(0.296, 0.389, size=16, icc=0.1) == pytest.approx(405 * 2.5, abs=3)


@pytest.mark.parametrize(("first", "second", "power"), [(0.5, 0.55, 0.8), (0.1, 0.2, 0.9), (0.7, 0.9, 0.5)])
def test_against_statsmodels(first: float, second: float, power: float) -> None:
    """Its z test with the standard deviation of the closed form as the unit."""
    sd = math.sqrt((first * (1 - first) + second * (1 - second)) / 2)
    n = NormalIndPower().solve_power(abs(first - second) / sd, power=power, alpha=0.05, ratio=1)
    assert needed(first, second, power=power) == math.ceil(n)


def test_simulation_agrees_with_the_closed_form() -> None:
    """And both with the power of the test itself, summed over all outcomes: .7993."""
    rate = np.arange(406) / 405
    chance = np.outer(*(binom.pmf(np.arange(406), 405, p) for p in (0.296, 0.389)))
    error = np.sqrt(np.add.outer(rate * (1 - rate), rate * (1 - rate)) / 405)
    exact = chance[np.abs(np.subtract.outer(rate, rate)) > 1.959964 * error].sum()
    assert exact == pytest.approx(0.8, abs=0.001)
    found = simulated(two_rates(0.296, 0.389, 405), runs=2000, seed=1)
    assert found.mean == pytest.approx(exact, abs=3 * math.sqrt(0.8 * 0.2 / 2000))
    null = simulated(two_rates(0.3, 0.3, 405), runs=2000, seed=2)
    assert null.mean == pytest.approx(0.05, abs=3 * math.sqrt(0.05 * 0.95 / 2000))


def test_simulation_agrees_where_answers_come_in_clusters() -> None:
    n = needed(0.3, 0.5, size=10, icc=0.2)
    assert n == pytest.approx(needed(0.3, 0.5) * 2.8, abs=3)
    found = simulated(two_rates(0.3, 0.5, n, size=10, icc=0.2), runs=2000, seed=3)
    assert found.mean == pytest.approx(0.8, abs=0.04)
    null = simulated(two_rates(0.3, 0.3, n, size=10, icc=0.2), runs=2000, seed=4)
    assert null.mean == pytest.approx(0.05, abs=0.015)


def test_any_design_can_be_simulated_and_a_seed_fixes_it() -> None:
    assert simulated(lambda rng: float(rng.random()), runs=400, seed=5).mean == pytest.approx(0.05, abs=0.03)
    trial = two_rates(0.3, 0.4, 100)
    assert simulated(trial, runs=50, seed=6) == simulated(trial, runs=50, seed=6)
    assert simulated(lambda rng: math.nan, runs=20).mean == 0


def test_edges() -> None:
    rng = np.random.default_rng(0)
    assert two_rates(0, 0, 10)(rng) == 1
    assert two_rates(0, 1, 10, size=5, icc=0.5)(rng) == 0
    for wrong in ({"first": 0.5, "second": 0.5}, {"first": 1.5, "second": 0.5}):
        with pytest.raises(ValueError, match="two different rates"):
            needed(**wrong)
    with pytest.raises(ValueError, match="power from"):
        needed(0.2, 0.3, power=1)
    with pytest.raises(ValueError, match="ICC"):
        needed(0.2, 0.3, icc=1)
    with pytest.raises(ValueError, match="two raters"):
        two_rates(0.2, 0.3, 10, size=10)
    with pytest.raises(ValueError, match="cluster size"):
        two_rates(0.2, 0.3, 10, icc=-1)
