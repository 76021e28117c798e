"""How columns, orders, words and sides go with a label, tested so that few data do not cry."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

AUC, RANK = 0.98, 0.3  # a column carries the label; an order carries it
_LEVEL = 0.01  # family-wise, over all columns and classes of one part
_ORDER_LEVEL = 0.001  # of one order


@dataclass(frozen=True, slots=True)
class Outcome:
    """Targets as the audit sees them.

    Attributes:
        codes: class of each row, "n"; -1 where there is no target. Scores become quintiles, since the checks
            ask for classes; a score with few values keeps them.
        names: name of each class.
        scores: the scores themselves, "n" with NaN, where targets are scores.
    """

    codes: NDArray[np.int_]
    names: tuple[str, ...]
    scores: NDArray[np.float64] | None = None

    def indicators(self) -> NDArray[np.float64]:
        """One column a class, "n k"; zeros where there is no target."""
        return np.asarray(self.codes[:, None] == np.arange(len(self.names)), dtype=np.float64)


def outcome(targets: Sequence[str | float | None]) -> Outcome:
    """Classes where any target is a string, else quintiles of the scores."""
    if any(isinstance(target, str) for target in targets):
        shown = ["" if target is None or target != target else str(target) for target in targets]
        names = tuple(sorted(set(shown) - {""}))
        place = {name: k for k, name in enumerate(names)}
        return Outcome(np.array([place.get(name, -1) for name in shown], dtype=np.int_), names)
    scores = np.array([np.nan if target is None else float(target) for target in targets])
    known = np.isfinite(scores)
    edges = np.unique(np.quantile(scores[known], [0.2, 0.4, 0.6, 0.8])) if known.any() else np.empty(0)
    found, codes = np.unique(np.searchsorted(edges, scores[known]), return_inverse=True)
    every = np.full(len(scores), -1)
    every[known] = codes
    bounds = [f"{edge:g}" for edge in edges]
    spans = [f"{low} to {high}" for low, high in zip(["lowest", *bounds], [*bounds, "highest"], strict=True)]
    return Outcome(every, tuple(spans[i] for i in found), scores)


def revealing(
    x: NDArray[np.float64], known: Outcome, groups: NDArray[np.int_], *, tries: int | None = None
) -> dict[int, str]:
    """Columns of `x` "n d" that tell one class from the rest: AUC at least .98 either way, and no accident.

    Three samples of a class stand at the end of one of a hundred noise columns soon enough, so a Mann-Whitney
    test over all columns and classes (Bonferroni, .01) must agree. Where most groups have one class only
    (a diagnosis a patient), the groups are what was drawn and the test counts them, not their samples. A
    column with one value a class, all different, is the label itself and is not one of many tries. Scores
    are tried by quintile: a column that carries a score sets its lowest and highest fifth apart.

    Args:
        x: NaN cells are left out of their column.
        known: the classes.
        groups: group of each row.
        tries: tests that this one is among; columns times classes when None.

    Returns:
        Evidence by column.
    """
    tries = tries or x.shape[1] * len(known.names)
    cells = _cells(known.codes, groups)
    whole = np.isfinite(x).all(axis=0)
    found: dict[int, str] = {}
    blocks: list[NDArray[np.int_]] = [np.flatnonzero(whole), *np.flatnonzero(~whole)[:, None]]
    for columns in blocks:
        rows = np.flatnonzero((known.codes >= 0) & np.isfinite(x[:, columns]).all(axis=1))
        if len(rows) < 4 or not len(columns):
            continue
        codes, block = known.codes[rows], x[np.ix_(rows, columns)]
        areas = _areas(block, codes, len(known.names))
        best = np.nanargmax(np.where(np.isnan(areas), 0.5, np.maximum(areas, 1 - areas)), axis=0)
        for j, k in enumerate(best):
            area = areas[k, j]
            if max(area, 1 - area) >= AUC:
                p, exact = _separation(block[:, j], codes, int(k), cells[rows])
                if p * (1 if exact else tries) <= _LEVEL:
                    found[int(columns[j])] = f"AUC {max(area, 1 - area):.4g} for {known.names[k]}"
    return found


def linked(
    position: NDArray[np.float64], columns: NDArray[np.float64], strata: NDArray[np.int_]
) -> tuple[float, float]:
    """How far an order goes with the columns "n q" within strata: (rank correlation ratio, p).

    The ratio is the root of the share of rank variance that the columns explain: |Spearman| for ranks of a
    score and for two classes, its counterpart for more. p is from the permutation moments within strata
    (van Elteren's test), chi-square with as many degrees as the columns have; (0, 1) where nothing can vary.
    """
    from scipy.stats import chi2, rankdata

    r, z, weight = np.zeros(len(position)), np.zeros(columns.shape), np.zeros(len(position))
    order = np.argsort(strata, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(strata[order])) + 1):
        if len(rows) > 1:
            r[rows] = (rankdata(position[rows]) - (len(rows) + 1) / 2) / len(rows)
            z[rows] = columns[rows] - columns[rows].mean(axis=0)
            weight[rows] = (r[rows] ** 2).sum() / (len(rows) - 1)
    moved = z.T @ r
    spread, chance = z.T @ z, (z * weight[:, None]).T @ z
    if not (r**2).sum() or spread.trace() < 1e-9 * len(position):
        return 0.0, 1.0
    share = float(moved @ np.linalg.pinv(spread, rcond=1e-9, hermitian=True) @ moved) / float((r**2).sum())
    value = float(moved @ np.linalg.pinv(chance, rcond=1e-9, hermitian=True) @ moved)
    degrees = np.linalg.matrix_rank(chance, tol=1e-9 * chance.trace(), hermitian=True)
    return math.sqrt(max(share, 0.0)), float(chi2.sf(value, degrees)) if degrees else 1.0


def ordered(position: NDArray[np.float64], known: Outcome, groups: NDArray[np.int_]) -> str:
    """Evidence that an order (of ids, of files, of a tag) goes with the label, or "".

    A correlation of .3 alone would ring on every small set: with six classes and sixty samples chance gives
    .29, and a speaker's utterances, which have neighbouring ids, share a favourite class. So the order must
    also be significant (p < .001), by one of two tests that each respect groups: samples within their group,
    or whole groups by their mean position and class shares.
    """
    rows = np.flatnonzero((known.codes >= 0) & np.isfinite(position))
    if len(rows) < 4:
        return ""
    where, strata = position[rows], groups[rows]
    columns = _columns(known, rows)
    inside, p = linked(where, columns, strata)
    if inside >= RANK and p < _ORDER_LEVEL:
        return f"rank correlation {inside:.2f} within groups, p {p:.1g}"
    overall, _ = linked(where, columns, np.zeros(len(rows), dtype=np.int_))
    if overall >= RANK:
        _, code = np.unique(strata, return_inverse=True)
        size = np.bincount(code)
        means = np.stack([np.bincount(code, weights=column) / size for column in columns.T], axis=1)
        p = linked(np.bincount(code, weights=where) / size, means, np.zeros(len(size), dtype=np.int_))[1]
        if p < _ORDER_LEVEL:
            return f"rank correlation {overall:.2f}, p {p:.1g}"
    return ""


def named(names: Sequence[str | None], known: Outcome, groups: NDArray[np.int_]) -> list[str]:
    """Values (of a tag, or (position, word) of names) whose presence tells a class with AUC at least .98."""
    rows: dict[str, list[int]] = defaultdict(list)
    for row, name in enumerate(names):
        if name is not None and known.codes[row] >= 0:
            rows[name].append(row)
    sizes = np.bincount(known.codes[known.codes >= 0], minlength=len(known.names))
    total, chosen = int(sizes.sum()), []
    for name, here in rows.items():
        counts = np.bincount(known.codes[here], minlength=len(sizes))
        gap = counts / np.maximum(sizes, 1) - (len(here) - counts) / np.maximum(total - sizes, 1)
        if len(here) > 1 and np.abs(gap).max() >= 2 * AUC - 1:  # AUC of an indicator is (1 + gap) / 2
            chosen.append(name)
    x = np.zeros((len(names), len(chosen)))
    for j, name in enumerate(chosen):
        x[rows[name], j] = 1
    found = revealing(x, known, groups, tries=len(rows) * len(sizes))
    return [f"{chosen[j]!r}: {evidence}" for j, evidence in found.items()]


def shares(known: Outcome, sides: Sequence[str], groups: NDArray[np.int_]) -> tuple[float, float]:
    """Chi-square of class by side, corrected for groups: (statistic, p).

    Samples of one speaker are alike, so plain chi-square over samples finds a difference between any two sets
    of speakers. It is divided by the dispersion of the groups within their sides (at least 1) and read from F
    (Rao and Scott 1984); with every sample its own group it is the plain test.
    """
    from scipy.stats import chi2, f

    rows = np.flatnonzero((known.codes >= 0) & (np.array(sides) != ""))
    code = np.unique(np.array(sides)[rows], return_inverse=True)[1]
    one = known.indicators()[rows]
    one = one[:, one.sum(axis=0) > 0]
    cell, unit = np.unique(np.stack([code, groups[rows]]), axis=1, return_inverse=True)
    unit = unit.ravel()
    table = _sums(one, code)
    degrees = (len(table) - 1) * (table.shape[1] - 1)
    if degrees < 1:
        return 0.0, 1.0
    expected = one.mean(axis=0)
    size = table.sum(axis=1, keepdims=True)
    statistic = float(((table - size * expected) ** 2 / (size * expected)).sum())
    if cell.shape[1] == len(rows):
        return statistic, float(chi2.sf(statistic, degrees))
    counts = _sums(one, unit)
    held = counts.sum(axis=1, keepdims=True)
    away = (counts - held * (table / size)[cell[0]]) ** 2 / (held * expected)
    free = (len(counts) - len(table)) * (table.shape[1] - 1)
    if free < 1:
        return statistic, 1.0
    statistic /= max(1.0, float(away.sum()) / free)
    return statistic, float(f.sf(statistic / degrees, degrees, free))


def _columns(known: Outcome, rows: NDArray[np.int_]) -> NDArray[np.float64]:
    """Ranks of the scores where there are scores, else one indicator a class."""
    from scipy.stats import rankdata

    if known.scores is None:
        return known.indicators()[rows]
    return np.asarray(rankdata(known.scores[rows])[:, None] / len(rows), dtype=np.float64)


def _cells(codes: NDArray[np.int_], groups: NDArray[np.int_]) -> NDArray[np.int_]:
    """What was drawn independently: (group, class) where most groups have one class only, else samples."""
    _, group = np.unique(groups, return_inverse=True)
    cells, cell = np.unique(np.stack([group, codes]), axis=1, return_inverse=True)
    kinds = np.bincount(cells[0, cells[1] >= 0], minlength=int(group.max()) + 1)
    several = np.bincount(group) > 1
    pure = several.any() and (kinds[several] <= 1).mean() >= 0.5
    return cell.ravel() if pure else np.arange(len(codes))


def _areas(x: NDArray[np.float64], codes: NDArray[np.int_], k: int) -> NDArray[np.float64]:
    """One-vs-rest area under the ROC curve, "k d", from ranks; NaN for a class with nobody in or out."""
    from scipy.stats import rankdata

    one = (codes[:, None] == np.arange(k)).astype(np.float64)
    m = one.sum(axis=0)[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((one.T @ rankdata(x, axis=0) - m * (m + 1) / 2) / (m * (len(codes) - m)))


def _separation(
    x: NDArray[np.float64], codes: NDArray[np.int_], k: int, cells: NDArray[np.int_]
) -> tuple[float, bool]:
    """How likely class k would stand so far from the rest, in cells; and whether x is the label itself.

    The normal approximation is too sure of tiny classes with ties, so p is never below that of the one
    perfect arrangement among all, 2 / C(n, m).
    """
    from scipy.stats import mannwhitneyu

    _, first, cell = np.unique(cells, return_index=True, return_inverse=True)
    mean = np.bincount(cell, weights=x) / np.bincount(cell)
    inside = codes[first] == k
    n, m = len(inside), int(inside.sum())
    floor = 2 * math.exp(math.lgamma(m + 1) + math.lgamma(n - m + 1) - math.lgamma(n + 1))
    p = max(float(mannwhitneyu(mean[inside], mean[~inside]).pvalue), floor)
    values = {(code, value) for code, value in zip(codes.tolist(), x.tolist(), strict=True)}
    return p, len(values) == len({code for code, _ in values}) == len({value for _, value in values})


def _sums(one: NDArray[np.float64], code: NDArray[np.int_]) -> NDArray[np.float64]:
    """Sum of the rows of each code."""
    return np.stack([np.bincount(code, weights=column) for column in one.T], axis=1)
