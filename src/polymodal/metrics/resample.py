"""Resampling of groups: estimates and paired differences of any metric."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from polymodal.metrics.metric import Array, Labels, Metric, OfSums, PerSample, Sums, Values

_CELLS = 2_000_000  # group weights held at once: 16 MB
_WIDEST = 10_000_000  # group sums of a class held at once: 240 MB


def values_of(values: Values) -> Float[np.ndarray, " n"]:
    """Per-sample values as floats.

    Raises:
        ValueError: if there are none or they are not one a sample.
    """
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1:
        raise ValueError(f"expected one value a sample, got shape {x.shape}")
    if not x.size:
        raise ValueError("no samples")
    return x


def named(group: Labels | None) -> Array | None:
    """Group names, each sample without one (None) a group of its own; None where no sample has one."""
    if group is None:
        return None
    names = np.asarray(group)
    if names.dtype != object:
        return names
    if all(name is None for name in names):
        return None
    return np.array([f"\0{i}" if name is None else str(name) for i, name in enumerate(names)])


def group_index(
    names: Array | None, n: int, valid: Bool[np.ndarray, " n"]
) -> tuple[Int[np.ndarray, " v"], int]:
    """Group position of each valid sample, and the number of groups that hold one.

    Raises:
        ValueError: if `names` does not hold one name a sample.
    """
    if names is None:
        kept = int(valid.sum())
        return np.arange(kept), kept
    if names.shape != (n,):
        raise ValueError(f"group has shape {names.shape}, the samples are {n}")
    found, index = np.unique(names[valid], return_inverse=True)
    return index, len(found)


def weights(n_groups: int, *, draws: int, seed: int) -> Iterator[Float[np.ndarray, "b g"]]:
    """How often each group enters each draw: multinomial counts, in blocks of bounded size."""
    rng = np.random.default_rng(seed)
    size = max(1, _CELLS // n_groups)
    for start in range(0, draws, size):
        rows = min(size, draws - start)
        picks = rng.integers(n_groups, size=(rows, n_groups))
        picks += np.arange(rows)[:, None] * n_groups
        yield np.bincount(picks.ravel(), minlength=rows * n_groups).reshape(rows, n_groups).astype(np.float64)


FEW = "fewer than six groups: the interval may be too narrow"


def percentile(scores: Float[np.ndarray, " draws"], level: float, n_groups: int) -> tuple[float, float]:
    """Percentile interval of bootstrap scores, expanded for few groups (Hesterberg 2015, section 3.3).

    Plain percentiles are too narrow by the factor between a normal and Student's t: six speakers would get
    .86 where .95 was asked. Draws on which the score is undefined are left out.
    """
    from scipy.special import ndtr, stdtrit

    kept = scores[np.isfinite(scores)]
    if not kept.size:
        return float("nan"), float("nan")
    t = stdtrit(n_groups - 1, (1 + level) / 2)
    tail = float(ndtr(-t * np.sqrt(n_groups / (n_groups - 1))))
    low, high = np.quantile(kept, [tail, 1 - tail])
    return float(low), float(high)


@dataclass(frozen=True, slots=True)
class Summed:
    """Scores of one run that follow from sums by group."""

    sums: Float[np.ndarray, "g s"]
    of_sums: OfSums

    def weighted(self, w: Float[np.ndarray, "b g"]) -> Float[np.ndarray, " b"]:
        """Scores with group i counted w[:, i] times."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.of_sums(w @ self.sums)

    def mixed(self, other: "Summed", swap: Float[np.ndarray, "b g"]) -> Float[np.ndarray, " b"]:
        """Scores with the groups where swap is 1 taken from another run."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.of_sums(self.sums.sum(axis=0) + swap @ (other.sums - self.sums))


@dataclass(frozen=True, slots=True)
class Looped:
    """Scores of one run that need the rows themselves (ranks, bins)."""

    score: Callable[[Array, Array], float]
    target: Array
    run: Array
    group: Int[np.ndarray, " n"]

    def weighted(self, w: Float[np.ndarray, "b g"]) -> Float[np.ndarray, " b"]:
        """Scores with group i counted w[:, i] times."""
        rows = np.arange(len(self.group))
        picked = (np.repeat(rows, one[self.group].astype(np.int64)) for one in w)
        return np.array([self.score(self.target[some], self.run[some]) for some in picked])

    def mixed(self, other: "Looped", swap: Float[np.ndarray, "b g"]) -> Float[np.ndarray, " b"]:
        """Scores with the groups where swap is 1 taken from another run."""
        runs = np.stack([self.run, other.run])
        rows = np.arange(len(self.group))
        sides = (one[self.group].astype(np.int64) for one in swap)
        return np.array([self.score(self.target, runs[side, rows]) for side in sides])


def scorers(
    metric: Metric, target: Array, runs: list[Array], group: Int[np.ndarray, " n"], n_groups: int
) -> list[Summed] | list[Looped]:
    """One scorer a run; by sums where the metric has them and they fit in memory."""
    sums, of_sums = metric.sums, metric.of_sums
    if metric.per_sample is not None:
        sums, of_sums = _mean_sums(metric.per_sample), _mean_of_sums
    wide = metric.task == "classes" and n_groups * len(runs) * np.unique(target).size > _WIDEST
    if sums is None or of_sums is None or wide:
        return [Looped(metric.score, target, run, group) for run in runs]
    # All runs at once, each with groups of its own, so that they agree on the classes and the centre.
    n = len(runs)
    shifted = (np.arange(n)[:, None] * n_groups + group).ravel()
    table = sums(np.concatenate([target] * n), np.concatenate(runs), shifted, n * n_groups)
    return [Summed(table[i * n_groups : (i + 1) * n_groups], of_sums) for i in range(n)]


def _mean_sums(per_sample: PerSample) -> Sums:
    def sums(target: Array, run: Array, group: Int[np.ndarray, " n"], n_groups: int) -> Array:
        x = per_sample(target, run)
        counted = np.isfinite(x)
        where = group[counted]
        return np.column_stack(
            [np.bincount(where, x[counted], n_groups), np.bincount(where, minlength=n_groups)]
        )

    return sums


def _mean_of_sums(sums: Float[np.ndarray, "... 2"]) -> Float[np.ndarray, "..."]:
    return np.asarray(sums[..., 0] / sums[..., 1])
