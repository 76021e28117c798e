"""Scores of predicted numbers: error, correlation, and the sentiment scale's accuracies."""

import numpy as np
from jaxtyping import Bool, Float, Int

from polymodal.metrics.metric import Array, Metric, PerSample, Values, paired


def mae(target: Values, prediction: Values) -> float:
    """Mean absolute error, in the target's units."""
    return _averaged(_absolute, target, prediction, "mae")


def pearson(target: Values, prediction: Values) -> float:
    """Pearson's correlation, in [-1, 1]; NaN where a side is constant."""
    a, b = paired(target, prediction, "pearson")
    return float(_of_moments(_moments(a, b, np.zeros(len(a), dtype=np.int64), 1))[0])


def acc7(target: Values, prediction: Values) -> float:
    """Share equal after clipping to [-3, 3] and rounding half to even."""
    return _averaged(_seven, target, prediction, "acc7")


def acc5(target: Values, prediction: Values) -> float:
    """Share equal after clipping to [-2, 2] and rounding half to even."""
    return _averaged(_five, target, prediction, "acc5")


def has0(target: Values, prediction: Values) -> float:
    """Binary accuracy with neutral counted as positive: target >= 0 against prediction >= 0."""
    return _averaged(_from_zero, target, prediction, "has0")


def non0(target: Values, prediction: Values) -> float:
    """Binary accuracy without neutral targets: target > 0 against prediction > 0; NaN if all are neutral."""
    return _averaged(_without_zero, target, prediction, "non0")


def has0_regression(target: Values, prediction: Values) -> float:
    """As the toolkits' regression scores do it: neutral is positive. The same as `has0`."""
    return has0(target, prediction)


def has0_classification(target: Values, prediction: Values) -> float:
    """As the toolkits' three-class scores do it: neutral is negative, target > 0 against prediction > 0."""
    return _averaged(_over_zero, target, prediction, "has0_classification")


def _averaged(per_sample: PerSample, target: Values, prediction: Values, name: str) -> float:
    values = per_sample(*paired(target, prediction, name))
    kept = values[~np.isnan(values)]
    return float(kept.mean()) if kept.size else float("nan")


def _floats(equal: Bool[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    return equal.astype(np.float64)


def _absolute(target: Array, prediction: Array) -> Float[np.ndarray, " n"]:
    return np.asarray(np.abs(np.asarray(target, dtype=np.float64) - prediction))


def _seven(target: Array, prediction: Array) -> Float[np.ndarray, " n"]:
    return _floats(np.rint(np.clip(target, -3, 3)) == np.rint(np.clip(prediction, -3, 3)))


def _five(target: Array, prediction: Array) -> Float[np.ndarray, " n"]:
    return _floats(np.rint(np.clip(target, -2, 2)) == np.rint(np.clip(prediction, -2, 2)))


def _from_zero(target: Array, prediction: Array) -> Float[np.ndarray, " n"]:
    return _floats((target >= 0) == (prediction >= 0))


def _over_zero(target: Array, prediction: Array) -> Float[np.ndarray, " n"]:
    return _floats((target > 0) == (prediction > 0))


def _without_zero(target: Array, prediction: Array) -> Float[np.ndarray, " n"]:
    return np.where(target == 0, np.nan, _over_zero(target, prediction))


def _moments(target: Array, prediction: Array, group: Int[np.ndarray, " n"], n_groups: int) -> Array:
    """Sums by group of 1, x, y, xx, yy, xy about the common centre: "g 6"."""
    x = np.asarray(target, dtype=np.float64)
    y = np.asarray(prediction, dtype=np.float64)
    x, y = x - x.mean(), y - y.mean()
    columns = (np.ones(len(x)), x, y, x * x, y * y, x * y)
    return np.column_stack([np.bincount(group, column, n_groups) for column in columns])


def _of_moments(sums: Float[np.ndarray, "... 6"]) -> Array:
    n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        vx, vy, cov = xx - x * x / n, yy - y * y / n, xy - x * y / n
        # A constant side leaves rounding only, which must not pass for a correlation.
        flat = (vx <= 1e-12 * np.maximum(xx, 1e-300)) | (vy <= 1e-12 * np.maximum(yy, 1e-300))
        return np.asarray(np.where(flat, np.nan, np.clip(cov / np.sqrt(vx * vy), -1, 1)))


MAE = Metric("MAE", mae, "lower", 0.0, float("inf"), "scores", per_sample=_absolute)
PEARSON = Metric("Pearson", pearson, "higher", -1.0, 1.0, "scores", sums=_moments, of_sums=_of_moments)
ACC7 = Metric("acc7", acc7, "higher", 0.0, 1.0, "scores", per_sample=_seven)
ACC5 = Metric("acc5", acc5, "higher", 0.0, 1.0, "scores", per_sample=_five)
HAS0 = Metric("has0", has0, "higher", 0.0, 1.0, "scores", per_sample=_from_zero)
NON0 = Metric("non0", non0, "higher", 0.0, 1.0, "scores", per_sample=_without_zero)
