"""Preferences: worked values, choix, a general optimiser, planted strengths, what has no scale."""

import math

import choix
import numpy as np
import pytest
from scipy.optimize import minimize

from polymodal.metrics import bradley_terry, elo_k4


def planted(n=4000, k=8, seed=0, nu=0.0, side=0.0):
    rng = np.random.default_rng(seed)
    theta = rng.normal(size=k)
    theta -= theta.mean()
    i = rng.integers(k, size=n)
    j = (i + rng.integers(1, k, size=n)) % k
    delta = theta[i] - theta[j] + side
    up, down = np.exp(delta / 2), np.exp(-delta / 2)
    u = rng.random(n) * (up + down + nu)
    return theta, i, j, np.where(u < up, 1.0, np.where(u < up + down, 0.0, 0.5))


def test_three_wins_to_one():
    found = bradley_terry(["a"] * 4, ["b"] * 4, [1, 1, 1, 0], draws=0)
    assert found.theta["a"].mean - found.theta["b"].mean == pytest.approx(math.log(3))
    elo = found.elo()
    assert elo["a"].mean - elo["b"].mean == pytest.approx(190.85, abs=5e-3)
    assert elo["a"].mean + elo["b"].mean == pytest.approx(2000)
    assert "no bootstrap" in elo["a"].reason


def test_against_choix():
    _, i, j, y = planted()
    games = [(a, b) if won else (b, a) for a, b, won in zip(i.tolist(), j.tolist(), y, strict=True)]
    peer = choix.ilsr_pairwise(8, games, alpha=1e-6)
    ours = [one.mean for one in bradley_terry(i, j, y, draws=0).theta.values()]
    assert ours == pytest.approx(peer - peer.mean(), abs=1e-5)
    assert sum(ours) == pytest.approx(0, abs=1e-9)


def test_a_tie_is_half_a_win_to_each():
    ties = bradley_terry(list("aaab"), list("bbbc"), [1, 0.5, 0, 0.5], draws=0).theta
    assert ties["a"].mean == pytest.approx(ties["b"].mean)
    assert ties["b"].mean == pytest.approx(ties["c"].mean)


def test_davidson_against_a_general_optimiser():
    theta, i, j, y = planted(nu=0.7)
    ours = bradley_terry(i, j, y, davidson=True, draws=40)

    def loss(at):
        delta, nu = at[:8][i] - at[:8][j], np.exp(at[8])
        chosen = np.where(y == 1, delta / 2, np.where(y == 0, -delta / 2, at[8]))
        return -(chosen - np.log(np.exp(delta / 2) + np.exp(-delta / 2) + nu)).sum() + at[:8].sum() ** 2

    peer = minimize(loss, np.zeros(9), method="BFGS").x
    assert [one.mean for one in ours.theta.values()] == pytest.approx(peer[:8], abs=1e-3)
    assert ours.tie.mean == pytest.approx(math.exp(peer[8]), abs=1e-3)
    assert ours.tie.low < 0.7 < ours.tie.high
    assert [one.mean for one in ours.theta.values()] == pytest.approx(theta, abs=0.25)


def test_intervals_hold_the_planted_strengths():
    theta, i, j, y = planted(seed=3)
    found = bradley_terry(i, j, y, draws=200)
    inside = [one.low <= t <= one.high for one, t in zip(found.theta.values(), theta, strict=True)]
    assert sum(inside) >= 6
    again = bradley_terry(i, j, y, draws=200)
    assert again == found


def test_whole_items_and_raters_are_drawn():
    rng = np.random.default_rng(1)
    item = rng.integers(40, size=4000)
    better = rng.random(40) < 0.5  # whichever is better at an item is better for everybody
    y = np.where(rng.random(4000) < 0.9, better[item], ~better[item]).astype(float)
    a, b = ["a"] * 4000, ["b"] * 4000
    alone = bradley_terry(a, b, y, draws=100).theta["a"]
    drawn = bradley_terry(a, b, y, item=item, rater=np.arange(4000) % 50, draws=100).theta["a"]
    assert drawn.high - drawn.low > 5 * (alone.high - alone.low)
    assert drawn.n_groups == 40


def test_the_first_place_has_its_own_slope():
    _, i, j, y = planted(side=0.4, seed=2)
    found = bradley_terry(i, j, y, covariates=np.ones(len(i)), draws=100)
    assert found.covariates[0].low < 0.4 < found.covariates[0].high
    assert found.covariates[0].low > 0
    plain = bradley_terry(i, j, y, draws=0)
    assert plain.covariates == ()


def test_no_comparison_joins_them():
    with pytest.raises(ValueError, match=r"no comparison joins these: a, b \| c, d"):
        bradley_terry(list("acb"), list("bda"), [1, 0, 1])


def test_one_set_never_lost_to_the_other():
    first, second = list("abcda"), list("badcc")
    with pytest.raises(ValueError, match="nobody of one set ever lost"):
        bradley_terry(first, second, [1, 1, 1, 1, 1])


def test_who_never_lost_is_infinite_with_a_bound():
    first, second, y = list("aabbbc"), list("bcccca"), [1, 1, 1, 1, 0, 0]
    found = bradley_terry(first, second, y, draws=20).theta
    assert found["a"].mean == found["a"].high == math.inf
    rivals = [found[x].mean for x in "bcc"]
    assert math.prod(1 / (1 + math.exp(r - found["a"].low)) for r in rivals) == pytest.approx(0.05)
    assert "never lost: at least" in found["a"].reason
    worst = bradley_terry(first, second, [1 - x for x in y], draws=0).theta["a"]
    assert worst.mean == worst.low == -math.inf
    assert "never won: at most" in worst.reason
    assert worst.high == pytest.approx(-found["a"].low)


def test_a_chain_of_unbeaten_subjects():
    found = bradley_terry(list("abc"), list("bca"), [1, 1, 0], draws=10).theta
    assert found["a"].mean == math.inf
    assert found["c"].mean == -math.inf
    assert found["b"].mean == 0
    assert found["a"].low == pytest.approx(math.log(0.05 / 0.95))  # one win alone says little
    assert found["c"].high == pytest.approx(-found["a"].low)


@pytest.mark.parametrize(
    ("first", "second", "outcome", "message"),
    [
        (["a"], ["a"], [1], "with itself"),
        (["a"], ["b"], [2], "1 .first., 0 .second. or .5"),
        (["a"], ["b"], [float("nan")], "no comparison has an outcome"),
        (["a"], ["b"], [1, 0], "one length"),
    ],
)
def test_what_is_no_comparison_says_so(first, second, outcome, message):
    with pytest.raises(ValueError, match=message):
        bradley_terry(first, second, outcome)


def test_elo_as_arenas_print_it_depends_on_the_order():
    first, second = list("aab"), list("bbc")
    found = elo_k4(first, second, [1, 1, 0])
    second_gain = 4 * (1 - 1 / (1 + 10 ** (-4 / 400)))
    assert found["a"] == pytest.approx(1000 + 2 + second_gain)
    backwards = elo_k4(first[::-1], second[::-1], [0, 1, 1])
    assert found["b"] != backwards["b"]
    assert sum(found.values()) == pytest.approx(3000)
