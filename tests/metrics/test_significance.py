"""Paired tests against scipy and statsmodels, and worked cases."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
from statsmodels.stats.multitest import multipletests

from polymodal.metrics import benjamini_hochberg, holm, mcnemar, permutation, wilcoxon


@pytest.mark.parametrize(("b", "c", "p"), [(12, 3, 0.03516), (10, 0, 0.00195), (0, 0, 1.0), (4, 4, 1.0)])
def test_mcnemar_by_hand(b, c, p):
    assert mcnemar(b, c) == pytest.approx(p, abs=5e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_against_statsmodels(b, c):
    if b + c:
        expected = reference_mcnemar([[5, b], [c, 9]], exact=True).pvalue
        assert mcnemar(b, c) == pytest.approx(expected, rel=1e-9)
    assert mcnemar(b, c) == mcnemar(c, b)


def test_mcnemar_refuses_negative_counts():
    with pytest.raises(ValueError, match="counts pairs"):
        mcnemar(-1, 2)


def test_holm_by_hand_and_nan_does_not_count():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    with_gap = holm([0.01, np.nan, 0.04, 0.03, 0.005])
    assert np.isnan(with_gap[1])
    assert np.delete(with_gap, 1) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_benjamini_hochberg_by_hand_and_nan_does_not_count():
    expected = [0.02, 0.04, 0.04, 0.02]
    assert benjamini_hochberg([0.01, 0.04, 0.03, 0.005]) == pytest.approx(expected)
    assert np.isnan(benjamini_hochberg([np.nan])).all()
    assert benjamini_hochberg([]).size == 0


@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_corrections_against_statsmodels(n):
    p = np.random.default_rng(n).random(n).round(1) ** 2
    for ours, name in ((holm, "holm"), (benjamini_hochberg, "fdr_bh")):
        assert ours(p) == pytest.approx(multipletests(p, method=name)[1], abs=1e-12)


def test_corrections_refuse_what_is_no_p_value():
    with pytest.raises(ValueError, match="p-values lie"):
        holm([0.2, 1.2])


def test_permutation_by_hand():
    # Five groups all in favour: only the identity and its mirror reach it, 2 of 32.
    assert permutation([1.0] * 5, [0.0] * 5) == pytest.approx(2 / 32)
    assert permutation([1.0, 2.0], [1.0, 2.0]) == 1.0
    assert np.isnan(permutation([np.nan], [1.0]))


def test_permutation_enumerates_few_groups():
    rng = np.random.default_rng(3)
    change = rng.normal(0.4, 1, 9)
    signs = np.array(list(itertools.product([1, -1], repeat=9)))
    expected = np.mean(np.abs(signs @ change) >= abs(change.sum()) - 1e-12)
    assert permutation(change, np.zeros(9)) == pytest.approx(expected)
    reference = stats.permutation_test((change,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert permutation(change, np.zeros(9)) == pytest.approx(reference.pvalue)


def test_permutation_flips_whole_groups_and_draws_when_there_are_many():
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(30), 10)
    shared = rng.normal(size=30)[group]
    assert permutation(shared, np.zeros(300), group=group) > 0.02
    assert permutation(shared + 2, np.zeros(300), group=group, draws=999) == pytest.approx(1 / 1000)
    by_hand = permutation(shared[::10], np.zeros(30), seed=5)
    assert permutation(shared, np.zeros(300), group=group, seed=5) == by_hand


def test_permutation_holds_its_level():
    rng = np.random.default_rng(0)
    found = [permutation(rng.normal(size=25), np.zeros(25), seed=i, draws=200) for i in range(400)]
    assert np.mean(np.array(found) <= 0.05) == pytest.approx(0.05, abs=0.03)


def test_pairs_must_match():
    with pytest.raises(ValueError, match="pairs are needed"):
        permutation([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="no samples"):
        wilcoxon([], [])


def test_wilcoxon_by_hand():
    # Six differences of one sign: 2 of the 64 signings reach it.
    assert wilcoxon([1, 2, 3, 4, 5, 6, 9], [0, 0, 0, 0, 0, 0, 9]) == pytest.approx(2 / 64)
    assert wilcoxon([1, 2], [1, 2]) == 1.0
    assert wilcoxon([1.0, np.nan], [1.0, 3.0]) == 1.0
