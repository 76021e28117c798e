"""Any metric with its interval, and paired differences between two sets of predictions."""

import math
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from polymodal.metrics.estimate import Estimate, mean, over_seeds, proportion
from polymodal.metrics.metric import Array, Labels, Metric, Values
from polymodal.metrics.resample import FEW, group_index, named, percentile, scorers, weights
from polymodal.metrics.significance import swaps, two_sided


def estimate(
    metric: Metric,
    target: Labels,
    prediction: Values,
    *,
    group: Labels | None = None,
    seed: int = 0,
    draws: int = 2000,
    level: float = 0.95,
) -> Estimate:
    """A metric with its interval.

    With groups, or for a metric that is no mean over samples, a percentile bootstrap of whole groups,
    expanded where these are few. Without groups, a mean over samples has its exact interval: Wilson for
    right or wrong, Student's t for numbers.

    Args:
        metric: which score.
        target: " n" targets.
        prediction: " n" (or "n k" for probabilities); one more axis in front holds several training seeds,
            whose scores are averaged under the same resampled groups.
        group: " n" names of what must not be split; None makes every sample its own group.
        seed: of the bootstrap.
        draws: of the bootstrap.
        level: nominal coverage.

    Returns:
        The estimate; samples with a missing target or prediction (NaN, None) count in `n` only.

    Raises:
        ValueError: if the input is empty or lengths differ.
    """
    asked = _asked(metric, target, [prediction], group)
    if metric.per_sample is not None and not asked.grouped:
        return _plain(metric, asked, level=level)
    return _by_bootstrap(metric, asked, [1.0], "bootstrap", seed=seed, draws=draws, level=level)


def difference(
    metric: Metric | None,
    a: Values,
    b: Values,
    target: Labels | None = None,
    *,
    group: Labels | None = None,
    seed: int = 0,
    draws: int = 2000,
    level: float = 0.95,
) -> Estimate:
    """Score of a minus score of b on the same samples, paired by position.

    The interval is a bootstrap of whole groups, as in `estimate`; p is from swapping a and b within groups
    (all swaps where there are at most `draws`, else that many at random).

    Args:
        metric: which score; None takes a and b as per-sample values and compares their means.
        a: predictions (or values); shapes as in `estimate`.
        b: the same for the other side.
        target: " n", needed with a metric.
        group: " n" names of what must not be split; None makes every sample its own group.
        seed: of the bootstrap and the swaps.
        draws: of each.
        level: nominal coverage.

    Returns:
        The estimate over the samples valid on both sides.

    Raises:
        ValueError: if the input is empty, lengths differ, or a metric comes without a target.
    """
    if metric is None:
        metric = _VALUES
        target = np.zeros(np.shape(a)[-1])
    if target is None:
        raise ValueError(f"a difference of {metric.name} needs the target")
    asked = _asked(metric, target, [a, b], group)
    return _by_bootstrap(metric, asked, [1.0, -1.0], "paired bootstrap", seed=seed, draws=draws, level=level)


def unpaired(a: Estimate, b: Estimate) -> Estimate:
    """Mean of a minus mean of b, two estimates on samples that have nothing to do with each other.

    The interval is recovered from the two intervals: the squared distances of the ends from the means add up
    (Zou and Donner 2008). For two shares with Wilson intervals that is Newcombe's hybrid score interval
    (1998, method 10). Samples that both sides share want `difference`, which is sharper.

    Args:
        a: with an interval.
        b: the same for the other side, of the same level.

    Returns:
        The estimate; without an interval, and with the reason, where a side has none.

    Raises:
        ValueError: intervals of different levels.
    """
    if a.level != b.level:
        raise ValueError(f"intervals of one level are needed, got {a.level:g} and {b.level:g}")
    centre = float(a.mean - b.mean)
    low = centre - math.hypot(a.mean - a.low, b.high - b.mean)
    high = centre + math.hypot(a.high - a.mean, b.mean - b.low)
    known = math.isfinite(low) and math.isfinite(high)
    return Estimate(
        mean=centre, low=low, high=high, n=a.n + b.n, n_valid=a.n_valid + b.n_valid,
        method="difference of independent estimates", level=a.level, better=a.better,
        reason="" if known else a.reason or b.reason or "a side has no interval",
    )  # fmt: skip


class _Asked(NamedTuple):
    """Valid samples only: targets, the runs of each side, group positions; and the counts."""

    target: Array
    sides: list[list[Array]]
    group: Int[np.ndarray, " v"]
    n: int
    n_groups: int
    grouped: bool


def _value(target: Array, prediction: Array) -> Float[np.ndarray, " n"]:
    return prediction.astype(np.float64)


def _mean_value(target: Array, prediction: Array) -> float:
    return float(prediction.mean())


_VALUES = Metric("mean", _mean_value, "higher", -np.inf, np.inf, "scores", per_sample=_value)


def _known(x: Array) -> Bool[np.ndarray, " n"]:
    """Which rows hold a value throughout: not NaN, not None."""
    if x.dtype.kind == "f":
        known = np.isfinite(x)
    elif x.dtype == object:
        known = np.array([one is not None and one == one for one in x.ravel()], dtype=bool).reshape(x.shape)
    else:
        known = np.ones(x.shape, dtype=bool)
    return np.asarray(known.reshape(len(x), -1).all(axis=1))


