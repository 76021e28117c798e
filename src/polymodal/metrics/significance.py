"""Paired tests and corrections for asking many questions at once."""

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float

from polymodal.metrics.metric import Labels, Values
from polymodal.metrics.resample import group_index, named, values_of

_CELLS = 2_000_000


def swaps(n_groups: int, *, draws: int, seed: int) -> Iterator[Float[np.ndarray, "b g"]]:
    """Which groups change sides: all 2^g ways where these are at most `draws`, else that many at random."""
    if 2**n_groups <= draws:
        codes = np.arange(2**n_groups)[:, None]
        yield ((codes >> np.arange(n_groups)) & 1).astype(np.float64)
        return
    rng = np.random.default_rng(seed)
    size = max(1, _CELLS // n_groups)
    for start in range(0, draws, size):
        rows = min(size, draws - start)
        yield rng.integers(2, size=(rows, n_groups)).astype(np.float64)


def two_sided(observed: float, swapped: Float[np.ndarray, " m"], n_groups: int) -> float:
    """p-value: share of swaps at least as far from zero, the observed one counted among random swaps."""
    edge = abs(observed) * (1 - 1e-9) - 1e-12  # the identity must count despite rounding
    reached = int((np.abs(swapped) >= edge).sum())
    if 2**n_groups <= len(swapped):
        return reached / len(swapped)
    return (reached + 1) / (len(swapped) + 1)


def permutation(
    a: Values, b: Values, *, group: Labels | None = None, seed: int = 0, draws: int = 10_000
) -> float:
    """Two-sided sign-flip test of mean(a - b) = 0, whole groups flipped together.

    Args:
        a: " n" per-sample values.
        b: " n", the same samples; a pair with a NaN is left out.
        group: " n" names of what must not be split; None flips every sample alone.
        seed: of the random flips.
        draws: random flips; where 2^groups is at most this many, all are taken and the test is exact.

    Returns:
        p in (0, 1]; NaN where no pair is valid.

    Raises:
        ValueError: if the input is empty or lengths differ.
    """
    change = _changes(a, b)
    valid = np.isfinite(change)
    index, n_groups = group_index(named(group), change.size, valid)
    if not n_groups:
        return float("nan")
    sums = np.bincount(index, change[valid])
    flipped = [sums.sum() - 2 * (s @ sums) for s in swaps(n_groups, draws=draws, seed=seed)]
    return two_sided(float(sums.sum()), np.concatenate(flipped), n_groups)


def wilcoxon(a: Values, b: Values) -> float:
    """Two-sided Wilcoxon signed-rank test of paired values, by scipy; zero differences are dropped.

    Args:
        a: " n" per-sample values.
        b: " n", the same samples; a pair with a NaN is left out.

    Returns:
        p in (0, 1]; 1 where no pair differs.

    Raises:
        ValueError: if the input is empty or lengths differ.
    """
    from scipy.stats import wilcoxon as signed_rank

    change = _changes(a, b)
    change = change[np.isfinite(change) & (change != 0)]
    return float(signed_rank(change).pvalue) if change.size else 1.0


def mcnemar(b: int, c: int) -> float:
    """Exact two-sided McNemar test: binomial on the pairs where only one side is right.

    Args:
        b: pairs where only the first is right.
        c: pairs where only the second is.

    Returns:
        p in (0, 1]; 1 where no pair is discordant.

    Raises:
        ValueError: if a count is negative.
    """
    from scipy.special import bdtr

    if b < 0 or c < 0:
        raise ValueError(f"mcnemar counts pairs, got {b} and {c}")
    return min(1.0, 2 * float(bdtr(min(b, c), b + c, 0.5)))


def holm(p: Values) -> Float[np.ndarray, " m"]:
    """Holm's step-down adjusted p-values (family-wise error); NaN stays NaN and does not count."""
    return _adjusted(p, lambda ranked: np.maximum.accumulate(ranked * np.arange(len(ranked), 0, -1)))


def benjamini_hochberg(p: Values) -> Float[np.ndarray, " m"]:
    """Benjamini-Hochberg adjusted p-values (false discovery rate); NaN stays NaN and does not count."""

    def adjust(ranked: Float[np.ndarray, " v"]) -> Float[np.ndarray, " v"]:
        scaled = ranked * len(ranked) / np.arange(1, len(ranked) + 1)
        return np.minimum.accumulate(scaled[::-1])[::-1]

    return _adjusted(p, adjust)


def _adjusted(
    p: Values, adjust: Callable[[Float[np.ndarray, " v"]], Float[np.ndarray, " v"]]
) -> Float[np.ndarray, " m"]:
    given = np.asarray(p, dtype=np.float64)
    known = np.flatnonzero(np.isfinite(given))
    if ((given[known] < 0) | (given[known] > 1)).any():
        raise ValueError(f"p-values lie in [0, 1], got {given[known].tolist()}")
    order = known[np.argsort(given[known], kind="stable")]
    result = np.full(given.shape, np.nan)
    result[order] = np.minimum(1.0, adjust(given[order]))
    return result


def _changes(a: Values, b: Values) -> Float[np.ndarray, " n"]:
    first, second = values_of(a), values_of(b)
    if first.shape != second.shape:
        raise ValueError(f"pairs are needed, got {first.size} and {second.size} values")
    return np.asarray(first - second)
