"""Rates corrected for a judge's own errors, measured on cases that people labelled too."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np

from polymodal.judge.labels import Labels, estimate
from polymodal.metrics import Estimate, isotonic, rectified, rogan_gladen
from polymodal.metrics.correction import Counts
from polymodal.metrics.estimate import normal_quantile
from polymodal.metrics.metric import Better
from polymodal.metrics.resample import FEW, group_index, named, percentile, weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

How = Literal["rogan_gladen", "rectified", "isotonic"]
_REFITS = 500


class Pair(NamedTuple):
    """One unit with what people and the judge said of it."""

    subject: str
    item: str
    variant: str
    human: float
    judged: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """What is known of one judge's errors on one score.

    Attributes:
        how: `rogan_gladen` for yes or no, where the judge errs in the run as it does on the labelled cases;
            `rectified` where the labelled cases are a random part of the run, without that assumption;
            `isotonic` maps a graded score to the human scale.
        score: which score.
        judge: name and digest of the judge; labels by another are refused.
        pairs: units that both have labelled.
        left_out: labelled units that could not be used: invalid for the judge, or people were split.
        date: when people's labels were put to use, ISO 8601.
        fingerprint: of the human labels.
    """

    how: How
    score: str
    judge: str
    pairs: tuple[Pair, ...]
    left_out: int = 0
    date: str = ""
    fingerprint: str = ""

    @property
    def n(self) -> int:
        """Units that it stands on."""
        return len(self.pairs)

    @property
    def sensitivity(self) -> Counts:
        """(called positive, truly positive)."""
        positive = [pair.judged for pair in self.pairs if pair.human == 1]
        return int(sum(positive)), len(positive)

    @property
    def specificity(self) -> Counts:
        """(called negative, truly negative)."""
        negative = [pair.judged for pair in self.pairs if pair.human == 0]
        return len(negative) - int(sum(negative)), len(negative)

    def apply(
        self, labels: Labels, *, better: Better | None = None, seed: int = 0, draws: int = 2000, **where: str
    ) -> Estimate:
        """The corrected mean of the score.

        Where a group comes twice the interval is a bootstrap of groups, for `rogan_gladen` with the two
        rates drawn from their posterior.

        Args:
            labels: of this judge alone.
            better: which direction is good.
            seed: of bootstraps.
            draws: of bootstraps.
            where: values that columns must have, such as `subject="open", variant="mt"`.

        Returns:
            The estimate; n counts invalid labels too.

        Raises:
            ValueError: labels by another judge, none at all, or too few labelled units among them.
        """
        part = labels.where(score=self.score, **where)
        others = [name for name in part.names("judge") if name != self.judge]
        if others:
            raise ValueError(f"the correction is for {self.judge}, the labels are by {', '.join(others)}")
        values, group = part.values(), part.column("group")
        known = np.isfinite(values)
        if not known.any():
            raise ValueError(f"no valid label of {self.score!r} by {self.judge}")
        x, kept = values[known], group[known]
        if self.how == "rogan_gladen":
            found = self.rate(x, kept, seed=seed, draws=draws)
        elif self.how == "isotonic":
            found = self._mapped(x, kept, seed=seed, draws=draws)
        else:
            units = list(
                zip(*(part.column(name)[known] for name in ("subject", "item", "variant")), strict=True)
            )
            found = self._rectified(x, kept, units, seed=seed, draws=draws)
        return replace(found, n=len(values), better=better)

    def rate(
        self,
        values: NDArray[np.float64],
        group: NDArray[Any] | None = None,
        *,
        seed: int = 0,
        draws: int = 2000,
    ) -> Estimate:
        """Rogan and Gladen's rate behind the judge's values " n" of 0 and 1; see `metrics.rogan_gladen`.

        Raises:
            ValueError: a value is neither 0 nor 1.
        """
        _yes_or_no(values, self.judge)
        plain = rogan_gladen((int(values.sum()), len(values)), self.sensitivity, self.specificity)
        names = named(group)
        if names is None or len(set(names)) == len(names):
            return plain
        index, n = group_index(names, len(values), np.ones(len(values), dtype=bool))
        if n < 2:
            return _without_interval(plain)
        sums = np.column_stack([np.bincount(index, values), np.bincount(index)])
        seen = np.concatenate([w @ sums for w in weights(n, draws=draws, seed=seed)])
        (tp, n1), (tn, n0) = self.sensitivity, self.specificity
        rng = np.random.default_rng([seed, 1])
        right, wrong = rng.beta(tp + 1, n1 - tp + 1, draws), 1 - rng.beta(tn + 1, n0 - tn + 1, draws)
        apart = np.maximum(right - wrong, 1e-9)  # a draw that tells nothing lies at an end
        drawn = np.clip((seen[:, 0] / seen[:, 1] - wrong) / apart, 0, 1)
        low, high = percentile(drawn, plain.level, n)
        return replace(
            plain, low=min(low, plain.mean), high=max(high, plain.mean), n_groups=n,
            method="Rogan-Gladen, bootstrap of groups", reason=plain.reason or (FEW if n < 6 else ""),
        )  # fmt: skip

    def _mapped(self, x: NDArray[np.float64], group: NDArray[Any], *, seed: int, draws: int) -> Estimate:
        """Mean on the human scale; the map's own error is that of refits on resampled pairs."""
        judged, human = (
            np.array([getattr(pair, name) for pair in self.pairs]) for name in ("judged", "human")
        )
        run = estimate(isotonic(judged, human)(x), group, seed=seed, draws=draws)
        known, counts = np.unique(x, return_counts=True)
        rng = np.random.default_rng([seed, 1])
        means = []
        for _ in range(_REFITS):
            rows = rng.integers(self.n, size=self.n)
            means.append(float(isotonic(judged[rows], human[rows])(known) @ counts) / len(x))
        z = normal_quantile(run.level)
        half = math.hypot((run.high - run.low) / 2, z * float(np.std(means)))
        return replace(
            run, low=run.mean - half, high=run.mean + half,
            method=f"isotonic map of {self.n} labels, its own error included",
        )  # fmt: skip

    def _rectified(
        self,
        x: NDArray[np.float64],
        group: NDArray[Any],
        units: list[tuple[str, ...]],
        *,
        seed: int,
        draws: int,
    ) -> Estimate:
        human: dict[tuple[str, ...], float] = {pair[:3]: pair.human for pair in self.pairs}
        y = np.array([human.get(unit, math.nan) for unit in units])
        seen = np.isfinite(y)
        if seen.sum() < 2 or seen.all():
            raise ValueError(
                f"rectified needs two labelled units or more among the labels and one without, got "
                f"{int(seen.sum())} of {len(x)}"
            )
        plain = rectified(y[seen], x[seen], x[~seen])
        if len(set(group)) == len(group):
            return plain
        index, n = group_index(named(group), len(x), np.ones(len(x), dtype=bool))
        if n < 2:
            return _without_interval(plain)
        order = np.argsort(index, kind="stable")
        size = np.bincount(index)
        start = np.cumsum(size) - size
        rng = np.random.default_rng(seed)
        means = np.full(draws, np.nan)
        for draw in range(draws):
            picked = rng.integers(n, size=n)
            rows = order[_runs(start[picked], size[picked])]
            inside = seen[rows]
            if 2 <= inside.sum() < len(rows):
                some, rest = rows[inside], rows[~inside]
                means[draw] = rectified(y[some], x[some], x[rest]).mean
        low, high = percentile(means, plain.level, n)
        return replace(
            plain, low=low, high=high, n_groups=n, method=f"{plain.method}, bootstrap of groups",
            reason=FEW if n < 6 else "",
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        fields = {name: getattr(self, name) for name in self.__slots__ if name != "pairs"}
        return {**fields, "pairs": [list(pair) for pair in self.pairs]}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Correction:
        """Read back what `to_json` wrote."""
        return cls(**{**fields, "pairs": tuple(Pair(*pair) for pair in fields["pairs"])})


def calibrate(
    labels: Labels,
    human: Labels,
    how: How = "rogan_gladen",
    *,
    score: str,
    judge: str | None = None,
    date: str | None = None,
) -> Correction:
    """Measure a judge's errors on the units that people labelled too.

    Several people's labels of one unit are averaged; for `rogan_gladen` their majority counts and a unit
    where they are split evenly is left out.

    Args:
        labels: the judge's.
        human: people's, of the same subjects, items and variants.
        how: see `Correction`.
        score: which one, under the same name on both sides.
        judge: whose labels; may be None where `labels` hold one judge.
        date: ISO 8601; today's when None.

    Raises:
        ValueError: no or several judges, too few units in common, a value that is neither 0 nor 1, or (for
            `rogan_gladen`) the interval of sensitivity + specificity - 1 includes 0.
    """
    if how not in get_args(How):
        raise ValueError(f"unknown correction {how!r}; known: {', '.join(get_args(How))}")
    part = labels.where(score=score) if judge is None else labels.where(score=score, judge=judge)
    names = part.names("judge")
    if len(names) != 1:
        raise ValueError(f"labels of one judge are needed, these are by {', '.join(names) or 'none'}")
    truth = {unit: float(np.mean(values)) for unit, values in _units(human.where(score=score))}
    said = {unit: values for unit, values in _units(part) if unit in truth}
    if any(len(values) > 1 for values in said.values()):
        raise ValueError(f"{names[0]} labelled a unit under several seeds: choose one")
    pairs = [Pair(*unit, truth[unit], values[0]) for unit, values in said.items()]
    if how == "rogan_gladen":
        _yes_or_no(np.array([pair.judged for pair in pairs]), names[0])
        pairs = [pair._replace(human=float(pair.human > 0.5)) for pair in pairs if pair.human != 0.5]
    if len(pairs) < 2:
        raise ValueError(f"{len(pairs)} labelled units in common: two or more are needed")
    found = Correction(
        how=how, score=score, judge=names[0], pairs=tuple(sorted(pairs)), left_out=len(truth) - len(pairs),
        date=date or datetime.now(UTC).date().isoformat(), fingerprint=human.fingerprint(),
    )  # fmt: skip
    if how == "rogan_gladen":
        if not found.sensitivity[1] or not found.specificity[1]:
            raise ValueError("labelled units of both kinds are needed, with and without what the score tells")
        rogan_gladen((0, 1), found.sensitivity, found.specificity)  # refuses a judge that tells nothing
    return found


def _units(labels: Labels) -> Iterator[tuple[tuple[str, str, str], list[float]]]:
    """Valid values by unit."""
    found: dict[tuple[str, str, str], list[float]] = {}
    columns = (labels.column(name) for name in ("subject", "item", "variant"))
    for *unit, value in zip(*columns, labels.values(), strict=True):
        if math.isfinite(value):
            found.setdefault((unit[0], unit[1], unit[2]), []).append(float(value))
    yield from found.items()


def _runs(start: NDArray[np.int64], size: NDArray[np.int64]) -> NDArray[np.int64]:
    """The positions start, start + 1 ... of several runs, one after another."""
    before = np.cumsum(size) - size
    return np.arange(int(size.sum())) - np.repeat(before, size) + np.repeat(start, size)


def _yes_or_no(values: NDArray[np.float64], judge: str) -> None:
    if not np.isin(values, (0.0, 1.0)).all():
        raise ValueError(
            f"rogan_gladen needs values 0 and 1, {judge} gives others: use rectified or isotonic"
        )


def _without_interval(plain: Estimate) -> Estimate:
    nan = float("nan")
    return replace(plain, low=nan, high=nan, n_groups=1, reason="fewer than two groups: no interval")
