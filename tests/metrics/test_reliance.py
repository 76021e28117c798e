"""Reliance: the worked table, what other code gets wrong, scikit-free recounts, coverage of intervals."""

import numpy as np
import pytest
from scipy.stats import norm

from polymodal.metrics import advised, delegated, reliance, reliance_difference, sensitivity
from polymodal.metrics.reliance import best_cut, expected_accuracy, weight_of_advice

NAN = float("nan")
TABLE = [
    (6, ("y", "y", "w", "y")), (4, ("y", "y", "w", "w")),  # own wrong, advice right
    (3, ("y", "w", "y", "w")), (7, ("y", "w", "y", "y")),  # own right, advice wrong
    (2, ("y", "w", "v", "w")), (3, ("y", "w", "v", "v")),  # both wrong, in different ways
    (20, ("y", "y", "y", "y")),
]  # fmt: skip


def table():
    rows = [row for n, row in TABLE for _ in range(n)]
    return [list(column) for column in zip(*rows, strict=True)], np.arange(len(rows)) % 10


def planted(rng, people, trials, dprime, cut, items=60):
    n = people * trials
    rater, item = np.repeat(np.arange(people), trials), rng.integers(items, size=n)
    right = rng.random(n) < 0.7
    own = rng.random(n) < 0.7
    truth = np.zeros(n, dtype=int)
    h0 = np.where(own, 0, 1 + rng.integers(3, size=n))
    a = np.where(right, 0, 1 + rng.integers(3, size=n))
    follows = dprime * right + rng.normal(size=n) > cut
    h1 = np.where((h0 != a) & follows, a, h0)
    return truth, a, h0, h1, rater, item


def test_the_worked_table():
    columns, rater = table()
    found = reliance(advised(*columns, rater=rater))
    expected = {
        "rair": 0.6, "rsr": 0.7, "over-reliance": 0.3, "under-reliance": 0.4, "hit rate": 0.6,
        "false alarm rate": 1 / 3, "switch share": 11 / 25, "agreement share": 31 / 45, "neither share": 0,
        "own accuracy": 30 / 45, "advice accuracy": 30 / 45, "final accuracy": 33 / 45,
        "gain over own": 3 / 45, "gain over advice": 3 / 45, "regret": 7 / 45,
    }  # fmt: skip
    for name, value in expected.items():
        assert found[name].mean == pytest.approx(value), name
    worked = {"d'": 0.6841, "criterion": 0.0887, "d', log-linear": 0.6321, "criterion, log-linear": 0.0862}
    for name, value in worked.items():
        assert found[name].mean == pytest.approx(value, abs=5e-5), name
    parts = found["regret, criterion"].mean + found["regret, sensitivity"].mean
    assert parts == pytest.approx(found["regret"].mean)
    assert all(one.low <= one.mean <= one.high for one in found.values())


def test_the_circulating_code_is_wrong():
    (y, a, h0, h1), rater = table()
    y, a, h0, h1 = map(np.array, (y, a, h0, h1))
    theirs = float(((h0 == y) & (a != y) & (h1 == h0)).sum() / (a != y).sum())  # all trials with wrong advice
    assert theirs == pytest.approx(7 / 15)
    assert reliance(advised(y, a, h0, h1, rater=rater))["rsr"].mean == pytest.approx(0.7)


def test_an_answer_equal_to_neither_does_not_follow_and_is_counted():
    found = reliance(
        advised(list("yyyy"), list("yyww"), list("wwyy"), list("yvvw"), rater=[1, 1, 2, 2]), draws=50
    )
    assert found["rair"].mean == 0.5
    assert found["rsr"].mean == 0
    assert found["neither share"].mean == 0.5


def test_empty_denominators_are_nan_with_a_reason_never_zero():
    found = reliance(advised([1, 1], [1, 1], [1, 1], [1, 1], rater=["a", "b"]), draws=20)
    assert np.isnan(found["rair"].mean)
    assert found["rair"].n_valid == 0
    assert found["rair"].reason == "no trial of this kind"
    assert found["final accuracy"].mean == 1


def test_without_initial_answers_only_detection_is_known():
    right = [1, 1, 1, 1, 0, 0, 0, 0, NAN]
    follows = [1, 1, 1, 0, 1, 0, 0, 0, 1]
    found = reliance(delegated(right, follows, rater=list("aabbaabba")), draws=50)
    assert found["d'"].mean == pytest.approx(norm.ppf(0.75) - norm.ppf(0.25))
    assert found["d'"].n == 9
    assert np.isnan(found["rair"].mean)
    assert "instead of answering" in found["rair"].reason
    with pytest.raises(ValueError, match="0 or 1"):
        delegated([2], [1], rater=["a"])


