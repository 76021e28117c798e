"""Estimates: a number with its interval, its counts and the way both were made."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from polymodal.metrics.metric import Better, Labels, Values
from polymodal.metrics.resample import FEW, Summed, group_index, named, percentile, values_of, weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number that does not travel alone.

    Attributes:
        mean: the point estimate; NaN where it is undefined, and then `reason` says why.
        low: lower end of the interval, NaN where there is none.
        high: upper end of the interval.
        n: samples asked about, invalid ones included.
        n_valid: samples that the mean is taken over.
        n_groups: independent groups (speakers, subjects) that the interval stands on; None where every
            sample is its own group.
        method: how the interval was made.
        level: nominal coverage of the interval.
        p: two-sided p-value against zero, for differences.
        better: which direction is good.
        between: standard deviation of the number between training seeds.
        reason: why a number is missing or was changed (clipped, one group, constant side).
    """

    mean: float | int
    low: float | int
    high: float | int
    n: int
    n_valid: int
    n_groups: int | None = None
    method: str = ""
    level: float = 0.95
    p: float | None = None
    better: Better | None = None
    between: float | None = None
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values, in order; NaN and infinities become null."""
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Estimate":
        """Read back what `to_json` wrote; a null mean, low or high is NaN."""
        numbers = {name: float("nan") if fields[name] is None else float(fields[name]) for name in _NUMBERS}
        return cls(**{**fields, **numbers})


_NUMBERS = ("mean", "low", "high")


def exact(value: float | int, *, n: int = 1, better: Better | None = None) -> Estimate:
    """A number that is known, not estimated: a count of parameters, a closed form.

    Args:
        value: the number.
        n: how many samples it describes.
        better: which direction is good.
    """
    x = float(value)
    return Estimate(mean=x, low=x, high=x, n=n, n_valid=n, method="exact", better=better)


def proportion(
    x: int,
    n: int,
    *,
    method: Literal["wilson", "clopper-pearson"] = "wilson",
    invalid: int = 0,
    level: float = 0.95,
    better: Better | None = None,
) -> Estimate:
    """Share of successes with an interval that stays inside [0, 1].

    Args:
        x: successes.
        n: valid trials.
        method: `wilson` (score interval, Wilson 1927) or `clopper-pearson` (exact, conservative).
        invalid: trials without a verdict; they enter `n` of the estimate and nothing else.
        level: nominal coverage.
        better: which direction is good.

    Returns:
        The estimate; for n = 0 the mean is NaN and the interval [0, 1].

    Raises:
        ValueError: if x is not within 0..n.
    """
    if not 0 <= x <= n or invalid < 0:
        raise ValueError(f"0 <= x <= n and invalid >= 0 are needed, got x={x}, n={n}, invalid={invalid}")
    if n == 0:
        low, high, reason = 0.0, 1.0, "no valid trial"
    else:
        low, high = _wilson(x, n, level) if method == "wilson" else _clopper_pearson(x, n, level)
        reason = ""
    mean = x / n if n else float("nan")
    return Estimate(
        mean=mean, low=low, high=high, n=n + invalid, n_valid=n,
        method=method, level=level, better=better, reason=reason,
    )  # fmt: skip


def _wilson(x: int, n: int, level: float) -> tuple[float, float]:
    z = normal_quantile(level)
    p, room = x / n, z * z / n
    centre = (p + room / 2) / (1 + room)
    half = math.sqrt(room * (p * (1 - p) + room / 4)) / (1 + room)
    # At the ends the exact value is 0 or 1; rounding would leave 1e-17 there.
    return (0.0 if x == 0 else centre - half), (1.0 if x == n else centre + half)


def _clopper_pearson(x: int, n: int, level: float) -> tuple[float, float]:
    from scipy.special import betaincinv

    tail = (1 - level) / 2
    low = 0.0 if x == 0 else float(betaincinv(x, n - x + 1, tail))
    high = 1.0 if x == n else float(betaincinv(x + 1, n - x, 1 - tail))
    return low, high


def normal_quantile(level: float) -> float:
    """The z of a two-sided normal interval: 1.96 for .95."""
    from scipy.special import ndtri

    return float(ndtri((1 + level) / 2))


def mean(
    values: Values,
    *,
    group: Labels | None = None,
    seed: int = 0,
    draws: int = 2000,
    level: float = 0.95,
    better: Better | None = None,
) -> Estimate:
    """Mean of per-sample values: Student's t, or a bootstrap of groups where samples share one.

    The bootstrap takes percentiles, expanded for few groups so that it covers at its level from six on.
    An interval of no width says that no variation was seen, not that there is none.

    Args:
        values: " n" numbers or truth values; NaN marks an invalid sample.
        group: " n" names of what must not be split (speaker, subject, video); None makes every sample
            independent and the interval Student's t. A sample whose name is None is its own group.
        seed: of the bootstrap.
        draws: of the bootstrap.
        level: nominal coverage.
        better: which direction is good.

    Returns:
        The estimate; the interval is NaN, with its reason, where fewer than two samples or groups remain.

    Raises:
        ValueError: if there are no values, or `group` has another length.
    """
    x = values_of(values)
    valid = np.isfinite(x)
    kept = x[valid]
    centre, low, high, reason, n_groups = float("nan"), float("nan"), float("nan"), "no valid sample", None
    if kept.size:
        centre, reason = float(kept.mean()), ""
    names = named(group)
    if names is None:
        method = "t"
        if kept.size > 1:
            low, high = _student(kept, level)
        elif kept.size:
            reason = "one valid sample: no interval"
    else:
        index, n_groups = group_index(names, x.size, valid)
        method = "cluster bootstrap"
        if n_groups > 1:
            sums = np.column_stack([np.bincount(index, kept), np.bincount(index)])
            scorer = Summed(sums, lambda s: np.asarray(s[..., 0] / s[..., 1]))
            scores = [scorer.weighted(w) for w in weights(n_groups, draws=draws, seed=seed)]
            low, high = percentile(np.concatenate(scores), level, n_groups)
            reason = FEW if n_groups < 6 else reason
        elif kept.size:
            reason = "fewer than two groups: no interval"
    return Estimate(
        mean=centre, low=low, high=high, n=x.size, n_valid=kept.size, n_groups=n_groups,
        method=method, level=level, better=better, reason=reason,
    )  # fmt: skip


def _student(x: Values, level: float) -> tuple[float, float]:
    from scipy.special import stdtrit

    kept = np.asarray(x)
    half = float(stdtrit(kept.size - 1, (1 + level) / 2) * kept.std(ddof=1) / math.sqrt(kept.size))
    centre = float(kept.mean())
    return centre - half, centre + half


def bounds(
    values: Values, *, low: float | int = 0.0, high: float | int = 1.0, better: Better | None = None
) -> Estimate:
    """Worst and best case for the mean if the invalid samples could have been anything.

    Args:
        values: " n"; NaN marks an invalid sample.
        low: what every invalid sample is set to for the lower end (the scale's least value).
        high: the same for the upper end.
        better: which direction is good.

    Returns:
        Mean of the valid samples between the two bounds. The bounds speak of invalid samples only, not of
        sampling error.

    Raises:
        ValueError: if there are no values.
    """
    x = values_of(values)
    valid = np.isfinite(x)
    return Estimate(
        mean=float(x[valid].mean()) if valid.any() else float("nan"),
        low=float(np.where(valid, x, low).mean()),
        high=float(np.where(valid, x, high).mean()),
        n=x.size, n_valid=int(valid.sum()), method="worst-case bounds", level=1.0, better=better,
        reason="" if valid.any() else "no valid sample",
    )  # fmt: skip


def over_seeds(
    values: Values,
    *,
    group: Labels | None = None,
    seed: int = 0,
    draws: int = 2000,
    level: float = 0.95,
    better: Better | None = None,
) -> Estimate:
    """Mean over several training seeds of the same test samples.

    Each sample is averaged over the seeds first, so that seeds do not pass for independent samples; then the
    samples are clustered by group. `between` is the standard deviation of the per-seed means.

    Args:
        values: "s n", one row a seed; a sample invalid (NaN) under one seed is invalid.
        group: as in `mean`, as are the others.
        seed: of the bootstrap.
        draws: of the bootstrap.
        level: nominal coverage.
        better: which direction is good.

    Raises:
        ValueError: if `values` is not two-dimensional or is empty.
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or not table.size:
        raise ValueError(f"over_seeds needs a table of seeds by samples, got shape {table.shape}")
    result = mean(table.mean(axis=0), group=group, seed=seed, draws=draws, level=level, better=better)
    whole = table[:, np.isfinite(table).all(axis=0)]
    if len(table) < 2 or not whole.size:
        return result
    return replace(result, between=float(whole.mean(axis=1).std(ddof=1)))
