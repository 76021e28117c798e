"""Association: by hand, against second implementations, and with honest false alarms where data are few."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from polymodal.training.leaks.association import Outcome, linked, named, ordered, outcome, revealing, shares

SETS = 100


def classes(codes: np.ndarray) -> Outcome:
    return Outcome(codes, tuple("abcdefgh"[: codes.max() + 1]))


def alone(n: int) -> np.ndarray:
    return np.arange(n)


def test_outcome_of_classes_scores_and_nothing() -> None:
    known = outcome(["b", None, "a", 3.0, float("nan")])
    assert known.names == ("3.0", "a", "b")
    assert known.codes.tolist() == [2, -1, 1, 0, -1]
    assert known.indicators()[1].sum() == 0
    scores = outcome([*np.arange(10.0).tolist(), None])
    assert scores.codes.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, -1]
    assert scores.names[0] == "lowest to 1.8"
    assert scores.names[-1] == "7.2 to highest"
    assert outcome([0.0, 1.0, 1.0, 0.0]).codes.tolist() == [0, 1, 1, 0]
    assert outcome([None, None]).names == ()


def test_area_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=300)
    x = np.round(rng.normal(size=(300, 4)), 1)
    x[:, 2] = rng.normal(size=300) - np.where(y == 1, 8, 0)
    found = revealing(x, classes(y), alone(300))
    assert found == {2: f"AUC {1 - roc_auc_score(y == 1, x[:, 2]):.4g} for b"}


def test_perfect_column_among_missing_cells_is_found() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=200)
    x = rng.normal(size=(200, 3))
    x[:, 1] = np.where(rng.random(200) < 0.4, np.nan, y)
    x[:, 2] = np.nan
    assert list(revealing(x, classes(y), alone(200))) == [1]


def test_nothing_to_tell_apart() -> None:
    y = np.zeros(20, dtype=int)
    assert revealing(np.arange(20.0)[:, None], classes(y), alone(20)) == {}
    assert revealing(np.zeros((20, 2)), classes(np.arange(20) % 2), alone(20)) == {}
    assert revealing(np.zeros((2, 1)), classes(np.array([0, 1])), alone(2)) == {}


@pytest.mark.parametrize("kind", ["rare class", "one class a group"])
def test_a_column_at_random_seldom_tells_a_class(kind: str) -> None:
    """.98 is reached by chance with three of a class, or with six patients; the finding is not."""
    rng, alarms, reached = np.random.default_rng(0), 0, 0
    for _ in range(SETS):
        if kind == "rare class":
            y, groups = np.where(np.arange(60) < 3, 1, 0), alone(60)
            x = rng.normal(size=(60, 400))
        else:
            groups = np.repeat(np.arange(6), 10)
            y = rng.permutation([0, 0, 0, 1, 1, 1])[groups]
            x = rng.normal(size=(6, 30))[groups] + rng.normal(0, 0.01, (60, 30))
        alarms += bool(revealing(x, classes(y), groups))
        reached += bool(revealing(x, classes(y), alone(60), tries=1))
    assert alarms <= 0.05 * SETS
    assert reached > 0.05 * SETS


def test_the_label_itself_is_found_among_a_dozen_patients() -> None:
    groups = np.repeat(np.arange(12), 5)
    y = (np.arange(12) % 2)[groups]
    x = np.random.default_rng(0).normal(size=(60, 40))
    x[:, 7] = 5 - 2 * y
    assert list(revealing(x, classes(y), groups)) == [7]


def test_order_of_a_score_is_spearman() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=50)
    b = a + rng.normal(size=50)
    ranks = stats.rankdata(b)[:, None]
    one = np.zeros(50, dtype=int)
    ratio, p = linked(a, ranks, one)
    assert ratio == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-12)
    assert p == pytest.approx(stats.chi2.sf(49 * ratio**2, 1), rel=1e-6)


def test_order_of_classes_is_kruskal_and_wallis() -> None:
    rng = np.random.default_rng(1)
    y = rng.integers(4, size=80)
    position = np.round(rng.normal(size=80) + y, 1)
    value, p = stats.kruskal(*[position[y == k] for k in range(4)])
    ratio, found = linked(position, classes(y).indicators(), np.zeros(80, dtype=int))
    assert ratio == pytest.approx(np.sqrt(value / 79), abs=1e-12)
    assert found == pytest.approx(p, rel=1e-6)


def test_order_where_nothing_varies() -> None:
    one = np.zeros(10, dtype=int)
    assert linked(np.zeros(10), np.eye(10)[:, :2], one) == (0.0, 1.0)
    assert linked(np.arange(10.0), np.ones((10, 1)), one) == (0.0, 1.0)
    assert linked(np.arange(10.0), np.eye(10)[:, :2], np.arange(10)) == (0.0, 1.0)
    assert ordered(np.arange(3.0), classes(np.arange(3)), one[:3]) == ""


def test_order_inside_groups_and_between_groups() -> None:
    groups = np.repeat(np.arange(30), 8)
    y = np.tile([0, 0, 0, 0, 1, 1, 1, 1], 30)
    assert "within groups" in ordered(np.arange(240.0), classes(y), groups)
    whole = (np.arange(30) >= 15).astype(int)[groups]
    assert "within" not in ordered(np.arange(240.0), classes(whole), groups) != ""
    assert ordered(np.arange(240.0), classes(np.tile([0, 1], 120)), groups) == ""


@pytest.mark.parametrize(("n", "each", "k"), [(60, 1, 6), (12, 20, 6), (40, 10, 3), (8, 30, 2)])
def test_speakers_with_favourites_do_not_look_like_an_order(n: int, each: int, k: int) -> None:
    """Neighbouring ids share a speaker and speakers have favourite classes: |Spearman| > .3 by itself."""
    rng, alarms = np.random.default_rng(0), 0
    for _ in range(SETS):
        groups = np.repeat(np.arange(n), each)
        favourite = rng.integers(k, size=n)[groups]
        y = np.where(rng.random(n * each) < 0.8, favourite, rng.integers(k, size=n * each))
        alarms += bool(ordered(np.arange(n * each) * 1.0, classes(y), groups))
    assert alarms <= 0.05 * SETS


def test_words_that_tell_a_class() -> None:
    y = np.tile([0, 1, 2], 30)
    words = [f"w{k}" if i else None for i, k in enumerate(y)]
    found = named(words, classes(y), alone(90))
    assert found == ["'w1': AUC 1 for b", "'w2': AUC 1 for c", "'w0': AUC 0.9833 for a"]
    assert named(["same"] * 90, classes(y), alone(90)) == []
    assert named([str(i) for i in range(90)], classes(y), alone(90)) == []


def test_shares_without_groups_is_the_plain_test() -> None:
    rng = np.random.default_rng(0)
    y, side = rng.integers(3, size=200), rng.choice(["train", "val", "test"], 200)
    table = [[((y == k) & (side == s)).sum() for k in range(3)] for s in ("test", "train", "val")]
    value, p, *_ = stats.chi2_contingency(table, correction=False)
    assert shares(classes(y), list(side), alone(200)) == pytest.approx((value, p), rel=1e-9)
    assert shares(classes(np.zeros(200, dtype=int)), list(side), alone(200)) == (0.0, 1.0)
    assert shares(classes(y), ["train"] * 200, alone(200)) == (0.0, 1.0)
    assert shares(classes(y[:2]), ["train", "test"], np.array([0, 1])) == (
        2.0,
        pytest.approx(0.157, abs=1e-3),
    )


def test_shares_of_speakers_with_favourites_do_not_differ_by_themselves() -> None:
    rng, alarms, plain = np.random.default_rng(0), 0, 0
    groups = np.repeat(np.arange(24), 20)
    side = np.array(["train"] * 14 + ["val"] * 5 + ["test"] * 5)[groups].tolist()
    for _ in range(SETS):
        y = np.where(rng.random(480) < 0.5, rng.integers(4, size=24)[groups], rng.integers(4, size=480))
        alarms += shares(classes(y), side, groups)[1] < 0.001
        plain += shares(classes(y), side, alone(480))[1] < 0.001
    assert alarms <= 0.05 * SETS < plain


def test_shares_that_differ_are_found() -> None:
    rng, hits = np.random.default_rng(0), 0
    groups = np.repeat(np.arange(24), 20)
    test = groups >= 19
    side = ["test" if row else "train" for row in test]
    for _ in range(SETS):
        usual = rng.choice(4, p=[0.5, 0.3, 0.1, 0.1], size=480)
        y = np.where(test, 3 - usual, usual)
        hits += shares(classes(y), side, groups)[1] < 0.001
    assert hits >= 0.95 * SETS


def test_shares_of_one_group_a_side_cannot_be_tested() -> None:
    groups = np.repeat([0, 1], 20)
    assert shares(classes(groups), ["train"] * 20 + ["test"] * 20, groups)[1] == 1.0
