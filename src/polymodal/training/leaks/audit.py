"""The leak audit: what makes a score too good to be true, looked for before training."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from polymodal.training.leaks import crossings
from polymodal.training.leaks.association import Outcome, outcome, shares
from polymodal.training.leaks.columns import Vectors, group_codes, label_columns, label_names, pooled
from polymodal.training.leaks.crossings import finding
from polymodal.training.splits import Split, fingerprint, folds, random_folds

if TYPE_CHECKING:
    from polymodal.media.check import Finding
    from polymodal.media.sample import Sample

GAP, SAW, CHANCE, SHARES = 0.03, 0.30, 0.05, 0.001
_FOLDS = 5
_ROWS = 1000  # that one tree sees; the gap shows long before that, and larger trees cost more than they tell
_LEVEL = 0.05

Folds = Sequence[tuple[NDArray[np.int_], NDArray[np.int_]]]  # train and test rows


def audit(
    samples: Sequence[Sample],
    split: Split,
    vectors: Vectors | None = None,
    *,
    seed: int,
    fitted: Mapping[str, str] | None = None,
    costly: bool = True,
    trees: int = 20,
) -> list[Finding]:
    """Look for leaks in a data set and its split.

    An `error` makes every score that follows worthless; a `warning` may have an innocent reason; a `note` is
    for the reader. Scores are taken by quintile where a check asks for classes, by rank where it asks for an
    order.

    Args:
        samples: in the order that the split's positions refer to.
        split: rows on no side are not looked at.
        vectors: "n d" a part, all-NaN rows where it is absent; from the series parts when None.
        seed: of the folds, forests and random pairs.
        fitted: what each fitted transform says that it saw, `splits.fingerprint` of the rows' ids.
        costly: also fit the forests and logistic regressions of `leak gap` and `saw labels`.
        trees: trees a forest. 20 tell a gap of .03 as well as 300 do; the noise is the samples', not theirs.

    Returns:
        Findings in the order of the table in the page: crossing group, crossing speaker, duplicate, shared
        part, conflicting targets, near-duplicate, overlap, leak gap, saw labels, label column, label in name,
        label in order, label in tag, fitted outside train, class shares; `not checked` where a check could
        not be made.

    Raises:
        ValueError: vectors whose rows are not one a sample.
    """
    vectors = pooled(samples) if vectors is None else vectors
    for name, x in vectors.items():
        if x.ndim != 2 or len(x) != len(samples):
            raise ValueError(
                f"vectors of {name!r} are {x.shape}, expected ({len(samples)}, d): one row a sample"
            )
    sides = _sides(len(samples), split)
    known, groups = outcome([sample.target for sample in samples]), group_codes(samples)
    found = _crossing(samples, sides, vectors, split, seed=seed)
    rows = [row for row, side in enumerate(sides) if side]
    inside = [samples[row] for row in rows]
    held, chosen = {name: x[rows] for name, x in vectors.items()}, _only(known, rows)
    if costly:
        found += _gaps(inside, held, chosen, groups[rows], seed=seed, trees=trees)
        found += _saw(samples, vectors, known, groups, split, seed=seed)
    found += label_columns(held, chosen, groups[rows]) + label_names(inside, chosen, groups[rows])
    found += _fitted(samples, split, fitted or {})
    statistic, p = shares(known, sides, groups)
    if p < SHARES:
        line = f"chi-square {statistic:.1f} after correction for groups, p {p:.1g}"
        found.append(finding("class shares", "note", "target", [line]))
    return found


def leak_gap(
    x: NDArray[np.float64],
    codes: NDArray[np.int_],
    groups: NDArray[np.int_],
    random: Folds,
    grouped: Folds,
    *,
    seed: int,
    trees: int = 20,
) -> tuple[float, float, float]:
    """Forest accuracy in random and in grouped folds, and the standard error of the difference.

    The difference is paired by sample and clustered by group; a forest of extremely randomised trees (Geurts
    et al. 2006), each on at most 1,000 rows.

    Args:
        x: vectors "n d" without NaN.
        codes: class of each row.
        groups: group of each row.
        random: folds that cut groups.
        grouped: folds that do not; the same number.
        seed: of the forests.
        trees: trees a forest.
    """
    hits = [_forest(x, codes, each, seed=seed, trees=trees).astype(np.float64) for each in (random, grouped)]
    return float(hits[0].mean()), float(hits[1].mean()), _error(hits[0] - hits[1], groups)


def _sides(n: int, split: Split) -> list[str]:
    sides = [""] * n
    for name, rows in (("train", split.train), ("val", split.val), ("test", split.test)):
        for row in rows:
            sides[row] = name
    return sides


def _crossing(
    samples: Sequence[Sample], sides: Sequence[str], vectors: Vectors, split: Split, *, seed: int
) -> list[Finding]:
    digests = crossings.prints(samples)
    found = crossings.groups(samples, sides) + crossings.duplicates(samples, sides, digests)
    found += crossings.near_texts(samples, sides, digests)
    train = np.array(split.train, dtype=np.int_)
    for name, x in vectors.items():
        found += crossings.near_vectors(name, _standard(x, train), samples, sides, digests, seed=seed)
    return found + crossings.overlaps(samples, sides, digests)


def _gaps(
    samples: Sequence[Sample],
    vectors: Vectors,
    known: Outcome,
    groups: NDArray[np.int_],
    *,
    seed: int,
    trees: int,
) -> list[Finding]:
    """`leak gap` (warning) per part: the score would fall by more than .03 if groups were kept whole.

    The interval is Student's with (groups - 1) degrees over the groups' sums, and shares its 5 % among the
    parts: a bootstrap over a dozen groups is too short, and three parts would ring three times as often.
    """
    found, skipped = [], []
    for name, x in vectors.items():
        rows = np.flatnonzero(np.isfinite(x).any(axis=1) & (known.codes >= 0))
        here = [samples[int(row)] for row in rows]
        n = min(_FOLDS, len(np.unique(groups[rows])))
        if n == len(rows) or n < 3 or len(np.unique(groups[rows])) == len(rows):
            skipped.append(
                f"leak gap of {name}: {len(np.unique(groups[rows]))} groups of {len(rows)} samples"
            )
            continue
        try:
            cut, whole = random_folds(here, n, seed=seed, val=0.0), folds(here, n, seed=seed, val=0.0)
        except ValueError as why:
            skipped.append(f"leak gap of {name}: {why}")
            continue
        codes, own = known.codes[rows], groups[rows]
        filled = _standard(x[rows], np.arange(len(rows)))
        random, grouped, error = leak_gap(
            filled, codes, own, _rows(cut), _rows(whole), seed=seed, trees=trees
        )
        low = random - grouped - _quantile(1 - _LEVEL / 2 / len(vectors), own) * error
        if low > GAP:
            line = (
                f"forest accuracy {random:.3f} in random folds, {grouped:.3f} in grouped, gap over {low:.3f}"
            )
            found.append(finding("leak gap", "warning", name, [line]))
    return found + ([finding("not checked", "note", "leak gap", skipped)] if skipped else [])


def _saw(
    samples: Sequence[Sample],
    vectors: Vectors,
    known: Outcome,
    groups: NDArray[np.int_],
    split: Split,
    *,
    seed: int,
) -> list[Finding]:
    """`saw labels` (warning) per part: the label is easy to read inside train, and not at all in test.

    Accuracy on train itself would ring for every part with more columns than samples, since a logistic
    regression then fits any noise. So train accuracy is held out, in grouped folds inside train: features
    that were made with train's labels show them there just as well, and noise does not. On either side the
    threshold is met beyond doubt: train - test > .30, and > 0 at 95 %;
    test not above majority + .05 at 95 %.
    """
    found = []
    for name, x in vectors.items():
        there = np.isfinite(x).any(axis=1) & (known.codes >= 0)
        train, test = (
            np.array([r for r in side if there[r]], dtype=np.int_) for side in (split.train, split.test)
        )
        n = min(_FOLDS, len(np.unique(groups[train])))
        if n < 2 or len(np.unique(groups[test])) < 2 or len(np.unique(known.codes[train])) < 2:
            continue
        filled = _standard(x, train)
        try:
            inner = folds([samples[row] for row in train], n, seed=seed, val=0.0)
        except ValueError:
            continue
        held = [(train[a], train[b]) for a, b in _rows(inner)]
        inside = np.concatenate([_logistic(filled, known.codes, *each) for each in held])
        outside = _logistic(filled, known.codes, train, test)
        usual = known.codes[test] == np.bincount(known.codes[train]).argmax()
        own = groups[np.concatenate([rows for _, rows in held])]
        gap = inside.mean() - outside.mean()
        error = math.hypot(_error(inside, own), _error(outside, groups[test]))
        spread = _error(outside - usual, groups[test])
        sure = _quantile(1 - _LEVEL / len(vectors), groups[test])
        if gap > SAW and gap > sure * error and (outside - usual).mean() <= CHANCE + sure * spread:
            line = (
                f"logistic accuracy {inside.mean():.3f} held out inside train, "
                f"{outside.mean():.3f} in test, majority {usual.mean():.3f}"
            )
            found.append(finding("saw labels", "warning", name, [line]))
    return found


def _fitted(samples: Sequence[Sample], split: Split, fitted: Mapping[str, str]) -> list[Finding]:
    """`fitted outside train` (error): a transform whose rows are not exactly those of train."""
    sides = {"train": split.train, "val": split.val, "test": split.test}
    names = [["train"], ["train", "val"], ["train", "test"], ["train", "val", "test"], ["val"], ["test"]]
    prints = {
        fingerprint(samples[row].id for side in each for row in sides[side]): " + ".join(each)
        for each in reversed(names)
    }
    found = []
    for name, digest in fitted.items():
        saw = prints.get(digest, "other rows")
        if saw != "train":
            found.append(finding("fitted outside train", "error", name, [f"saw {saw}, not train"]))
    return found


def _forest(
    x: NDArray[np.float64], codes: NDArray[np.int_], folds: Folds, *, seed: int, trees: int
) -> NDArray[np.bool_]:
    """Whether the vote of the trees is right, for every row when it is in a test fold."""
    from sklearn.tree import ExtraTreeClassifier  # one by one: the ensemble's set-up takes longer than a tree

    rng, x32 = np.random.default_rng(seed), x.astype(np.float32)
    hits = np.zeros(len(codes), dtype=bool)
    for train, test in folds:
        votes = np.zeros((len(test), int(codes.max()) + 1))
        for _ in range(trees):
            rows = rng.choice(train, _ROWS, replace=False) if len(train) > _ROWS else train
            tree = ExtraTreeClassifier(random_state=int(rng.integers(2**31)))
            tree.fit(x32[rows], codes[rows], check_input=False)
            votes[np.arange(len(test)), tree.predict(x32[test], check_input=False)] += 1
        hits[test] = votes.argmax(axis=1) == codes[test]
    return hits


def _logistic(
    x: NDArray[np.float64], codes: NDArray[np.int_], train: NDArray[np.int_], test: NDArray[np.int_]
) -> NDArray[np.float64]:
    """1 where a logistic regression fitted on the train rows is right about a test row."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a rough fit tells chance from signal as well
        model = LogisticRegression(C=0.1, tol=1e-3, max_iter=100).fit(x[train], codes[train])
    return np.asarray(model.predict(x[test]) == codes[test], dtype=np.float64)


