"""Class scores against scikit-learn, and worked cases."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from polymodal.metrics import (
    ACCURACY,
    AUROC,
    BALANCED_ACCURACY,
    MACRO_F1,
    WEIGHTED_F1,
    accuracy,
    auroc,
    balanced_accuracy,
    confusion,
    macro_f1,
    per_class,
    weighted_f1,
)

TARGET = ["ang", "ang", "ang", "hap", "hap", "sad"]
PREDICTION = ["ang", "hap", "ang", "hap", "neu", "ang"]
PAIRS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=30)


def test_by_hand():
    assert accuracy(TARGET, PREDICTION) == 3 / 6
    assert balanced_accuracy(TARGET, PREDICTION) == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    # F1: ang 4/6, hap 2/4, sad 0, neu 0 (predicted only); by support 3, 2, 1, 0.
    assert macro_f1(TARGET, PREDICTION) == pytest.approx((2 / 3 + 1 / 2) / 4)
    assert weighted_f1(TARGET, PREDICTION) == pytest.approx((3 * 2 / 3 + 2 * 1 / 2) / 6)


def test_confusion_by_hand():
    classes, matrix = confusion(TARGET, PREDICTION)
    assert classes == ("ang", "hap", "neu", "sad")
    assert matrix.tolist() == [[2, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0], [1, 0, 0, 0]]
    ordered = confusion([1, 0], [1, 1], classes=[2, 1, 0])
    assert ordered.classes == (2, 1, 0)
    assert ordered.matrix.tolist() == [[0, 0, 0], [0, 1, 0], [0, 1, 0]]
    with pytest.raises(ValueError, match="outside classes"):
        confusion([1, 0], [1, 5], classes=[0, 1])


@settings(max_examples=15, deadline=None)
@given(PAIRS)
def test_against_scikit_learn(pairs):
    target, prediction = np.array(pairs).T
    names = np.array(["e", "a", "d", "b", "c"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of classes that are predicted only
        expected = [
            reference.accuracy_score(target, prediction),
            reference.balanced_accuracy_score(target, prediction),
            reference.f1_score(target, prediction, average="macro", zero_division=0),
            reference.f1_score(target, prediction, average="weighted", zero_division=0),
        ]
        table = reference.confusion_matrix(target, prediction)
        p, r, f, n = reference.precision_recall_fscore_support(target, prediction, zero_division=0)
    for t, q in ((target, prediction), (names[target], names[prediction])):
        ours = [score(t, q) for score in (accuracy, balanced_accuracy, macro_f1, weighted_f1)]
        assert ours == pytest.approx(expected, abs=1e-12)
    assert (confusion(target, prediction).matrix == table).all()
    rows = per_class(target, prediction)
    assert [row.precision for row in rows] == pytest.approx(list(p), abs=1e-12)
    assert [row.recall for row in rows] == pytest.approx(list(r), abs=1e-12)
    assert [row.f1 for row in rows] == pytest.approx(list(f), abs=1e-12)
    assert [row.n for row in rows] == list(n)


def test_auroc_by_hand_with_ties():
    assert auroc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]) == 0.75
    assert auroc([0, 1], [0.5, 0.5]) == 0.5
    assert auroc([False, True], [1, 2]) == 1.0
    assert np.isnan(auroc([1, 1], [0.1, 0.2]))


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=2, max_size=40))
def test_auroc_against_scikit_learn(pairs):
    target, score = (np.array(x) for x in zip(*pairs, strict=True))
    if target.all() or not target.any():
        assert np.isnan(auroc(target, score))
    else:
        assert auroc(target, score) == pytest.approx(reference.roc_auc_score(target, score), abs=1e-12)
        assert auroc(target, score) == pytest.approx(1 - auroc(target, -score))


def test_auroc_of_several_classes_is_one_against_the_rest():
    rng = np.random.default_rng(0)
    target, given_ = rng.integers(0, 3, 60), rng.dirichlet([1, 1, 1], 60)
    assert auroc(target, given_) == pytest.approx(reference.roc_auc_score(target, given_, multi_class="ovr"))
    # A class that nobody has is left out of the mean instead of making it undefined.
    two = np.where(target == 2, 0, target)
    known = [reference.roc_auc_score(two == k, given_[:, k]) for k in (0, 1)]
    assert auroc(two, given_) == pytest.approx(np.mean(known))
    assert np.isnan(auroc([0, 0], np.eye(2)))


@pytest.mark.parametrize("score", [accuracy, balanced_accuracy, macro_f1, weighted_f1, confusion, auroc])
def test_nothing_is_an_error(score):
    with pytest.raises(ValueError, match="no samples"):
        score([], [])
    with pytest.raises(ValueError, match="2 targets but 1"):
        score([1, 0], [1])


def test_labels_of_the_wrong_kind_are_named():
    with pytest.raises(ValueError, match=r"look like scores: \[0\.5, 1\.0\]"):
        accuracy([0.5, 1.0], [1, 0])
    with pytest.raises(ValueError, match=r"target holds \['a'\] but prediction \[1\]"):
        accuracy(["a"], [1])
    with pytest.raises(ValueError, match="text or whole numbers"):
        accuracy(np.array([None, "a"], dtype=object), ["a", "a"])
    with pytest.raises(ValueError, match="0 or 1"):
        auroc([0, 2], [0.1, 0.2])
    assert accuracy(np.array(["a", "b"], dtype=object), ["a", "a"]) == 0.5
    assert accuracy([1.0, 2.0], [1, 2]) == 1.0


@pytest.mark.parametrize("metric", [ACCURACY, BALANCED_ACCURACY, MACRO_F1, WEIGHTED_F1, AUROC])
def test_direction_and_range(metric):
    assert (metric.better, metric.low, metric.high) == ("higher", 0.0, 1.0)
    truth = np.array([0, 1, 1, 0])
    assert metric.score(truth, truth) == 1.0
    assert metric.score(truth, 1 - truth) == 0.0