def test_log_linear_takes_over_at_the_edge():
    found = reliance(delegated([1, 1, 0, 0], [1, 1, 0, 1], rater=list("abab")), draws=20)
    assert found["d'"].mean == pytest.approx(norm.ppf(2.5 / 3) - norm.ppf(1.5 / 3))
    d, c = sensitivity([3, 0], [4, 0], [1, 1], [4, 4])
    assert d[0] == pytest.approx(norm.ppf(3.5 / 5) - norm.ppf(1.5 / 5))
    assert c[0] == pytest.approx(0, abs=1e-12)
    assert np.isnan(d[1])


def test_planted_rates_come_back_and_parts_of_regret_add_up():
    *columns, rater, item = planted(np.random.default_rng(1), 100, 60, 1.5, 0.75)
    found = reliance(advised(*columns, rater=rater, item=item), draws=300)
    assert found["rair"].mean == pytest.approx(norm.cdf(0.75), abs=0.04)
    assert found["d'"].mean == pytest.approx(1.5, abs=0.1)
    assert found["d'"].low < 1.5 < found["d'"].high
    expected = expected_accuracy(0.7, 0.7, norm.cdf(0.75), norm.cdf(0.75))
    assert found["final accuracy"].mean == pytest.approx(expected, abs=0.02)
    assert found["regret, criterion"].mean == pytest.approx(0, abs=0.005)  # .75 is the best cut here
    assert best_cut(1.5, 0.7, 0.7) == pytest.approx(0.75)


def test_the_best_cut_beats_its_neighbours():
    mu, own, advice = 0.5, 0.7, 0.7375

    def accuracy(cut):
        return expected_accuracy(own, advice, norm.sf(cut - mu), norm.cdf(cut))

    best = best_cut(mu, own, advice)
    assert all(accuracy(best) > accuracy(best + step) for step in (-0.05, 0.05))
    with pytest.raises(ValueError, match="above 0"):
        best_cut(0, own, advice)


def test_intervals_widen_where_items_matter():
    rng = np.random.default_rng(2)
    n = 40 * 20
    item = np.tile(np.arange(20), 40)
    follows = (rng.random(20) < 0.5)[item]  # everybody does the same at an item
    right = np.tile(np.arange(20) % 2, 40)
    rater = np.repeat(np.arange(40), 20)
    one = reliance(delegated(right, follows, rater=rater), draws=200)["hit rate"]
    flips = np.where(rng.random(n) < 0.05, ~follows, follows)
    narrow = reliance(delegated(right, flips, rater=rater), draws=200)["hit rate"]
    wide = reliance(delegated(right, flips, rater=rater, item=item), draws=200)["hit rate"]
    assert one.high - one.low < 1e-9
    assert wide.high - wide.low > 5 * (narrow.high - narrow.low)
    assert 0 <= wide.low <= wide.mean <= wide.high <= 1


def test_intervals_cover_at_their_level():
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(60):
        *columns, rater, item = planted(rng, 30, 20, 1.0, 0.5)
        one = reliance(advised(*columns, rater=rater, item=item), draws=150)["rair"]
        hits += one.low <= norm.cdf(0.5) <= one.high
    assert hits >= 52  # .95 of 60 is 57; 51 or fewer would come once in a hundred


def test_differences_pair_people_who_are_in_both():
    rng = np.random.default_rng(4)
    *low, rater, item = planted(rng, 80, 40, 0.5, 0.25)
    *high, _, _ = planted(rng, 80, 40, 1.5, 0.75)
    one, other = advised(*low, rater=rater, item=item), advised(*high, rater=rater, item=item)
    found = reliance_difference(other, one, draws=300)
    assert found["d'"].low > 0.5
    assert found["d'"].high < 1.5
    same = reliance_difference(one, one, draws=50)["d'"]
    assert same.mean == same.low == same.high == 0
    apart = advised(*low, rater=rater + 1000, item=item)
    found = reliance_difference(one, apart, draws=100)["d'"]
    assert found.low < 0 < found.high
    with pytest.raises(ValueError, match="both sides"):
        reliance_difference(one, one.pick(np.zeros(len(one.rater), dtype=bool)))


def test_one_person_has_rates_without_intervals():
    found = reliance(advised(list("yy"), list("yw"), list("wy"), list("yy"), rater=["a", "a"]))
    assert found["rair"].mean == 1
    assert np.isnan(found["rair"].low)
    assert "one person" in found["rair"].reason


def test_what_is_missing_is_counted():
    found = reliance(advised([1, 1, None], [1, NAN, 1], [0, 1, 1], [1, 1, 1], rater=list("aab")))
    assert found["own accuracy"].n == 3
    assert found["own accuracy"].n_valid == 1
    with pytest.raises(ValueError, match="one length"):
        advised([1], [1], [1], [1, 2], rater=["a"])
    with pytest.raises(ValueError, match="no valid trial"):
        reliance(advised([None], [1], [1], [1], rater=["a"]))


def test_weight_of_advice():
    raw, clipped = weight_of_advice([10, 10, 10], [20, 20, 10], [16, 25, 12])
    assert raw[:2].tolist() == [0.6, 1.5]
    assert clipped[:2].tolist() == [0.6, 1.0]
    assert np.isnan(raw[2])
    assert np.isnan(clipped[2])
