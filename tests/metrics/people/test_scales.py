"""Scales: worked keys, reliability against closed forms and scikit-learn, straight lines, coders."""

import math

import numpy as np
import pytest
from sklearn.decomposition import FactorAnalysis

from polymodal.metrics import alpha
from polymodal.metrics.people import coding, cronbach, omega, scored, straight
from polymodal.systems.user_trust import method

KEYS = method.instruments()
NAN = float("nan")


def parallel(n, width, rho, seed=0):
    rng = np.random.default_rng(seed)
    return np.sqrt(rho) * rng.normal(size=(n, 1)) + np.sqrt(1 - rho) * rng.normal(size=(n, width))


def test_jian_by_hand_in_both_subscales():
    found = scored(KEYS["jian"], np.array([[2.0] * 5 + [6.0] * 7]))
    assert {name: x[0] for name, x in found.items()} == {
        "distrust": 2, "trust": 6, "familiarity": 6, "composite": 6,
    }  # fmt: skip


def test_tlx_raw_and_weighted():
    ratings, ranks = np.array([[10.0, 20, 30, 40, 50, 60]]), np.array([[5, 4, 3, 2, 1, 0]])
    found = scored(KEYS["tlx"], ratings, ranks)
    assert found["raw"][0] == 35
    assert found["weighted"][0] == pytest.approx(350 / 15)
    with pytest.raises(ValueError, match="sum to 15"):
        scored(KEYS["tlx"], ratings, ranks + 1)
    with pytest.raises(ValueError, match="has none"):
        scored(KEYS["jian"], np.full((1, 12), 4.0), np.ones((1, 12)))


def test_mdmt_leaves_out_what_does_not_fit_and_nothing_missing_is_zero():
    answers = np.full((1, 16), 6.0)
    answers[0, :2] = NAN
    answers[0, 8:12] = NAN
    found = scored(KEYS["mdmt"], answers)
    assert found["reliable"][0] == 6  # half of it is enough
    assert math.isnan(found["ethical"][0])
    assert found["moral"][0] == 6
    assert found["capacity"][0] == 6
    answers[0, 2] = NAN
    assert math.isnan(scored(KEYS["mdmt"], answers)["reliable"][0])


def test_probes_and_propensity():
    assert scored(KEYS["s-tias"], np.array([[5.0, 6, 7]]))["trust"][0] == 6
    assert scored(KEYS["propensity"], np.array([[3.0]]))["propensity"][0] == 3


@pytest.mark.parametrize(("x", "message"), [([[1.0, 2.0]], "12 items"), ([[8.0] * 12], "between 1 and 7")])
def test_answers_off_the_scale_are_refused(x, message):
    with pytest.raises(ValueError, match=message):
        scored(KEYS["jian"], np.array(x))


@pytest.mark.parametrize(("width", "rho", "expected"), [(12, 0.3, 0.837), (3, 0.5, 0.75)])
def test_cronbach_of_parallel_items(width, rho, expected):
    x = parallel(4000, width, rho)
    found = cronbach(x, draws=50)
    assert found.mean == pytest.approx(expected, abs=0.02)
    variances = x.var(axis=0, ddof=1).sum() / x.sum(axis=1).var(ddof=1)
    assert found.mean == pytest.approx(width / (width - 1) * (1 - variances))
    assert found.low < found.mean < found.high


def test_omega_of_one_factor_against_factor_analysis():
    x = parallel(2000, 6, 0.4) * [1, 1, 1, 2, 1, 1] + parallel(2000, 6, 0.1, 1) * 0.3
    found = omega(x)
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    peer = FactorAnalysis(1).fit(z)
    loading = abs(peer.components_[0].sum()) ** 2
    assert found.mean == pytest.approx(loading / (loading + peer.noise_variance_.sum()), abs=0.01)
    assert found.low < found.mean < found.high
    assert math.isnan(omega(x[:, :2]).mean)


def test_straight_lines_are_seen():
    rows = np.array([[4] * 12, [4] * 10 + [1, 2], [4] * 9 + [1, 2, 3], [1, 2] * 6], dtype=float)
    assert straight(rows).tolist() == [True, True, False, False]
    short = np.array([[3, 3, 3, 3], [3, 3, 3, 5]], dtype=float)
    assert straight(short, reverse=[1]).tolist() == [True, False]


def test_coders_agree_as_planted():
    rng = np.random.default_rng(0)
    truth = rng.random((2000, 1)) < 0.5
    codes = np.where(rng.random((2000, 2)) < 0.8, truth, ~truth).astype(float)
    found = coding({"one": codes.tolist(), "alone": [[1.0, NAN]]}, seed=0, draws=50)
    assert found["one"].low < 0.36 < found["one"].high
    assert found["one"].mean == pytest.approx(alpha(codes))
    assert "two ratings" in found["alone"].reason
    assert found["all"].n_valid == 2000