def _asked(metric: Metric, target: Labels, predictions: list[Values], group: Labels | None) -> _Asked:
    truth = np.asarray(target)
    n = len(truth)
    if not n:
        raise ValueError(f"{metric.name}: no samples")
    sides: list[list[Array]] = []
    for given in predictions:
        x = np.asarray(given)
        several = x.ndim == (3 if metric.task == "probabilities" else 2)
        sides.append(list(x) if several else [x])
    valid = _known(truth)
    for run in (run for side in sides for run in side):
        if len(run) != n:
            raise ValueError(f"{metric.name}: {n} targets but {len(run)} predictions")
        valid &= _known(run)
    names = named(group)
    index, n_groups = group_index(names, n, valid)
    kept = [[_settled(run[valid]) for run in side] for side in sides]
    return _Asked(_settled(truth[valid]), kept, index, n, n_groups, names is not None)


def _settled(x: Array) -> Array:
    """An object column without its missing entries as the plain array that it is."""
    return np.array(x.tolist()) if x.dtype == object else x


def _plain(metric: Metric, asked: _Asked, *, level: float) -> Estimate:
    """Wilson or t for a mean over independent samples."""
    assert metric.per_sample is not None
    absent = np.full((1, asked.n - len(asked.target)), np.nan)
    runs = [metric.per_sample(asked.target, run) for run in asked.sides[0] if len(run)]
    table = np.stack(runs) if runs else np.empty((1, 0))
    counted = table[np.isfinite(table)]
    share = (metric.low, metric.high) == (0, 1) and np.isin(counted, (0.0, 1.0)).all()
    if len(table) == 1 and counted.size and share:
        hits, n = int(counted.sum()), int(counted.size)
        return proportion(hits, n, invalid=asked.n - n, level=level, better=metric.better)
    whole = np.hstack([table, np.repeat(absent, len(table), axis=0)])
    if len(table) > 1:
        return over_seeds(whole, level=level, better=metric.better)
    return mean(whole[0], level=level, better=metric.better)


def _by_bootstrap(
    metric: Metric, asked: _Asked, signs: list[float], method: str, *, seed: int, draws: int, level: float
) -> Estimate:
    """Signed sum over the sides of their scores, each the mean over its runs."""
    centre, low, high, p, between = float("nan"), float("nan"), float("nan"), None, None
    reason = "no valid sample"
    if len(asked.target):
        scores = [np.array([metric.score(asked.target, run) for run in side]) for side in asked.sides]
        centre = float(sum(sign * x.mean() for sign, x in zip(signs, scores, strict=True)))
        between = _spread(signs, scores)
        reason = "" if np.isfinite(centre) else f"{metric.name} is undefined on these samples"
    if not reason and asked.n_groups < 2:
        reason = "fewer than two groups: no interval"
    if not reason:
        sides = _scored(metric, asked)
        blocks = weights(asked.n_groups, draws=draws, seed=seed)
        drawn = np.concatenate([_signed(signs, sides, w) for w in blocks])
        low, high = percentile(drawn, level, asked.n_groups)
        # calibration errors are biased upwards in resamples: never leave the estimate itself out
        low, high = min(low, centre), max(high, centre)
        reason = FEW if asked.n_groups < 6 else ""
        if len(sides) == 2 and len(sides[0]) == len(sides[1]):
            p = _swapped(centre, sides[0], sides[1], asked.n_groups, draws=draws, seed=seed)
    return Estimate(
        mean=centre, low=low, high=high, n=asked.n, n_valid=len(asked.target),
        n_groups=asked.n_groups if asked.grouped else None, method=method, level=level, p=p,
        better=metric.better, between=between, reason=reason,
    )  # fmt: skip


def _scored(metric: Metric, asked: _Asked) -> list[list[Any]]:
    flat = scorers(
        metric, asked.target, [run for side in asked.sides for run in side], asked.group, asked.n_groups
    )
    first = len(asked.sides[0])
    return [list(flat[:first]), list(flat[first:])][: len(asked.sides)]


def _signed(signs: list[float], sides: list[list[Any]], w: Float[np.ndarray, "b g"]) -> Array:
    means = [np.mean([run.weighted(w) for run in side], axis=0) for side in sides]
    return np.asarray(sum(sign * x for sign, x in zip(signs, means, strict=True)))


def _swapped(centre: float, a: list[Any], b: list[Any], n_groups: int, *, draws: int, seed: int) -> float:
    """How often the difference is reached when a and b change places in random groups, seed by seed."""
    found = []
    for swap in swaps(n_groups, draws=draws, seed=seed):
        pairs = [x.mixed(y, swap) - y.mixed(x, swap) for x, y in zip(a, b, strict=True)]
        found.append(np.mean(pairs, axis=0))
    return two_sided(centre, np.concatenate(found), n_groups)


def _spread(signs: list[float], scores: list[Float[np.ndarray, " _"]]) -> float | None:
    """Standard deviation between seeds, of the paired difference where both sides have the same seeds."""
    if len({len(x) for x in scores}) > 1 or len(scores[0]) < 2:
        return None
    per_seed = np.sum([sign * x for sign, x in zip(signs, scores, strict=True)], axis=0)
    return float(np.std(per_seed, ddof=1))
