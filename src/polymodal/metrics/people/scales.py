"""Rating scales: subscales from a key, reliability, straight-lining, agreement of coders."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from polymodal.metrics.agreement import estimate_alpha
from polymodal.metrics.estimate import Estimate
from polymodal.metrics.metric import Array
from polymodal.metrics.people.trust import clustered


def scored(key: Mapping[str, Any], answers: Array, ranks: Array | None = None) -> dict[str, Array]:
    """Subscales of a scale by person: means of the answered items, reversed ones turned round.

    A subscale of which fewer than half of the items are answered is NaN; nothing missing is ever 0.

    Args:
        key: one of `instruments()`.
        answers: "n items"; NaN is unanswered or "does not fit".
        ranks: "n items" weights from paired comparisons (TLX); they must sum to the key's `weights`.

    Raises:
        ValueError: another number of items, an answer off the scale, or weights with another sum.
    """
    x = np.asarray(answers, dtype=np.float64)
    low, high = key["range"]
    if x.ndim != 2 or x.shape[1] != key["items"]:
        raise ValueError(f"{key['items']} items are needed, got an array of {x.shape}")
    if np.nanmin(x, initial=low) < low or np.nanmax(x, initial=high) > high:
        raise ValueError(f"answers lie between {low} and {high}")
    found = {}
    for name, items in key["scores"].items():
        part = np.stack([low + high - x[:, -i - 1] if i < 0 else x[:, i - 1] for i in items], axis=1)
        there = np.isfinite(part)
        n = there.sum(axis=1)
        total = np.where(there, part, 0.0).sum(axis=1)
        found[name] = np.where(2 * n >= len(items), total / np.maximum(n, 1), np.nan)
    if ranks is not None:
        if "weights" not in key or not (np.asarray(ranks).sum(axis=1) == key["weights"]).all():
            raise ValueError(f"weights must sum to {key.get('weights', 'nothing: this scale has none')}")
        found["weighted"] = (x * ranks).sum(axis=1) / key["weights"]
    return found


def cronbach(x: Array, *, seed: int = 0, draws: int = 1000) -> Estimate:
    """Cronbach's alpha k/(k-1) (1 - sum of variances / variance of the sum) of complete rows "n k"."""
    rows = x[np.isfinite(x).all(axis=1)]
    rows = rows - rows.mean(axis=0) if len(rows) else rows
    k = x.shape[1]
    sums = np.column_stack([np.ones(len(rows)), rows, (rows[:, :, None] * rows[:, None]).reshape(-1, k * k)])

    def of(s: Array) -> Array:
        mean = s[..., 1 : k + 1] / s[..., :1]
        spread = (s[..., k + 1 :] / s[..., :1]).reshape(-1, k, k) - mean[..., :, None] * mean[..., None, :]
        own = np.trace(spread, axis1=1, axis2=2)
        return np.asarray(k / (k - 1) * (1 - own / spread.sum(axis=(1, 2))))

    return clustered(sums, of, seed=seed, draws=draws, n=len(x))


def omega(x: Array) -> Estimate:
    """McDonald's omega of one factor by minimum residuals, of complete rows "n k"; a jackknife interval."""
    rows = x[np.isfinite(x).all(axis=1)]
    value, low, high, reason = math.nan, math.nan, math.nan, "omega needs three items, rows that vary"
    if len(rows) > 3 and x.shape[1] > 2 and rows.std(axis=0).all():
        value, reason = _omega(rows), ""
        blocks = np.array_split(np.arange(len(rows)), min(20, len(rows)))  # left out one after the other
        found = np.array([_omega(np.delete(rows, block, axis=0)) for block in blocks])
        spread = 1.96 * math.sqrt((len(blocks) - 1) * float(found.var()))
        low, high = value - spread, min(1.0, value + spread)
    return Estimate(
        mean=value, low=low, high=high, n=len(x), n_valid=len(rows), method="omega, block jackknife",
        better="higher", reason=reason,
    )  # fmt: skip


def _omega(rows: Array) -> float:
    r = np.corrcoef(rows.T)
    shared = np.full(len(r), 0.5)
    for _ in range(500):
        np.fill_diagonal(r, shared)
        values, vectors = np.linalg.eigh(r)
        loading = vectors[:, -1] * math.sqrt(max(float(values[-1]), 0.0))
        shared, last = np.clip(loading**2, 0, 0.999), shared
        if np.abs(shared - last).max() < 1e-9:
            break
    whole = abs(float(loading.sum())) ** 2
    return whole / (whole + float((1 - shared).sum()))


def straight(x: Array, *, reverse: Sequence[int] = (), run: float = 10 / 12) -> Array:
    """Who ticked the same all the way: a run of 10 of 12, or no variation on a scale with reversed items.

    Args:
        x: "n items" raw answers.
        reverse: positions of reversed items; any makes a constant row suspicious whatever its length.
        run: longest run of equal answers, as a share of the items, from which a row is flagged.
    """
    longest, here = np.ones(len(x)), np.ones(len(x))
    for k in range(1, x.shape[1]):
        here = np.where(x[:, k] == x[:, k - 1], here + 1, 1)
        longest = np.maximum(longest, here)
    same = (x == x[:, :1]).all(axis=1) & bool(len(reverse))
    return np.asarray((longest >= math.ceil(run * x.shape[1])) | same)


def coding(table: Mapping[str, Sequence[Sequence[float]]], *, seed: int, draws: int) -> dict[str, Estimate]:
    """Krippendorff's alpha by leaf, "all" first, of rows "studies coders" of 0 or 1, NaN where not coded."""
    found = {}
    for name, rows in {"all": [row for leaf in table.values() for row in leaf], **table}.items():
        try:
            found[name] = estimate_alpha(rows, seed=seed, draws=draws)
        except ValueError as error:  # nobody coded it twice
            nan = math.nan
            found[name] = Estimate(mean=nan, low=nan, high=nan, n=len(rows), n_valid=0, reason=str(error))
    return found
