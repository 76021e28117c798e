"""Columns of answers: the hand table, invalid counted wrong, McNemar, thresholds."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, cohen_kappa_score, f1_score

from polymodal.training.study.sheet import Sheet, macro, tuned

TABLE = [[3, 1, 0, 0], [1, 2, 0, 1], [0, 0, 4, 0], [2, 0, 0, 2]]  # rows gold, columns predicted


def pairs():
    cells = [(a, b) for a, row in enumerate(TABLE) for b, n in enumerate(row) for _ in range(n)]
    return (np.array(column, float) for column in zip(*cells, strict=True))


def sheet(n=16, groups=None):
    return Sheet([str(i) for i in range(n)], groups or [str(i) for i in range(n)], seed=0)


def test_hand_table():
    truth, told = pairs()
    found = sheet().scores(told, truth)
    assert found["accuracy"].mean == pytest.approx(0.6875)
    assert found["balanced accuracy"].mean == pytest.approx(0.6875)
    assert found["macro-F1"].mean == pytest.approx(0.6857, abs=5e-5)
    assert found["Cohen kappa"].mean == pytest.approx(0.5833, abs=5e-5)
    assert np.mean(truth // 2 == told // 2) == 0.8125
    assert np.mean(truth % 2 == told % 2) == 0.75
    assert found["macro-F1"].mean == pytest.approx(f1_score(truth, told, average="macro"))
    assert found["balanced accuracy"].mean == pytest.approx(balanced_accuracy_score(truth, told))
    assert found["Cohen kappa"].mean == pytest.approx(cohen_kappa_score(truth, told))


def test_invalid_is_wrong_counted_and_bounded():
    truth, told = pairs()
    told[[0, 15]] = np.nan  # one was right, one was right too
    found = sheet().scores(told, truth)
    assert found["accuracy"].mean == 9 / 16
    assert found["coverage"].mean == 14 / 16
    assert found["accuracy on answered"].mean == 9 / 14
    bound = found["accuracy, invalid right or wrong"]
    assert (bound.low, bound.high) == (9 / 16, 11 / 16)
    assert macro(np.array([0, 0, 1]), np.array([0, -1, 1])) == pytest.approx((2 / 3 + 1) / 2)


def test_unknown_truth_leaves_and_groups_are_bootstrapped():
    one = sheet(4, ["a", "a", "b", "b"])
    right = one.right(np.array([1.0, 0.0, np.nan, 1.0]), np.array([1.0, np.nan, 1.0, 1.0]))
    assert np.isnan(right[1])
    assert one.rate(right).mean == pytest.approx(2 / 3)
    assert one.rate(right).n_groups == 2
    assert sheet(4).rate(right).method == "wilson"


def test_paired_gap_is_mcnemar_s():
    from statsmodels.stats.contingency_tables import mcnemar as theirs

    a = np.array([1.0] * 1 + [0.0] * 9 + [1.0] * 10)
    b = np.array([0.0] * 1 + [1.0] * 9 + [1.0] * 10)
    found = sheet(20).gap(a, b)
    assert found.p == pytest.approx(0.0215, abs=5e-5)
    assert found.p == pytest.approx(theirs([[10, 1], [9, 0]], exact=True).pvalue)
    assert found.mean == pytest.approx(-0.4)
    assert found.high < 0


def test_macro_gap_pairs_two_columns():
    truth, told = pairs()
    gap = sheet().macro_gap(truth, told, truth)
    assert gap.mean == pytest.approx(1 - 0.6857, abs=5e-5)


def test_same_leaves_out_what_is_invalid():
    found = sheet(3).same(np.array([1.0, 0.0, np.nan]), np.array([1.0, 1.0, 1.0]))
    assert found[:2].tolist() == [1.0, 0.0]
    assert np.isnan(found[2])


def test_tuned_threshold_is_the_best_and_the_nearest():
    assert tuned(np.array([0.1, 0.2, 0.6, 0.9]), np.array([False, False, False, True])) == pytest.approx(0.75)
    assert tuned(np.array([0.1, 0.9]), np.array([False, True])) == 0.5


def told(threshold, sure=0.6):
    one = sheet(10)
    truth = np.array([0.0, 1.0] * 5)
    for i in range(10):
        for probe in ("", "negated"):
            one.put(("s", "lv", "adds", probe), str(i), None, sure + 0.2 * truth[i])
        one.put(("s", "lv", "four", ""), str(i), 2.0)
    one.decide({"adds": truth}, threshold, question=2)
    return one, truth


def test_decisions_by_probability():
    one, _ = told("0.5")
    assert one.told["s", "lv", "adds", ""].tolist() == [1.0] * 10
    assert one.kept.all()
    one, truth = told("tuned")
    assert one.told["s", "lv", "adds", "negated"].tolist() == truth.tolist()
    assert one.kept.sum() == 8
    assert one.told["s", "lv", "four", ""].tolist() == [2.0] * 10
    with pytest.raises(ValueError, match="no log-probabilities"):
        told("0.5", sure=np.nan)
