"""Scores of predicted classes: accuracy, balanced accuracy, F1, confusion, AUROC."""

from collections.abc import Callable, Hashable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from polymodal.metrics.metric import Array, Labels, Metric, OfSums, Values, paired


class Confusion(NamedTuple):
    """Counts "k k": rows are targets, columns predictions, both in the order of `classes`."""

    classes: tuple[Hashable, ...]
    matrix: Int[np.ndarray, "k k"]


class ClassScore(NamedTuple):
    """One class: precision, recall and F1 (0/0 is 0), and how often it is the target."""

    name: Hashable
    precision: float
    recall: float
    f1: float
    n: int


def confusion(target: Labels, prediction: Labels, *, classes: Labels | None = None) -> Confusion:
    """Counts of target by prediction.

    Args:
        target: " n" class labels.
        prediction: " n" class labels.
        classes: order of the classes; None takes those that occur, sorted.

    Raises:
        ValueError: if the input is empty, holds fractions, mixes text and numbers, or has a label outside
            `classes`.
    """
    a, b = _labels(target, prediction, "confusion")
    found = np.unique(np.concatenate([a, b]))
    if classes is None:
        order = found
    else:
        order = _one_kind(np.asarray(classes))
        unknown = np.setdiff1d(found, order)
        if unknown.size:
            raise ValueError(f"confusion: labels outside classes: {unknown[:5].tolist()}")
    place = np.argsort(order)
    rows, columns = (place[np.searchsorted(order, x, sorter=place)] for x in (a, b))
    k = len(order)
    matrix = np.bincount(rows * k + columns, minlength=k * k).reshape(k, k)
    return Confusion(tuple(order.tolist()), matrix)


def accuracy(target: Labels, prediction: Labels) -> float:
    """Share of predictions equal to their target, in [0, 1]."""
    a, b = _labels(target, prediction, "accuracy")
    return float((a == b).mean())


def balanced_accuracy(target: Labels, prediction: Labels) -> float:
    """Mean recall over the classes that occur in target, in [0, 1]."""
    return _of(_balanced, target, prediction)


def macro_f1(target: Labels, prediction: Labels) -> float:
    """Unweighted mean F1 over the classes in target or prediction, 0/0 taken as 0, in [0, 1]."""
    return _of(_macro, target, prediction)


def weighted_f1(target: Labels, prediction: Labels) -> float:
    """F1 weighted by how often each class is the target (what IEMOCAP papers report), in [0, 1]."""
    return _of(_weighted, target, prediction)


def per_class(target: Labels, prediction: Labels) -> list[ClassScore]:
    """Precision, recall, F1 and count of every class in target or prediction."""
    classes, matrix = confusion(target, prediction)
    hits, asked, said = np.diag(matrix), matrix.sum(1), matrix.sum(0)
    columns = (_over(hits, said), _over(hits, asked), _over(2 * hits, asked + said), asked)
    return [
        ClassScore(name, float(p), float(r), float(f), int(n))
        for name, p, r, f, n in zip(classes, *columns, strict=True)
    ]


def auroc(target: Values, score: Values) -> float:
    """Area under the receiver operating curve: the chance that a positive outranks a negative, ties half.

    Args:
        target: " n" truth values or 0/1 for a score " n"; class positions 0..k-1 for scores "n k".
        score: " n", or "n k" for the mean over classes of one class against the rest; a class that no
            sample has, or all have, is left out of that mean.

    Returns:
        In [0, 1]; NaN where only one class occurs.

    Raises:
        ValueError: if the input is empty or a one-column target is not binary.
    """
    truth, values = paired(target, score, "auroc")
    if values.ndim == 2:
        columns = [_binary_auroc(truth == k, values[:, k]) for k in range(values.shape[1])]
        known = [x for x in columns if not np.isnan(x)]
        return float(np.mean(known)) if known else float("nan")
    if not np.isin(truth, (0, 1)).all():
        raise ValueError(f"auroc: target must be 0 or 1, got {truth[:5].tolist()}")
    return _binary_auroc(truth.astype(bool), values)


