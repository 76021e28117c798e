"""How far judges agree: Krippendorff's alpha, Cohen's and Fleiss' kappa, effective judges."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from jaxtyping import Float, Int, Shaped

from polymodal.metrics.estimate import Estimate
from polymodal.metrics.metric import Array, Labels, Values
from polymodal.metrics.resample import percentile, values_of, weights

Level = Literal["nominal", "ordinal", "interval"]
_CELLS = 2_000_000  # coincidences held at once: 16 MB


def alpha(ratings: Values, *, level: Level = "nominal") -> float:
    """Krippendorff's alpha, in time and memory that grow with the ratings only.

    Args:
        ratings: "units raters"; NaN (or None for text) where a rater skipped a unit. Ragged lists will do.
        level: `nominal` (equal or not), `ordinal` (by rank), `interval` (squared distance).

    Returns:
        1 for full agreement, 0 for chance, below 0 for less; NaN where only one value occurs, for then
        agreement means nothing.

    Raises:
        ValueError: if no unit has two ratings, or text is asked for its order.
    """
    unit, value = _pairable(ratings, level)
    return _alpha(unit, value, level)


def estimate_alpha(
    ratings: Values, *, level: Level = "nominal", seed: int = 0, draws: int = 1000, coverage: float = 0.95
) -> Estimate:
    """Krippendorff's alpha with a percentile bootstrap over units.

    Args:
        ratings: as in `alpha`.
        level: as in `alpha`.
        seed: of the bootstrap.
        draws: of the bootstrap.
        coverage: nominal coverage of the interval.

    Returns:
        The estimate; n counts units, n_valid those with two ratings or more.

    Raises:
        ValueError: as `alpha`.
    """
    unit, value = _pairable(ratings, level)
    point = _alpha(unit, value, level)
    units, rng = int(unit[-1]) + 1, np.random.default_rng(seed)
    low, high, reason = float("nan"), float("nan"), "fewer than two units: no interval"
    if np.isnan(point):
        reason = "only one value occurs"
    elif units > 1:
        found, code = np.unique(value, return_inverse=True)
        if units * len(found) ** 2 <= _CELLS:
            scores = _by_counts(unit, code, found, level, weights(units, draws=draws, seed=seed))
        else:
            scores = np.array([_alpha(*_resampled(unit, value, rng), level) for _ in range(draws)])
        (low, high), reason = percentile(scores, coverage, units), ""
    return Estimate(
        mean=point, low=low, high=high, n=len(ratings), n_valid=units,
        method=f"{level} alpha, bootstrap of units", level=coverage, better="higher", reason=reason,
    )  # fmt: skip


def _resampled(
    unit: Int[np.ndarray, " m"], value: Float[np.ndarray, " m"], rng: np.random.Generator
) -> tuple[Int[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """Ratings of units drawn with replacement."""
    size = np.bincount(unit)
    start = np.cumsum(size) - size
    picked = rng.integers(len(size), size=len(size))
    length = size[picked]
    offset = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
    return np.repeat(np.arange(len(size)), length), value[np.repeat(start[picked], length) + offset]


def _by_counts(
    unit: Int[np.ndarray, " m"],
    code: Int[np.ndarray, " m"],
    found: Float[np.ndarray, " v"],
    level: Level,
    drawn: Iterator[Float[np.ndarray, "b u"]],
) -> Float[np.ndarray, " draws"]:
    """Alphas of resampled units from each unit's coincidences: a matrix product instead of a loop."""
    units, v = int(unit[-1]) + 1, len(found)
    counts = np.bincount(unit * v + code, minlength=units * v).reshape(units, v).astype(np.float64)
    pairs = counts[:, :, None] * counts[:, None] - counts[:, :, None] * np.eye(v)
    table = (pairs / (counts.sum(axis=1) - 1)[:, None, None]).reshape(units, -1)
    scores = []
    for w in drawn:
        values = w @ counts
        n = values.sum(axis=1)
        if level == "ordinal":
            x = np.cumsum(values, axis=1) - values / 2
        else:
            x = np.broadcast_to(found, values.shape)
        apart = (x[:, :, None] - x[:, None]) ** 2 if level != "nominal" else 1.0 - np.eye(v)
        observed = ((w @ table).reshape(-1, v, v) * apart).sum(axis=(1, 2))
        expected = (values[:, :, None] * values[:, None] * apart).sum(axis=(1, 2))
        with np.errstate(divide="ignore", invalid="ignore"):
            scores.append(1 - (n - 1) * observed / expected)
    return np.concatenate(scores)


def _table(ratings: Values) -> Shaped[np.ndarray, "u r"]:
    """Ratings as a rectangle; ragged rows are filled with None."""
    if not isinstance(ratings, np.ndarray):
        width = max((len(row) for row in ratings), default=0)
        rows = [[*row, *[None] * (width - len(row))] for row in ratings]
        ratings = np.array(rows, dtype=object).reshape(len(rows), width)
    if ratings.ndim != 2 or not ratings.size:
        raise ValueError(f"ratings must be units by raters, got shape {ratings.shape}")
    return ratings


