"""What any model has to beat: majority, prior, logistic, forest, character n-grams."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.training.splits import Split

Array = NDArray[Any]
Targets = Sequence[str] | Sequence[float] | Array

STRENGTHS = (0.01, 0.1, 1.0, 10.0)  # C of the linear baselines, chosen on val


@dataclass(frozen=True, slots=True)
class Baseline:
    """A fitted baseline.

    Attributes:
        name: as in tables.
        classes: in the order of the probabilities; empty for scores.
        predict: inputs of n samples to " n" class names or scores.
        probabilities: inputs to "n k"; None for scores.
        note: what was chosen on val.
    """

    name: str
    classes: tuple[str, ...]
    predict: Callable[[Any], Array]
    probabilities: Callable[[Any], NDArray[np.float64]] | None
    note: str = ""


def majority(target: Targets, split: Split) -> Baseline:
    """The class most frequent in train (of equals the first by name), or the median score."""
    y, classes = _train(target, split)
    if not classes:
        middle = float(np.median(y))
        return Baseline("majority", (), lambda x: np.full(len(x), middle), None)
    shares = _shares(y, classes)
    top = int(shares.argmax())
    sure = np.eye(len(classes))[top]
    return Baseline(
        "majority",
        classes,
        lambda x: np.full(len(x), classes[top]),
        lambda x: np.tile(sure, (len(x), 1)),
    )


def prior(target: Targets, split: Split, *, seed: int) -> Baseline:
    """Targets of train drawn at random; as probabilities, the class shares."""
    y, classes = _train(target, split)

    def draw(x: Any) -> Array:
        return np.random.default_rng(seed).choice(y, len(x))

    if not classes:
        return Baseline("prior", (), draw, None)
    shares = _shares(y, classes)
    return Baseline("prior", classes, draw, lambda x: np.tile(shares, (len(x), 1)))


def logistic(x: NDArray[np.floating[Any]], target: Targets, split: Split, *, seed: int) -> Baseline:
    """Standardised columns and logistic regression (ridge for scores), C chosen on val.

    Args:
        x: Float "n d", all samples; only train rows are fitted on and only val rows chosen by.
        target: " n".
        split: positions.
        seed: of the solver.
    """
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    y = np.asarray(target)

    def build(c: float) -> Any:
        return make_pipeline(StandardScaler(), _linear(y, c, seed=seed))

    return _chosen("logistic", x, y, split, build)


def forest(x: NDArray[np.floating[Any]], target: Targets, split: Split, *, seed: int) -> Baseline:
    """A random forest of 300 trees; arguments as in `logistic`."""
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    y = np.asarray(target)
    kind = RandomForestClassifier if _is_text(y) else RandomForestRegressor
    model = kind(n_estimators=300, random_state=seed).fit(x[list(split.train)], y[list(split.train)])
    return _wrapped("forest", model, y)


def ngram(texts: Sequence[str], target: Targets, split: Split, *, seed: int) -> Baseline:
    """TF-IDF of character 2- to 4-grams and logistic regression (ridge for scores), C chosen on val.

    Args:
        texts: n strings; "" where there is none.
        target: " n".
        split: positions.
        seed: of the solver.

    Raises:
        ValueError: no train text holds two characters.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline

    y = np.asarray(target)

    def build(c: float) -> Any:
        grams = TfidfVectorizer(analyzer="char", ngram_range=(2, 4), sublinear_tf=True)
        return make_pipeline(grams, _linear(y, c, seed=seed))

    return _chosen("char n-grams", np.asarray(texts, dtype=object), y, split, build)


def _is_text(y: Array) -> bool:
    return y.dtype.kind in "UO"


def _train(target: Targets, split: Split) -> tuple[Array, tuple[str, ...]]:
    """Train targets, and their classes if they are such."""
    y = np.asarray(target)[list(split.train)]
    if not len(y):
        raise ValueError("a baseline needs train rows, the split has none")
    return y, tuple(np.unique(y).tolist()) if _is_text(y) else ()


def _shares(y: Array, classes: tuple[str, ...]) -> NDArray[np.float64]:
    return np.array([(y == name).mean() for name in classes])


def _linear(y: Array, c: float, *, seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression, Ridge

    if _is_text(y):
        return LogisticRegression(C=c, max_iter=1000, random_state=seed)
    return Ridge(alpha=1 / (2 * c), random_state=seed)


def _chosen(name: str, x: Array, y: Array, split: Split, build: Callable[[float], Any]) -> Baseline:
    """The strength that is best on val; of equals the smallest, and 1 where there is no val."""
    from sklearn.exceptions import ConvergenceWarning

    train, val = list(split.train), list(split.val)
    best, best_score = None, -np.inf
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # separable data; the score on val decides
        for c in STRENGTHS if val else (1.0,):
            model = build(c).fit(x[train], y[train])
            score = float(model.score(x[val], y[val])) if val else 0.0
            if score > best_score:
                best, best_score, strength = model, score, c
    return _wrapped(name, best, y, note=f"C={strength:g}")


def _wrapped(name: str, model: Any, y: Array, note: str = "") -> Baseline:
    if _is_text(y):
        return Baseline(name, tuple(model.classes_.tolist()), model.predict, model.predict_proba, note)
    return Baseline(name, (), model.predict, None, note)
