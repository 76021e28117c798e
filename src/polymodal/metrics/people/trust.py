"""Stated trust: how it is learnt from right and wrong advice, and how well it fits accuracy."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from polymodal.metrics.estimate import Estimate, mean, proportion
from polymodal.metrics.metric import Array
from polymodal.metrics.resample import FEW, Summed, percentile, weights


def course(correct: Array, up: float, down: float) -> tuple[Array, Array]:
    """Trust after each trial as a + b times the first trust; NaN in `correct` teaches nothing.

    t <- t + up (1 - t) after a right answer, t <- t - down t after a wrong one.

    Args:
        correct: "n t" 1 or 0.
        up: learning rate after a right answer.
        down: learning rate after a wrong one.
    """
    a, b = np.zeros_like(correct), np.zeros_like(correct)
    offset, factor = np.zeros(len(correct)), np.ones(len(correct))
    for k in range(correct.shape[1]):
        keep = np.where(correct[:, k] == 1, 1 - up, np.where(correct[:, k] == 0, 1 - down, 1.0))
        offset = offset * keep + np.where(correct[:, k] == 1, up, 0.0)
        factor = factor * keep
        a[:, k], b[:, k] = offset, factor
    return a, b


def learning(correct: Array, reports: Array, propensity: Array | None = None) -> dict[str, Estimate]:
    """Learning rates of trust by least squares of reports 1 + 6 t; everybody has a first trust of their own.

    Args:
        correct: "n t" 1, 0, or NaN where nothing was seen.
        reports: "n t" stated trust after each trial, 1-7; NaN where none was asked.
        propensity: " n" to trust machines at all; a linear term on the first trust.

    Returns:
        up, down, down - up, stationary mean r up / (r up + (1 - r) down) with r the share of right answers,
        and half-life ln 2 / -ln(1 - up) trials; normal intervals, clustered by person. With propensities
        also the slope of the first trust, in [0, 1], on them.
    """
    from scipy.optimize import least_squares

    known = np.isfinite(reports)

    def parts(at: Array) -> tuple[Array, Array]:
        a, b = course(correct, float(at[0]), float(at[1]))
        rest, b = np.where(known, (reports - 1) / 6 - a, 0.0), np.where(known, b, 0.0)
        start = (b * rest).sum(axis=1) / np.maximum((b * b).sum(axis=1), 1e-12)
        return np.asarray((rest - b * start[:, None]).ravel()), start

    def residuals(at: Array) -> Array:
        return parts(at)[0]

    found = least_squares(residuals, [0.1, 0.2], bounds=([1e-4, 1e-4], [0.99, 0.99]))
    slopes, n = np.asarray(found.jac), len(correct)
    bread = np.asarray(np.linalg.pinv(slopes.T @ slopes))
    scores = (residuals(found.x)[:, None] * slopes).reshape(*correct.shape, 2).sum(axis=1)
    spread = bread @ (scores.T @ scores) @ bread * n / max(n - 1, 1)
    up, down = (float(x) for x in found.x)
    r = float(np.nanmean(correct))
    share, log = r * up + (1 - r) * down, math.log1p(-up)
    bend = r * (1 - r) / share**2
    shown = np.nanmean(correct, axis=1)
    luck = (
        (up * down / share**2) ** 2 * float(np.nanvar(shown)) / n
    )  # the share of right answers is drawn too
    told = {
        "up": (up, [1, 0]), "down": (down, [0, 1]), "down - up": (down - up, [-1, 1]),
        "stationary": (r * up / share, [bend * down, -bend * up]),
        "half-life": (-math.log(2) / log, [-math.log(2) / (log**2 * (1 - up)), 0]),
    }  # fmt: skip
    estimates = {}
    for name, (value, way) in told.items():
        variance = float(np.asarray(way) @ spread @ np.asarray(way)) + luck * (name == "stationary")
        half = 1.96 * math.sqrt(variance) if n > 1 else math.nan
        estimates[name] = Estimate(
            mean=value, low=value - half, high=value + half, n=reports.size, n_valid=int(known.sum()),
            n_groups=n, method="least squares, clustered", reason="" if n > 1 else "one person: no interval",
        )  # fmt: skip
    if propensity is not None and np.isfinite(propensity).sum() > 1:
        kept = np.isfinite(propensity)
        x, y = propensity[kept], parts(found.x)[1][kept]
        sums = np.column_stack([np.ones(len(x)), x, y, x * x, x * y])
        estimates["first trust on propensity"] = clustered(sums, _slope, seed=0, draws=1000, n=len(x))
    return estimates


def clustered(sums: Array, of: Callable[[Array], Array], *, seed: int, draws: int, n: int) -> Estimate:
    """A score of sums by person "g s", with a percentile bootstrap of people."""
    with np.errstate(divide="ignore", invalid="ignore"):
        centre = float(of(sums.sum(axis=0)[None])[0])
    low = high = math.nan
    reason = "" if math.isfinite(centre) else "not defined on these trials"
    if not reason and len(sums) < 2:
        reason = "one person: no interval"
    elif not reason:
        drawn = [Summed(sums, of).weighted(w) for w in weights(len(sums), draws=draws, seed=seed)]
        low, high = percentile(np.concatenate(drawn), 0.95, len(sums))
        low, high, reason = min(low, centre), max(high, centre), FEW if len(sums) < 6 else ""
    return Estimate(
        mean=centre, low=low, high=high, n=n, n_valid=n if math.isfinite(centre) else 0, n_groups=len(sums),
        method="bootstrap of people", reason=reason,
    )  # fmt: skip


def trust_calibration(
    trust: Array, right: Array, rater: Array, kind: Array, *, seed: int, draws: int
) -> dict[str, Estimate]:
    """Stated trust in [0, 1] against the accuracy of what was trusted.

    Args:
        trust: " n" stated before the outcome is known.
        right: " n" whether the advice was right.
        rater: " n" people.
        kind: " n" capabilities.
        seed: of the bootstrap.
        draws: of the bootstrap.

    Returns:
        slope over (person, capability), absolute gap in 10 bins of equal mass, resolution (mean trust on
        right minus on wrong advice), specificity (slope between capabilities).
    """
    ok = np.isfinite(trust) & np.isfinite(right)
    t, y, n = trust[ok], right[ok], int(ok.sum())
    people, person = np.unique(rater[ok].astype(str), return_inverse=True)
    kinds, which = np.unique(kind[ok].astype(str), return_inverse=True)
    edges = np.unique(np.quantile(t, np.linspace(0, 1, 11)[1:-1])) if n else np.zeros(0)
    binned = np.searchsorted(edges, t, side="right")

    def sums(cell: Array, cells: int) -> Array:
        at = person * cells + cell
        return np.stack(
            [np.bincount(at, x, len(people) * cells) for x in (np.ones(n), t, y)], axis=-1
        ).reshape(len(people), cells, 3)

    by_kind = sums(which, len(kinds))
    with np.errstate(invalid="ignore"):
        x, z = by_kind[..., 2] / by_kind[..., 0], by_kind[..., 1] / by_kind[..., 0]
    there = by_kind[..., 0] > 0
    cells = np.stack([np.where(there, v, 0.0) for v in (np.ones_like(x), x, z, x * x, x * z)], axis=-1)
    of_right = sums(y.astype(np.int64), 2)

    def gap(s: Array) -> Array:
        b = s.reshape(*s.shape[:-1], len(edges) + 1, 3)
        return np.asarray(np.abs(b[..., 1] - b[..., 2]).sum(axis=-1) / b[..., 0].sum(axis=-1))

    def between(s: Array) -> Array:
        b = s.reshape(*s.shape[:-1], len(kinds), 3)
        x, z = b[..., 2] / b[..., 0], b[..., 1] / b[..., 0]
        d = x - np.nanmean(x, axis=-1, keepdims=True)
        return np.asarray(np.nansum(d * z, axis=-1) / np.nansum(d * d, axis=-1))

    scores = {
        "slope": (cells.sum(axis=1), _slope),
        "absolute gap": (sums(binned, len(edges) + 1), gap),
        "resolution": (of_right, lambda s: s[..., 4] / s[..., 3] - s[..., 1] / s[..., 0]),
        "specificity": (by_kind, between),
    }
    return {
        name: clustered(table.reshape(len(people), -1), of, seed=seed, draws=draws, n=n)
        for name, (table, of) in scores.items()
    }


def _slope(s: Array) -> Array:
    n, x, y, xx, xy = np.moveaxis(s, -1, 0)
    return np.asarray((n * xy - x * y) / (n * xx - x * x))


def card(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Estimate]]:
    """The capability card: accuracy, confidence error and abstention by capability, "all" last.

    Accuracy counts abstentions as wrong and leaves invalid replies out; the confidence error is stated
    confidence minus accuracy over the answers given, above 0 for a boaster.

    Args:
        rows: capability, answer, confidence, reason, truth and group of each item.
    """
    names = sorted({str(row["capability"]) for row in rows})
    found = {}
    for name in [*names, "all"]:
        ours = [row for row in rows if name in ("all", row["capability"])]
        valid = [row for row in ours if not row["reason"]]
        hits = [row["answer"] == row["truth"] for row in valid]
        given = [
            row["confidence"] - (row["answer"] == row["truth"]) for row in valid if row["answer"] is not None
        ]
        silent = sum(row["answer"] is None for row in valid)
        lost = len(ours) - len(valid)
        found[name] = {
            "accuracy": proportion(sum(hits), len(valid), invalid=lost, better="higher"),
            "confidence error": mean(given or [math.nan], better="lower"),
            "abstention": proportion(silent, len(valid), invalid=lost),
        }
    return found