def _pairable(ratings: Values, level: Level) -> tuple[Int[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """Unit and value of each rating in a unit that has another, sorted by unit, units numbered from 0."""
    table = _table(ratings)
    if table.dtype.kind in "US" or any(isinstance(x, str) for x in table.ravel()):
        if level != "nominal":
            raise ValueError(f"text ratings have no order: {level} alpha needs numbers")
        present = np.array([x is not None and x == x for x in table.ravel()]).reshape(table.shape)
        codes = np.unique(table[present].astype(str), return_inverse=True)[1]
        numbers = np.full(table.shape, np.nan)
        numbers[present] = codes
    else:
        numbers = table.astype(np.float64)
    known = np.isfinite(numbers)
    known &= (known.sum(axis=1) > 1)[:, None]
    if not known.any():
        raise ValueError("no unit has two ratings")
    unit = np.unique(np.nonzero(known)[0], return_inverse=True)[1]
    return unit, numbers[known]


def _alpha(unit: Int[np.ndarray, " m"], value: Float[np.ndarray, " m"], level: Level) -> float:
    """1 - observed / expected disagreement, each from sums over ratings instead of pairs of them."""
    n = len(value)
    size = np.bincount(unit)
    found, code, count = np.unique(value, return_inverse=True, return_counts=True)
    if len(found) == 1:
        return float("nan")
    if level == "nominal":
        cells = np.unique(unit * len(found) + code, return_counts=True)
        same = np.bincount(cells[0] // len(found), cells[1].astype(np.float64) ** 2)
        observed = float(((size**2 - same) / (size - 1)).sum())
        expected = float(n**2 - (count.astype(np.float64) ** 2).sum())
    else:
        # The ordinal distance is the distance between the values' middle ranks.
        x = (np.cumsum(count) - count / 2)[code] if level == "ordinal" else value
        x = x - x.mean()
        squares, sums = np.bincount(unit, x * x), np.bincount(unit, x)
        observed = float((2 * (size * squares - sums**2) / (size - 1)).sum())
        expected = 2 * n * float((x * x).sum())
    return 1 - (n - 1) * observed / expected


def kappa(a: Labels, b: Labels, *, weights: Literal["quadratic"] | None = None) -> float:
    """Cohen's kappa of two raters.

    Args:
        a: " n" ratings.
        b: " n" ratings of the same items.
        weights: None counts every disagreement the same; `quadratic` by the squared distance of the values.

    Returns:
        1 for full agreement, 0 for chance; NaN where both always say the same one thing.

    Raises:
        ValueError: if the input is empty or lengths differ.
    """
    first, second = np.asarray(a), np.asarray(b)
    if first.shape != second.shape or first.ndim != 1 or not first.size:
        raise ValueError(f"kappa needs two ratings an item, got {first.shape} and {second.shape}")
    if weights == "quadratic":
        x, y = values_of(first), values_of(second)
        observed = float(((x - y) ** 2).mean())
        expected = float(x.var() + y.var() + (x.mean() - y.mean()) ** 2)
    else:
        found, codes = np.unique(np.concatenate([first, second]), return_inverse=True)
        shares = [np.bincount(half, minlength=len(found)) / len(first) for half in np.split(codes, 2)]
        observed = float((first != second).mean())
        expected = 1 - float(shares[0] @ shares[1])
    return 1 - observed / expected if expected else float("nan")


def fleiss(ratings: Values) -> float:
    """Fleiss' kappa: every unit rated by the same number of raters, who need not be the same people.

    Args:
        ratings: "units raters", numbers or text.

    Returns:
        1 for full agreement, 0 for chance; NaN where only one value occurs.

    Raises:
        ValueError: if the input is empty, a rating is missing or there is one rater.
    """
    table = _table(ratings)
    missing = any(x is None or x != x for x in table.ravel())
    if missing or table.shape[1] < 2:
        raise ValueError("fleiss needs two raters or more and no missing rating; alpha allows them")
    plain: Array = np.array(table.tolist())
    units, raters = plain.shape
    found, code = np.unique(plain, return_inverse=True)
    cell = code.reshape(plain.shape) + np.arange(units)[:, None] * len(found)
    counts = np.bincount(cell.ravel(), minlength=units * len(found)).reshape(units, len(found))
    observed = float(((counts**2).sum(axis=1) - raters).mean()) / (raters * (raters - 1))
    expected = float(((counts.sum(axis=0) / plain.size) ** 2).sum())
    return (observed - expected) / (1 - expected) if expected < 1 else float("nan")


def error_correlation(verdicts: Values, human: Values | None = None) -> float:
    """Mean pairwise correlation of the judges' errors.

    Args:
        verdicts: "judges n" scores.
        human: " n" human scores; None falls back to the correlation of the verdicts themselves, which is
            higher wherever the judges are any good.

    Returns:
        In [-1, 1]; pairs with a judge whose errors never vary are left out, NaN where none is left.

    Raises:
        ValueError: if there are fewer than two judges.
    """
    table = np.asarray(verdicts, dtype=np.float64)
    if table.ndim != 2 or len(table) < 2:
        raise ValueError(f"two judges or more are needed, got shape {table.shape}")
    errors = table if human is None else table - np.asarray(human, dtype=np.float64)
    errors = errors[:, np.isfinite(errors).all(axis=0)]
    varying = errors[np.ptp(errors, axis=1) > 0] if errors.size else errors[:0]
    if len(varying) < 2:
        return float("nan")
    return float(np.asarray(np.corrcoef(varying))[np.triu_indices(len(varying), 1)].mean())


def effective_judges(n: int, correlation: float | int) -> float:
    """How many independent judges n correlated ones are worth: n / (1 + (n - 1) r), r below 0 taken as 0.

    Raises:
        ValueError: if there is no judge or the correlation is above 1.
    """
    if n < 1 or correlation > 1:
        raise ValueError(f"a judge or more and a correlation up to 1 are needed, got {n} and {correlation}")
    return n / (1 + (n - 1) * max(0.0, float(correlation)))
