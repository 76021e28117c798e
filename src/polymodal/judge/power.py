"""How many raters or cases a comparison needs: closed form, and simulation of any design."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from polymodal.metrics import Estimate, proportion
from polymodal.metrics.estimate import normal_quantile

Trial = Callable[[np.random.Generator], float]
"""One simulated study: draws its data and returns the p-value of its test."""


def needed(
    first: float, second: float, *, power: float = 0.8, level: float = 0.95, size: int = 1, icc: float = 0.0
) -> int:
    """Answers an arm that a comparison of two rates needs.

    n = (z + z')^2 (p1 q1 + p2 q2) / (p1 - p2)^2, times the design effect 1 + (m - 1) ICC of answers that come
    m a rater (or a case).

    Args:
        first: expected rate of one arm.
        second: of the other.
        power: chance to find the difference.
        level: 1 - the two-sided error of the test.
        size: m, answers a rater.
        icc: their intraclass correlation.

    Raises:
        ValueError: equal rates, or a number out of its range.
    """
    whole = 0 <= first <= 1 and 0 <= second <= 1 and first != second
    if not (whole and 0.5 <= power < 1 and 0 < level < 1):
        raise ValueError(
            f"two different rates and a power from .5 are needed, got {first}, {second}, {power}"
        )
    z = normal_quantile(level) + normal_quantile(2 * power - 1)
    plain = z**2 * (first * (1 - first) + second * (1 - second)) / (first - second) ** 2
    return math.ceil(plain * _design_effect(size, icc) - 1e-9)


def two_rates(first: float, second: float, n: int, *, size: int = 1, icc: float = 0.0) -> Trial:
    """A study of two arms with n answers each, `size` a rater; raters differ by a beta distribution.

    Without clusters the test is the unpooled z test of two rates; with them, Welch's t test of the raters'
    own rates, which holds its level where a test over answers would not.

    Args:
        first: rate of one arm.
        second: of the other.
        n: answers an arm; rounded up to whole raters.
        size: answers a rater.
        icc: intraclass correlation of a rater's answers, in [0, 1).

    Raises:
        ValueError: fewer than two raters an arm, or a number out of its range.
    """
    raters = math.ceil(n / size)
    _design_effect(size, icc)
    if raters < 2 or not (0 <= first <= 1 and 0 <= second <= 1):
        raise ValueError(f"two rates and two raters an arm are needed, got {first}, {second}, {raters}")

    def trial(rng: np.random.Generator) -> float:
        arms = [_rates(rate, raters, size, icc, rng) for rate in (first, second)]
        means = [float(arm.mean()) for arm in arms]
        if size == 1:
            errors = [mean * (1 - mean) / raters for mean in means]
        else:
            errors = [float(arm.var(ddof=1)) / raters for arm in arms]
        return _p_value(means[0] - means[1], errors, raters, plain=size == 1)

    return trial


def simulated(trial: Trial, *, runs: int = 1000, alpha: float = 0.05, seed: int = 0) -> Estimate:
    """The power of any study: the share of simulated ones whose p-value is below alpha.

    Args:
        trial: draws one study and tests it; a NaN p-value finds nothing.
        runs: how many.
        alpha: level of the test.
        seed: run i draws from (seed, i).

    Returns:
        The share with Wilson's interval, which speaks of the simulation's error alone.
    """
    found = sum(trial(np.random.default_rng([seed, run])) < alpha for run in range(runs))
    return proportion(int(found), runs, better="higher")


def _design_effect(size: int, icc: float) -> float:
    if size < 1 or not 0 <= icc < 1:
        raise ValueError(f"a cluster size from 1 and an ICC in [0, 1) are needed, got {size} and {icc}")
    return 1 + (size - 1) * icc


def _rates(
    rate: float, raters: int, size: int, icc: float, rng: np.random.Generator
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Each rater's share of yes."""
    own = np.full(raters, rate)
    if icc and 0 < rate < 1:
        spread = 1 / icc - 1
        own = rng.beta(rate * spread, (1 - rate) * spread, raters)
    return rng.binomial(size, own) / size


def _p_value(difference: float, errors: list[float], raters: int, *, plain: bool) -> float:
    from scipy.special import ndtr, stdtr

    total = sum(errors)
    if not total:
        return 1.0 if not difference else 0.0
    score = -abs(difference) / math.sqrt(total)
    if plain:
        return float(2 * ndtr(score))
    freedom = total**2 / sum(error**2 / (raters - 1) for error in errors)
    return float(2 * stdtr(freedom, score))
