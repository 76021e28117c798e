"""Scores of a consultation, each by a case worked by hand."""

import math

import numpy as np
import pytest

from polymodal.metrics import acting
from polymodal.metrics.acting import diagnosis

LISTED = ["Brusk patch", "brusk PATCH (left arm)", "Telmic itch", "Orvane fever"]


def test_top_k_counts_distinct_names_and_aliases() -> None:
    assert [acting.top_k("Telmic itch", LISTED, k) for k in (1, 2, 3)] == [0, 1, 1]
    assert acting.top_k("Corvin race", LISTED, 3) == 0
    assert acting.top_k("Telmic itch", [], 3) == 0
    aliases = {"Orvane fever": ["three-day fever"], "Telmic itch": ["Telm's itch", "T.I."]}
    assert acting.top_k("Orvane fever", ["Three day fever"], 1, aliases=aliases) == 1
    assert acting.top_k("TI", ["Telms Itch"], 1, aliases=aliases) == 1
    # two names of one disease take one place, so the third name is second
    assert acting.top_k("Brusk patch", ["T.I.", "Telmic itch", "Brusk patch"], 2, aliases=aliases) == 1
    with pytest.raises(ValueError, match="at least 1"):
        acting.top_k("a", ["a"], 0)


def test_rank_of_a_hit_and_of_a_miss() -> None:
    many = [f"disease {i}" for i in range(30)]
    assert acting.rank("Orvane fever", LISTED) == 3
    assert acting.rank("none of them", LISTED) == 11
    assert acting.rank("none of them", many[:14]) == 15
    assert acting.rank("none of them", many) == acting.rank("disease 25", many) == 20
    assert acting.progress([11, 4, 5, 1]) == [7, -1, 4]


def test_ddxplus_scores() -> None:
    said = {"a": 0.6, "b": 0.3, "c": 0.09, "d": 0.01}
    assert acting.gtpa("b", said, 1) == 0
    assert acting.gtpa("b", said, 2) == 1
    assert acting.gtpa("d", said, 4) == 0  # in the top 4, but not above .01
    assert acting.differentials(said, {"A": 0.5, "e": 0.5}) == (1 / 2, 1 / 3, 2 / 5)
    one = acting.differentials({"ay": 1.0}, {"a": 1.0}, aliases={"a": ["A.Y."]})
    assert one == (1, 1, 1)
    assert acting.differentials({}, {"a": 1.0}) == acting.differentials({"a": 1.0}, {}) == (0, 0, 0)
    # evidence: 4 asked, 3 true, 2 of them asked
    assert acting.overlap("wxyz", "yzq") == pytest.approx((2 / 3, 2 / 4, 4 / 7))


def test_course_of_the_page() -> None:
    first, second, truth = (0.5, 0.5), (0.9, 0.1), (1.0, 0.0)
    assert [acting.confirm(truth, p) for p in (first, second)] == pytest.approx([0.5, 0.9], abs=1e-8)
    assert [acting.explore(first, p) for p in (first, second)] == pytest.approx([0.0, 0.4])
    assert acting.trajectory(truth, [first, second]) == pytest.approx(0.45)
    assert acting.trajectory(truth, [second]) == pytest.approx(0.45)  # alpha .5: 0 / 2 + .9 / 2
    assert acting.confirm(truth, (0.0, 1.0)) == pytest.approx(1e-10)
    with pytest.raises(ValueError, match="one turn"):
        acting.trajectory(truth, np.empty((0, 2)))


def test_calibration_of_final_differentials() -> None:
    told = [{"a": 0.8, "b": 0.2}, {"A": 0.6, "z": 0.1}]
    assert np.allclose(acting.matrix(told, ["a", "b"]), [[0.8, 0.2, 0.0], [0.6, 0.0, 0.4]])
    found = acting.calibrated(["a", "b"], told, ["a", "b"])
    # (.2^2 + .2^2 = .08) and (.6^2 + 1 + .4^2 = 1.52); log loss -log .8 and -log 1e-12
    assert found["Brier"].mean == pytest.approx(0.8)
    assert found["log loss"].mean == pytest.approx(-(math.log(0.8) + math.log(1e-12)) / 2)
    assert found["ECE"].mean == pytest.approx((0.2 + 0.6) / 2)
    assert acting.calibrated(["q"], [{"a": 0.25}], ["a"])["Brier"].mean == pytest.approx(2 * 0.25**2)
    with pytest.raises(ValueError, match="no differential"):
        acting.matrix([{"a": 0.8, "b": 0.3}], ["a", "b"])


def test_what_was_asked_and_claimed() -> None:
    assert acting.covered({"cough", "fever", "itch"}, ["fever", "itch", "thirst"]) == pytest.approx(2 / 3)
    assert math.isnan(acting.covered((), ["fever"]))
    assert acting.question_yield([True, False, False, True]) == 0.5
    assert math.isnan(acting.question_yield([]))
    claims, whole = acting.unsupported([[True, True, False], [True], [], [True, True]])
    assert (claims.mean, claims.n, claims.n_groups) == (1 / 6, 6, 3)
    assert (whole.mean, whole.n) == (1 / 4, 4)
    with pytest.raises(ValueError, match="no claim"):
        acting.unsupported([[], []])


def test_names_that_are_all_punctuation_differ() -> None:
    assert diagnosis.rank("?", ["!", "?"]) == 2
