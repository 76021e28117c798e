"""Chances that regions give their texts: by hand, on planted beliefs, without favour in ties."""

import numpy as np
import pytest

from polymodal.systems.alignment import aligned
from polymodal.training.study import Book

NAN = np.nan


class Flat:
    """As much of a Sheet as is asked."""

    def __init__(self, groups):
        self.flat = [(group, None) for group in groups]


def told(own, rivals, groups, scale, name="hard"):
    book = Book(seed=0)
    value = {"own": own, f"set {name}": rivals}
    aligned.calibrated(book, Flat(groups), "arm", value, scale, seed=3)
    return book


def planted(n, k, seed=0):
    """Scores whose softmax at scale 1 is the chance that a text is the phrase: it is drawn from it."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(n, k)) * 1.5
    chances = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    drawn = (chances.cumsum(1) < rng.random((n, 1))).sum(1)
    own = scores[np.arange(n), drawn]
    rest = np.array([np.delete(row, i) for row, i in zip(scores, drawn, strict=True)])
    return own, rest, [f"g{i // 4}" for i in range(n)]


def test_beliefs_by_hand():
    own, rivals = np.array([0.2, 0.1]), np.array([[0.5, 0.1], [NAN, NAN]])
    chances, there, target = aligned.beliefs(own, rivals, 2.0, seed=0)
    e = np.exp([1.0, 0.4, 0.2])
    assert chances[0] == pytest.approx(e / e.sum())
    assert chances[1] == pytest.approx([1, 0, 0])
    assert there.tolist() == [[True] * 3, [True, False, False]]
    assert target.tolist() == [1, 0]


def test_scores_of_nothing_and_underflow_keep_their_places():
    _, there, target = aligned.beliefs(np.array([-9.0]), np.array([[9.0, NAN, NAN]]), 1e6, seed=0)
    assert there.tolist() == [[True, True, False, False]]
    assert target.tolist() == [1]  # a chance of 0 still stands before a text that is not there


def test_the_phrase_has_no_favour_in_ties():
    _, _, target = aligned.beliefs(np.zeros(4000), np.zeros((4000, 3)), 1.0, seed=1)
    assert np.bincount(target) / 4000 == pytest.approx(np.full(4, 0.25), abs=0.03)


def test_true_beliefs_stay_and_loud_ones_are_mended():
    own, rivals, groups = planted(4000, 5)
    calm = told(own, rivals, groups, 1.0)
    noise = 0.05  # of 15 bins with 133 regions each: .8 of a standard error of .04
    assert calm.estimates["arm/hard ECE"].mean < noise
    assert calm.estimates["arm/hard ECE, isotonic"].mean < noise
    loud = told(own, rivals, groups, 6.0)
    assert loud.estimates["arm/hard ECE"].low > 0.15
    assert loud.estimates["arm/hard ECE, isotonic"].high < 0.1
    found = loud.estimates["arm/hard ECE"]
    assert (found.n, found.n_groups, found.better) == (2000, 500, "lower")
    section = loud.sections["calibration"]
    assert section.keys() == {"bins", "before"}
    assert sum(row["n"] for row in section["bins"]) == 2000
    hits = [sum(row["n"] * row["accuracy"] for row in section[key]) for key in ("bins", "before")]
    assert hits[0] == pytest.approx(hits[1])  # no choice has changed


def test_only_regions_with_the_set_count_and_one_group_tells_nothing():
    own, rivals, groups = planted(80, 3)
    rivals[::2] = NAN
    assert told(own, rivals, groups, 1.0, "near").estimates["arm/near ECE"].n == 20
    assert not told(own, rivals, ["g"] * 80, 1.0).estimates
    assert not told(own, rivals, groups, 1.0, "trivial").estimates
    assert not told(own, rivals * NAN, groups, 1.0).estimates