def _standard(x: NDArray[np.float64], train: NDArray[np.int_]) -> NDArray[np.float64]:
    """Standardised by the train rows; NaN cells and constant columns become 0, absent rows too."""
    good = np.isfinite(x)
    count = np.maximum(good[train].sum(axis=0), 1)
    filled = np.where(good, x, 0.0)
    mean = filled[train].sum(axis=0) / count
    spread = np.sqrt((np.where(good, x - mean, 0.0)[train] ** 2).sum(axis=0) / count)
    safe = spread > 1e-9 * np.maximum(1.0, np.abs(mean))
    return np.where(good & safe, (filled - mean) / np.where(safe, spread, 1.0), 0.0)


def _error(values: NDArray[np.float64], groups: NDArray[np.int_]) -> float:
    """Standard error of a mean over clustered rows: sqrt(G / (G - 1) sum of squared group residuals) / n."""
    _, code = np.unique(groups, return_inverse=True)
    sums = np.bincount(code, weights=values - values.mean())
    return math.sqrt(len(sums) / (len(sums) - 1) * float((sums**2).sum())) / len(values)


def _quantile(level: float, groups: NDArray[np.int_]) -> float:
    from scipy.stats import t

    return float(t.ppf(level, len(np.unique(groups)) - 1))


def _rows(splits: Sequence[Split]) -> Folds:
    return [(np.array(each.train), np.array(each.test)) for each in splits]


def _only(known: Outcome, rows: Sequence[int]) -> Outcome:
    return Outcome(known.codes[rows], known.names, None if known.scores is None else known.scores[rows])
