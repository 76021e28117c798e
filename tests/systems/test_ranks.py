"""Choices and ranks by hand; ties; chance; retrieval against scikit-learn."""

import numpy as np
import pytest

from polymodal.systems.alignment.pictures import Option, Region
from polymodal.systems.alignment.ranks import chance, chosen, galleries, ranked, retrieved, words_alone


def test_a_choice_by_hand():
    assert chosen(0.5, [0.4, 0.1]) == 1
    assert chosen(0.5, [0.6, 0.1]) == 0
    assert chosen(0.5, [0.5, 0.5], "lenient") == 1
    assert chosen(0.5, [0.5, 0.5]) == pytest.approx(1 / 3)
    assert chosen(0.5, []) == 1


def test_chance_is_the_mean_over_choices():
    assert chance([10] * 3) == pytest.approx(1 / 11)
    assert chance([1, 3]) == pytest.approx((1 / 2 + 1 / 4) / 2)
    with pytest.raises(ValueError, match="no choices"):
        chance([])


def test_ranks_by_hand():
    scores = np.array([[0.9, 0.1, 0.5], [0.2, 0.2, 0.2]])
    right = np.array([[False, False, True], [True, False, False]])
    assert ranked(scores, right).tolist() == [2, 1]
    assert ranked(scores, right, "strict").tolist() == [2, 2]
    several = np.array([[True, False, True], [True, True, True]])
    assert ranked(scores, several, "strict").tolist() == [1, 1]
    with pytest.raises(ValueError, match="empty gallery"):
        ranked(np.zeros((2, 0)), np.zeros((2, 0), bool))
    with pytest.raises(ValueError, match="without a right answer"):
        ranked(scores, np.zeros((2, 3), bool))


def test_galleries():
    assert [len(rows) for rows in galleries(500, 100)] == [100] * 5
    assert [len(rows) for rows in galleries(7, 100)] == [7]
    assert [len(rows) for rows in galleries(7, 0)] == [7]


def unit(rng, n, d=8):
    x = rng.normal(size=(n, d))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_retrieval_both_ways_with_several_texts():
    rng = np.random.default_rng(0)
    images = unit(rng, 20)
    owner = np.repeat(np.arange(20), 3)
    texts = images[owner] + 0.3 * rng.normal(size=(60, 8))
    there, back = retrieved(images, texts, owner)
    scores = images @ texts.T
    for i in range(20):
        mine = scores[i, owner == i].max()
        assert there[i] == 1 + (scores[i, owner != i] > mine).sum()
    for j in range(60):
        assert back[j] == 1 + (scores[:, j] > scores[owner[j], j]).sum()
    with pytest.raises(ValueError, match="empty gallery"):
        retrieved(images[:0], texts[:0], owner[:0])


def test_recall_equals_scikit_learn():
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    images, owner = unit(rng, 30), np.repeat(np.arange(30), 2)
    texts = images[owner] + 0.5 * rng.normal(size=(60, 8))
    _, back = retrieved(images, texts, owner)
    for k in (1, 5):
        theirs = sklearn.top_k_accuracy_score(owner, texts @ images.T, k=k, labels=np.arange(30))
        assert (back <= k).mean() == pytest.approx(theirs)


def test_words_alone_knows_what_words_tell_and_no_more():
    false = (Option("a blue star", "colour"), Option("a green star", "colour"))
    regions = [Region((0, 0, 1, 1), "a red star", {"hard": false})] * 5
    score = words_alone(regions)
    assert score("a red star") > score("a blue star")
    assert score("") == 0
    even = [Region((0, 0, 1, 1), c, {"hard": tuple(Option(o) for o in "abc" if o != c)}) for c in "abc"]
    blind = words_alone(even)
    assert blind("a") == blind("b") == blind("c")


def test_shuffled_texts_are_at_chance():
    rng = np.random.default_rng(2)
    images = unit(rng, 2000)
    there, _ = retrieved(images, unit(rng, 2000), np.arange(2000), size=100)
    assert (there == 1).mean() == pytest.approx(0.01, abs=0.007)
