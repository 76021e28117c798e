"""Rates and means corrected for the errors of the judge that produced them."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from polymodal.metrics.estimate import Estimate, normal_quantile
from polymodal.metrics.metric import Better, Values, paired
from polymodal.metrics.resample import values_of

Counts = tuple[int, int]


def rogan_gladen(
    positive: Counts,
    sensitivity: Counts,
    specificity: Counts,
    *,
    level: float = 0.95,
    better: Better | None = None,
) -> Estimate:
    """True rate behind a judge's rate, from counts (x, n) of the run and of a calibration set.

    Point: Rogan and Gladen 1978. Interval: Lang and Reiczigel 2014, which carries the uncertainty of both
    calibration rates. It holds where the judge errs in the run as it does in the calibration set.

    Args:
        positive: (called positive, judged) in the run.
        sensitivity: (called positive, truly positive) in the calibration set.
        specificity: (called negative, truly negative) in the calibration set.
        level: nominal coverage.
        better: which direction is good.

    Returns:
        The estimate, clipped to [0, 1]; `reason` tells of a clipped point.

    Raises:
        ValueError: if the counts do not fit, or the interval of sensitivity + specificity - 1 includes 0:
            such a judge tells nothing.
    """
    for x, n in (positive, sensitivity, specificity):
        if not 0 <= x <= n or not n:
            raise ValueError(f"counts must be (x, n) with 0 <= x <= n and n > 0, got ({x}, {n})")
    (x, n), (tp, n1), (tn, n0) = positive, sensitivity, specificity
    z = normal_quantile(level)
    se, sp = (tp + 1) / (n1 + 2), (tn + 1) / (n0 + 2)
    se_var, sp_var = se * (1 - se) / (n1 + 2), sp * (1 - sp) / (n0 + 2)
    youden = se + sp - 1
    room = z * math.sqrt(se_var + sp_var)
    if youden - room <= 0:
        raise ValueError(
            f"the judge is not better than chance on the calibration set: sensitivity + specificity - 1 is "
            f"{youden:.3f} [{youden - room:.3f}, {youden + room:.3f}]"
        )
    p = (x + z * z / 2) / (n + z * z)
    q = (p + sp - 1) / youden
    shift = 2 * z * z * (q * se_var - (1 - q) * sp_var)
    spread = math.sqrt(p * (1 - p) / (n + z * z) + q * q * se_var + (1 - q) ** 2 * sp_var) / youden
    point = (x / n + tn / n0 - 1) / (tp / n1 + tn / n0 - 1)
    clipped = min(1.0, max(0.0, point))
    return Estimate(
        mean=clipped,
        low=min(1.0, max(0.0, q + shift - z * spread)),
        high=min(1.0, max(0.0, q + shift + z * spread)),
        n=n, n_valid=n, method="Rogan-Gladen, Lang-Reiczigel", level=level, better=better,
        reason="" if clipped == point else f"clipped from {point:.4f}",
    )  # fmt: skip


def rectified(
    labelled: Values,
    judged: Values,
    unlabelled: Values,
    *,
    tune: bool = True,
    level: float = 0.95,
    better: Better | None = None,
) -> Estimate:
    """Mean of the human score when people saw only a random subset of what the judge saw.

    Prediction-powered inference (Angelopoulos et al. 2023), with the weight of the judge tuned on the data
    (PPI++, 2023). It needs no assumption about how the judge errs, only that the subset is random.

    Args:
        labelled: " n" human scores of the subset.
        judged: " n" the judge's scores of the same items.
        unlabelled: " m" the judge's scores of the other items.
        tune: fit the judge's weight in [0, 1]; False takes 1.
        level: nominal coverage.
        better: which direction is good.

    Returns:
        The estimate; n counts all items, n_valid the labelled ones.

    Raises:
        ValueError: if the lengths differ, a score is not finite, or fewer than two items are labelled or one
            is not.
    """
    y, f = (values_of(x) for x in paired(labelled, judged, "rectified"))
    rest = values_of(unlabelled)
    if not all(np.isfinite(x).all() for x in (y, f, rest)):
        raise ValueError("rectified needs finite scores: leave invalid items out, on both sides")
    if len(y) < 2:
        raise ValueError("rectified needs two labelled items or more, got one")
    n, m = len(y), len(rest)
    weight = 1.0
    if tune:
        variance = float(np.concatenate([f, rest]).var(ddof=1))
        together = float(((y - y.mean()) * (f - f.mean())).mean())
        weight = min(1.0, max(0.0, together / ((1 + n / m) * variance))) if variance else 0.0
    point = weight * float(rest.mean()) + float((y - weight * f).mean())
    variance = weight**2 * float(rest.var()) / m + float((y - weight * f).var()) / n
    half = normal_quantile(level) * math.sqrt(variance)
    return Estimate(
        mean=point, low=point - half, high=point + half, n=n + m, n_valid=n,
        method=f"rectified, weight {weight:.4f}", level=level, better=better,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Isotonic:
    """A rising map from a judge's score to the human scale, linear between its knots, flat beyond.

    Attributes:
        score: " m" knots, rising.
        value: " m" values there, never falling.
    """

    score: Float[np.ndarray, " m"]
    value: Float[np.ndarray, " m"]

    def __call__(self, score: Values) -> Float[np.ndarray, " n"]:
        """Map scores " n"."""
        return np.asarray(np.interp(np.asarray(score, dtype=np.float64), self.score, self.value))


def isotonic(score: Values, target: Values) -> Isotonic:
    """Least-squares rising map from judge scores to targets (pool adjacent violators, by scipy).

    Args:
        score: " n" the judge's scores.
        target: " n" the human ones.

    Raises:
        ValueError: if the input is empty or lengths differ.
    """
    from scipy.optimize import isotonic_regression

    y, x = (values_of(one) for one in paired(target, score, "isotonic"))
    knots, place, count = np.unique(x, return_inverse=True, return_counts=True)
    fitted = isotonic_regression(np.bincount(place, y) / count, weights=count.astype(np.float64))
    return Isotonic(knots, np.asarray(fitted.x))
