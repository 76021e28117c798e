"""Baselines: by hand, against scikit-learn's own, and blind to val and test."""

import warnings
from collections.abc import Callable

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from polymodal.training import Split
from polymodal.training.baselines import Baseline, forest, logistic, majority, ngram, prior

RNG = np.random.default_rng(0)
Y = np.array([f"c{i % 3}" for i in range(150)])
X = RNG.standard_normal((150, 5)) * [1, 10, 1, 1, 1] + 2 * np.eye(5)[np.arange(150) % 3] * [1, 10, 1, 1, 1]
SPLIT = Split(tuple(range(90)), tuple(range(90, 120)), tuple(range(120, 150)), "group", 0, "")
TEXTS = [f"{'good' if i % 2 else 'bad'} film {i}" for i in range(60)]
TELLS = np.array(["plus" if i % 2 else "minus" for i in range(60)])
HALVES = Split(tuple(range(30)), tuple(range(30, 40)), tuple(range(40, 60)), "group", 0, "")


def test_majority_by_hand() -> None:
    target = ["a", "b", "b", "c", "c"]
    base = majority(target, Split((0, 1, 2, 3, 4), (), (), "group", 0, ""))
    assert base.predict(range(3)).tolist() == ["b"] * 3  # of equals the first by name
    assert base.probabilities(range(2)).tolist() == [[0, 1, 0]] * 2
    assert majority(target, Split((3, 4), (0, 1, 2), (), "group", 0, "")).predict([0]).tolist() == ["c"]


def test_prior_by_hand_and_against_scikit_learn() -> None:
    target = np.array(["a"] * 30 + ["b"] * 10)
    split = Split(tuple(range(40)), (), (), "group", 0, "")
    base = prior(target, split, seed=0)
    dummy = DummyClassifier(strategy="prior").fit(np.zeros((40, 1)), target)
    assert base.probabilities(range(2)) == pytest.approx(dummy.predict_proba(np.zeros((2, 1))))
    drawn = base.predict(range(8000))
    assert (drawn == "a").mean() == pytest.approx(0.75, abs=0.02)
    assert (drawn == base.predict(range(8000))).all()
    assert (drawn != prior(target, split, seed=1).predict(range(8000))).any()


def test_logistic_is_scikit_learn_s_with_the_strength_that_val_prefers() -> None:
    base = logistic(X, Y, SPLIT, seed=0)
    scaler = StandardScaler().fit(X[:90])
    x = scaler.transform(X)
    models = {c: LogisticRegression(C=c, max_iter=1000).fit(x[:90], Y[:90]) for c in (0.01, 0.1, 1.0, 10.0)}
    best = max(models, key=lambda c: models[c].score(x[90:120], Y[90:120]))
    assert base.note == f"C={best:g}"
    assert base.probabilities(X[120:]) == pytest.approx(models[best].predict_proba(x[120:]))
    assert (base.predict(X[120:]) == Y[120:]).mean() > 0.6
    assert base.classes == ("c0", "c1", "c2")


def test_without_val_the_strength_is_one() -> None:
    assert logistic(X, Y, Split(SPLIT.train, (), SPLIT.test, "group", 0, ""), seed=0).note == "C=1"


def test_separable_data_warn_nobody() -> None:
    x = np.repeat([[-1e6], [1e6]], 20, axis=0)
    y = np.repeat(["a", "b"], 20)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        logistic(x, y, Split(tuple(range(40)), (), (), "group", 0, ""), seed=0)


def test_forest_is_scikit_learn_s() -> None:
    base = forest(X, Y, SPLIT, seed=3)
    model = RandomForestClassifier(300, random_state=3).fit(X[:90], Y[:90])
    assert base.probabilities(X[120:]) == pytest.approx(model.predict_proba(X[120:]))
    assert (base.predict(X[120:]) == Y[120:]).mean() > 0.6


def test_ngrams_find_the_word() -> None:
    base = ngram(TEXTS, TELLS, HALVES, seed=0)
    assert (base.predict(np.array(TEXTS[40:])) == TELLS[40:]).all()
    assert base.probabilities(TEXTS[40:]).shape == (20, 2)
    assert base.predict([""]).tolist()[0] in ("plus", "minus")


@pytest.mark.parametrize(
    "fit",
    [
        lambda x, y, split: majority(y, split),
        lambda x, y, split: prior(y, split, seed=0),
        lambda x, y, split: logistic(x, y, split, seed=0),
        lambda x, y, split: forest(x, y, split, seed=0),
    ],
)
def test_test_rows_are_never_seen(fit: Callable[..., Baseline]) -> None:
    x, y = X.copy(), Y.copy()
    x[120:], y[120:] = 1e6, "leak"
    ours, theirs = fit(X, Y, SPLIT), fit(x, y, SPLIT)
    assert theirs.classes == ("c0", "c1", "c2")
    assert theirs.probabilities(X[120:]) == pytest.approx(ours.probabilities(X[120:]))


def test_ngrams_never_see_the_test() -> None:
    poisoned = ngram([*TEXTS[:40], *["leak"] * 20], [*TELLS[:40], *["leak"] * 20], HALVES, seed=0)
    clean = ngram(TEXTS, TELLS, HALVES, seed=0)
    assert poisoned.probabilities(TEXTS[40:]) == pytest.approx(clean.probabilities(TEXTS[40:]))


def test_scores() -> None:
    y = X @ [1, 0.1, 0, 0, 0] + 3
    for base in (logistic(X, y, SPLIT, seed=0), forest(X, y, SPLIT, seed=0)):
        assert np.abs(base.predict(X[120:]) - y[120:]).mean() < np.abs(y[120:] - np.median(y)).mean() / 2
        assert (base.classes, base.probabilities) == ((), None)
    assert majority(y, SPLIT).predict(range(2)) == pytest.approx([np.median(y[:90])] * 2)
    assert set(prior(y, SPLIT, seed=0).predict(range(50))) <= set(y[:90])
    tells = (TELLS == "plus").astype(float)
    assert np.abs(ngram(TEXTS, tells, HALVES, seed=0).predict(TEXTS[40:]) - tells[40:]).max() < 0.5


def test_no_train_rows() -> None:
    with pytest.raises(ValueError, match="needs train rows"):
        majority(["a"], Split((), (), (0,), "group", 0, ""))