def _binary_auroc(positive: Bool[np.ndarray, " n"], score: Array) -> float:
    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    if not n_positive or not n_negative:
        return float("nan")
    _, place, count = np.unique(score, return_inverse=True, return_counts=True)
    middle = np.cumsum(count) - (count - 1) / 2
    rank_sum = float(middle[place][positive].sum())
    return (rank_sum - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)


def _one_kind(x: Array) -> Array:
    """Labels as an array of text or of whole numbers."""
    if x.dtype == object:
        if not all(isinstance(one, str) for one in x):
            raise ValueError(f"class labels must be text or whole numbers, got {x[:5].tolist()}")
        return x.astype(str)
    if x.dtype.kind == "f" and not (x == np.round(x)).all():
        raise ValueError(f"classes were asked for, these look like scores: {x[:5].tolist()}")
    return x


def _labels(target: Labels, prediction: Labels, name: str) -> tuple[Array, Array]:
    a, b = (_one_kind(x) for x in paired(target, prediction, name))
    if (a.dtype.kind in "US") != (b.dtype.kind in "US"):
        raise ValueError(f"{name}: target holds {a[:5].tolist()} but prediction {b[:5].tolist()}")
    return a, b


def _of(score: Callable[[Array], Array], target: Labels, prediction: Labels) -> float:
    a, b = _labels(target, prediction, "score")
    return float(score(_tallies(a, b, np.zeros(len(a), dtype=np.int64), 1)[0]))


def _over(a: Array, b: Array) -> Array:
    """Divide, with 0/0 as 0."""
    return np.asarray(np.divide(a, b, out=np.zeros(a.shape), where=b != 0))


def _tallies(target: Array, prediction: Array, group: Int[np.ndarray, " n"], n_groups: int) -> Array:
    """Hits, targets and predictions of each class in each group: g x 3k."""
    a, b = _labels(target, prediction, "score")
    found, codes = np.unique(np.concatenate([a, b]), return_inverse=True)
    k, n = len(found), len(a)
    asked, said = group * k + codes[:n], group * k + codes[n:]
    counts = [np.bincount(cells, minlength=n_groups * k) for cells in (asked[asked == said], asked, said)]
    return np.hstack([x.reshape(n_groups, k) for x in counts]).astype(np.float64)


def _balanced(tallies: Float[np.ndarray, "... s"]) -> Array:
    hits, asked, _ = np.split(tallies, 3, axis=-1)
    return np.asarray(_over(hits, asked).sum(-1) / (asked > 0).sum(-1))


def _macro(tallies: Float[np.ndarray, "... s"]) -> Array:
    hits, asked, said = np.split(tallies, 3, axis=-1)
    return np.asarray(_over(2 * hits, asked + said).sum(-1) / (asked + said > 0).sum(-1))


def _weighted(tallies: Float[np.ndarray, "... s"]) -> Array:
    hits, asked, said = np.split(tallies, 3, axis=-1)
    return np.asarray((_over(2 * hits, asked + said) * asked).sum(-1) / asked.sum(-1))


def _correct(target: Array, prediction: Array) -> Float[np.ndarray, " n"]:
    a, b = _labels(target, prediction, "accuracy")
    return np.asarray(a == b, dtype=np.float64)


def _of_tallies(name: str, score: Callable[[Labels, Labels], float], of_sums: OfSums) -> Metric:
    return Metric(name, score, "higher", 0.0, 1.0, "classes", sums=_tallies, of_sums=of_sums)


ACCURACY = Metric("accuracy", accuracy, "higher", 0.0, 1.0, "classes", per_sample=_correct)
BALANCED_ACCURACY = _of_tallies("balanced accuracy", balanced_accuracy, _balanced)
MACRO_F1 = _of_tallies("macro-F1", macro_f1, _macro)
WEIGHTED_F1 = _of_tallies("weighted F1", weighted_f1, _weighted)
AUROC = Metric("AUROC", auroc, "higher", 0.0, 1.0, "probabilities")
