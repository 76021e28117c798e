"""Which of two is better: Bradley-Terry and Davidson strengths, and Elo as arenas print it."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from polymodal.metrics.estimate import Estimate
from polymodal.metrics.metric import Array, Labels, Values
from polymodal.metrics.resample import percentile, weights

ELO = 400 / math.log(10)
"""Elo points for a strength of 1 (a natural logarithm of odds)."""
_CELLS = 2_000_000
_FAR = 30.0  # strengths in resamples where somebody never loses stop here


@dataclass(frozen=True, slots=True)
class Preference:
    """Strengths of subjects: P(i beats j) = s(theta_i - theta_j).

    Attributes:
        theta: strength by subject, the finite ones summing to 0; each with its interval. One that never
            lost is infinite and one that never won minus infinite; their finite end is a 95 % bound.
        covariates: slopes of the covariates, positive where more of it helps the first.
        tie: Davidson's nu, None where a tie is half a win.
        n: comparisons with an outcome.
    """

    theta: dict[str, Estimate]
    covariates: tuple[Estimate, ...]
    tie: Estimate | None
    n: int

    def elo(self) -> dict[str, Estimate]:
        """The same on the Elo scale: 400 theta / ln 10 + 1000."""
        return {name: _moved(one, ELO, 1000.0) for name, one in self.theta.items()}


def _moved(x: Estimate, factor: float, offset: float) -> Estimate:
    mean, low, high = (value * factor + offset for value in (x.mean, x.low, x.high))
    return replace(x, mean=mean, low=low, high=high)


def bradley_terry(
    first: Labels,
    second: Labels,
    outcome: Values,
    *,
    covariates: Values | None = None,
    davidson: bool = False,
    item: Labels | None = None,
    rater: Labels | None = None,
    seed: int = 0,
    draws: int = 1000,
    level: float = 0.95,
) -> Preference:
    """Strengths by maximum likelihood: Newton on the counts of wins.

    Args:
        first: " n" subjects shown first.
        second: " n" subjects shown second.
        outcome: " n": 1 the first is better, 0 the second, .5 a tie; NaN has no outcome.
        covariates: "n q" differences first minus second (length), or 1 for the position itself.
        davidson: give ties a probability of their own (Davidson 1970) instead of half a win to each.
        item: " n" items, drawn whole in the bootstrap.
        rater: " n" raters, drawn whole too; with both, a comparison weighs the product of its draws (Owen
            2007), which errs on the wide side. Without either, comparisons are drawn.
        seed: of the bootstrap.
        draws: of the bootstrap; 0 leaves intervals out.
        level: nominal coverage.

    Raises:
        ValueError: lengths differ, a subject meets itself, an outcome is none of the three, no outcome, or
            subjects that cannot be compared: the message names the components.
    """
    a, b, y, keep = _comparisons(first, second, outcome)
    names, i, j = _coded(a, b)
    if (i == j).any():
        raise ValueError(f"{names[i[i == j][0]]} is compared with itself")
    z = np.empty((len(a), 0))
    if covariates is not None:
        table = np.asarray(covariates, dtype=np.float64)
        z = (table[:, None] if table.ndim == 1 else table)[keep]
    ends = _ends(_wins(i, j, y, len(names)), names)
    inner = np.flatnonzero(ends == 0)
    here = (ends[i] == 0) & (ends[j] == 0)
    clusters = [None if x is None else np.asarray(x)[keep][here] for x in (item, rater)]
    games = _Games.of(i[here], j[here], y[here], z[here], inner, davidson=davidson)
    centre = games.fit(games.sums)
    drawn = games.drawn(clusters, draws=draws, seed=seed) if len(here) and here.any() and draws else None
    counts = [len(np.unique(x.astype(str))) for x in clusters if x is not None] or [int(here.sum())]
    found = [
        _estimate(centre[k], None if drawn is None else drawn[:, k], len(a), min(counts), level)
        for k in range(len(centre))
    ]
    theta = dict(zip(names[inner].tolist(), found, strict=False))
    theta |= _bounds(names, ends, i, j, y, centre, inner, level)
    rest = found[len(inner) :]
    tie = _exponential(rest.pop()) if davidson else None
    return Preference({name: theta[name] for name in names.tolist()}, tuple(rest), tie, len(a))


def _comparisons(
    first: Labels, second: Labels, outcome: Values
) -> tuple[list[Any], list[Any], Float[np.ndarray, " m"], Bool[np.ndarray, " n"]]:
    """Both sides and outcomes of the comparisons that have one, and which these are."""
    a, b = (x.tolist() if isinstance(x, np.ndarray) else list(x) for x in (first, second))
    y = np.asarray(outcome, dtype=np.float64)
    if not len(a) == len(b) == len(y):
        raise ValueError(f"comparisons need one length, got {len(a)}, {len(b)} and {len(y)}")
    keep = np.isfinite(y)
    if not keep.any():
        raise ValueError("no comparison has an outcome")
    if not keep.all():
        a, b, y = list(compress(a, keep)), list(compress(b, keep)), y[keep]
    if not ((y == 0) | (y == 1) | (y == 0.5)).all():
        raise ValueError("an outcome is 1 (first), 0 (second) or .5 (tie)")
    return a, b, y, keep


def _coded(a: list[Any], b: list[Any]) -> tuple[Array, Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """Subjects in the order of their names, and the positions of both sides; a dict beats sorting text."""
    values = {*a, *b}
    names = sorted({str(value) for value in values})
    place = {name: k for k, name in enumerate(names)}
    known = {value: place[str(value)] for value in values}
    i, j = (np.array([known[value] for value in side], dtype=np.int64) for side in (a, b))
    return np.array(names), i, j


def _wins(
    i: Int[np.ndarray, " n"], j: Int[np.ndarray, " n"], y: Float[np.ndarray, " n"], k: int
) -> Float[np.ndarray, "k k"]:
    table = np.bincount(i * k + j, y, k * k) + np.bincount(j * k + i, 1 - y, k * k)
    return table.reshape(k, k)


def _ends(wins: Float[np.ndarray, "k k"], names: Array) -> Int[np.ndarray, " k"]:
    """Who lies outside any finite scale: +1 never lost (+2 among those left, ...), -1 never won, 0 inside."""
    from scipy.sparse.csgraph import connected_components

    pieces, label = connected_components(wins, directed=True, connection="weak")
    if pieces > 1:
        raise ValueError(f"no comparison joins these: {_sets(names, label)}")
    ends = np.zeros(len(wins), dtype=np.int64)
    rank = 0
    while True:
        inside = ends == 0
        if inside.sum() < 2:
            return ends
        some = wins[:, inside][inside]
        never_lost, never_won = ~(some > 0).any(axis=0), ~(some > 0).any(axis=1)
        if not (never_lost | never_won).any():
            break
        rank += 1
        where = np.flatnonzero(inside)
        # the outermost have the largest rank, so later ones get less
        ends[where[never_lost]], ends[where[never_won]] = 1000 - rank, rank - 1000
    inside = ends == 0
    pieces, label = connected_components(wins[:, inside][inside], directed=True, connection="strong")
    if pieces > 1:
        raise ValueError(f"nobody of one set ever lost to another: {_sets(names[inside], label)}")
    return ends


def _sets(names: Array, label: Int[np.ndarray, " k"]) -> str:
    return " | ".join(", ".join(names[label == piece].tolist()) for piece in range(label.max() + 1))


@dataclass(frozen=True)
class _Games:
    """Distinct pairings (with their covariates) and what happened in each: wins, losses, ties."""

    design: Float[np.ndarray, "m p"]
    kind: Int[np.ndarray, " n"]
    y: Float[np.ndarray, " n"]
    subjects: int
    davidson: bool

    @classmethod
    def of(
        cls,
        i: Int[np.ndarray, " n"],
        j: Int[np.ndarray, " n"],
        y: Float[np.ndarray, " n"],
        z: Float[np.ndarray, "n q"],
        inner: Int[np.ndarray, " k"],
        *,
        davidson: bool,
    ) -> "_Games":
        """Comparisons grouped by who meets whom, the lower position first where there are no covariates."""
        k = len(inner)
        place = np.zeros(int(inner.max(initial=0)) + 1, dtype=np.int64)
        place[inner] = np.arange(k)
        i, j = place[i], place[j]
        if z.shape[1]:
            rows, kind = np.unique(np.column_stack([i, j, z]), axis=0, return_inverse=True)
            kind = kind.ravel()
        else:
            swap = i > j
            y = np.where(swap, 1 - y, y)
            codes, kind = np.unique(np.where(swap, j * k + i, i * k + j), return_inverse=True)
            rows = np.column_stack([codes // max(k, 1), codes % max(k, 1)])
        design = np.zeros((len(rows), k + z.shape[1]))
        at = np.arange(len(rows))
        design[at, rows[:, 0].astype(np.int64)] = 1.0
        design[at, rows[:, 1].astype(np.int64)] -= 1.0
        design[:, k:] = rows[:, 2:]
        return cls(design, kind, y, k, davidson)

    @property
    def sums(self) -> Float[np.ndarray, "1 c"]:
        """The counts as they are, as a batch of one."""
        return self.counted(np.ones(len(self.y)))[None]

    def counted(self, w: Float[np.ndarray, " n"]) -> Float[np.ndarray, " c"]:
        """Weights of wins, losses and ties of each pairing, one after the other."""
        m = len(self.design)
        cell = self.kind + m * np.where(self.y == 1, 0, np.where(self.y == 0, 1, 2))
        return np.bincount(cell, w, 3 * m).astype(np.float64)

    def fit(self, counts: Float[np.ndarray, "b c"]) -> Float[np.ndarray, " q"]:
        """One maximum; see `fits`."""
        return np.asarray(self.fits(counts)[0])

    def fits(self, counts: Float[np.ndarray, "b c"], far: float = np.inf) -> Float[np.ndarray, "b q"]:
        """Newton's maxima for a batch of counts, thetas summing to 0; the last is log nu with Davidson."""
        win, loss, tie = np.split(counts, 3, axis=1)
        n = win + loss + tie
        p = self.design.shape[1]
        at = np.zeros((len(counts), p + self.davidson))
        gauge = np.zeros((p, p))
        gauge[: self.subjects, : self.subjects] = 1.0  # holds the sum of the thetas at 0
        for _ in range(60):
            delta = at[:, :p] @ self.design.T
            if not self.davidson:
                share = 1 / (1 + np.exp(-delta))
                slope = (win + tie / 2 - n * share) @ self.design
                bend = n * share * (1 - share)
                h = self.design.T @ (bend[..., None] * self.design) + gauge
            else:
                slope, h = self._davidson(at, delta, (win, loss, tie), gauge)
            h = h + 1e-9 * np.eye(at.shape[1])
            step = np.linalg.solve(h, slope[..., None])[..., 0]
            step *= np.minimum(1, 2 / np.maximum(np.abs(step).max(axis=1, initial=1e-300), 1e-300))[:, None]
            at = np.clip(at + step, -far, far)
            if np.abs(step).max(initial=0) < 1e-11 or (far < np.inf and np.abs(step).max(initial=0) < 1e-6):
                break
        return at

    def _davidson(
        self,
        at: Float[np.ndarray, "b q"],
        delta: Float[np.ndarray, "b m"],
        counts: tuple[Array, Array, Array],
        gauge: Float[np.ndarray, "p p"],
    ) -> tuple[Float[np.ndarray, "b q"], Float[np.ndarray, "b q q"]]:
        """Slope and bend of log P with P(tie) = nu / (e^(delta/2) + e^(-delta/2) + nu)."""
        win, loss, tie = counts
        n = win + loss + tie
        up, down, even = np.exp(delta / 2), np.exp(-delta / 2), np.exp(at[:, -1:])
        whole = up + down + even
        lead, draw = (up - down) / whole, even / whole
        slope = ((win - loss) / 2 - n * lead / 2) @ self.design
        h = self.design.T @ ((n * (1 - draw - lead**2) / 4)[..., None] * self.design) + gauge
        cross = -(n * lead * draw / 2) @ self.design
        last = (n * draw * (1 - draw)).sum(axis=1)
        rows = np.concatenate([h, cross[:, :, None]], axis=2)
        bottom = np.concatenate([cross, last[:, None]], axis=1)[:, None]
        return np.concatenate([slope, (tie - n * draw).sum(axis=1)[:, None]], axis=1), np.concatenate(
            [rows, bottom], axis=1
        )

    def drawn(self, clusters: Sequence[Array | None], *, draws: int, seed: int) -> Float[np.ndarray, "b q"]:
        """Maxima of resampled comparisons: whole items, whole raters, or single ones."""
        known = [np.unique(x.astype(str), return_inverse=True)[1] for x in clusters if x is not None]
        index = known or [np.arange(len(self.y))]
        streams = [_rows(int(x.max()) + 1, draws=draws, seed=seed + k) for k, x in enumerate(index)]
        size = max(1, _CELLS // self.design.size)
        found, block = [], []
        for rows in zip(*streams, strict=True):
            block.append(self.counted(np.prod([w[x] for w, x in zip(rows, index, strict=True)], axis=0)))
            if len(block) == size:
                found.append(self.fits(np.stack(block), _FAR))
                block = []
        if block:
            found.append(self.fits(np.stack(block), _FAR))
        return np.concatenate(found)


def _rows(n_groups: int, *, draws: int, seed: int) -> Iterable[Float[np.ndarray, " g"]]:
    return (row for block in weights(n_groups, draws=draws, seed=seed) for row in block)


def _estimate(
    centre: float, drawn: Float[np.ndarray, " b"] | None, n: int, groups: int, level: float
) -> Estimate:
    low, high, reason = float("nan"), float("nan"), "no bootstrap: no interval"
    if drawn is not None and groups > 1:
        low, high = percentile(drawn, level, groups)
        low, high, reason = min(low, centre), max(high, centre), ""
    return Estimate(
        mean=float(centre), low=low, high=high, n=n, n_valid=n, n_groups=groups,
        method="Bradley-Terry, bootstrap", level=level, better="higher", reason=reason,
    )  # fmt: skip


def _exponential(x: Estimate) -> Estimate:
    return replace(x, mean=math.exp(x.mean), low=math.exp(x.low), high=math.exp(x.high), better=None)


def _bounds(
    names: Array,
    ends: Int[np.ndarray, " k"],
    i: Int[np.ndarray, " n"],
    j: Int[np.ndarray, " n"],
    y: Float[np.ndarray, " n"],
    centre: Float[np.ndarray, " q"],
    inner: Int[np.ndarray, " c"],
    level: float,
) -> dict[str, Estimate]:
    """Infinite strengths: the one at which winning every comparison has the probability 1 - level."""
    theta = np.zeros(len(names))
    theta[inner] = centre[: len(inner)]
    found = {}
    for subject in sorted(np.flatnonzero(ends), key=lambda k: abs(ends[k])):
        rival = np.concatenate([j[i == subject], i[j == subject]])
        rival = rival[
            np.abs(ends[rival]) < abs(ends[subject])
        ]  # of the same rank and further out say nothing
        sign = float(np.sign(ends[subject]))
        bound = _reached(sign * theta[rival], 1 - level) if len(rival) else 0.0
        theta[subject] = sign * bound
        word = "lost: at least" if sign > 0 else "won: at most"
        reach = sorted([sign * bound, sign * math.inf])
        found[str(names[subject])] = Estimate(
            mean=sign * math.inf, low=reach[0], high=reach[1],
            n=len(y), n_valid=len(rival), method="bound", level=level, better="higher",
            reason=f"never {word} {sign * bound:.2f}",
        )  # fmt: skip
    return found


def _reached(rivals: Float[np.ndarray, " m"], chance: float) -> float:
    """Strength at which all of `rivals` are beaten with probability `chance`, by bisection."""
    low, high = float(rivals.min()) - 60, float(rivals.max()) + 60
    for _ in range(80):
        middle = (low + high) / 2
        short = -np.logaddexp(0, rivals - middle).sum() < math.log(chance)
        low, high = (middle, high) if short else (low, middle)
    return high


def elo_k4(
    first: Labels, second: Labels, outcome: Values, *, k: float | int = 4, start: float | int = 1000
) -> dict[str, float]:
    """Ratings updated game by game, as arenas printed them (base 10, scale 400): the order matters.

    For comparison with published tables only; `bradley_terry` does not depend on the order.

    Args:
        first: " n" subjects.
        second: " n" their rivals.
        outcome: " n" 1, 0 or .5; NaN is passed over.
        k: most points a game moves.
        start: everybody's first rating.

    Raises:
        ValueError: as `bradley_terry` for single comparisons.
    """
    a, b, y, _ = _comparisons(first, second, outcome)
    ratings = dict.fromkeys([*map(str, a), *map(str, b)], float(start))
    for one, other, won in zip(map(str, a), map(str, b), y.tolist(), strict=True):
        expected = 1 / (1 + 10 ** ((ratings[other] - ratings[one]) / 400))
        ratings[one] += k * (won - expected)
        ratings[other] -= k * (won - expected)
    return dict(sorted(ratings.items()))
