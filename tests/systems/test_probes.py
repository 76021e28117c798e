"""Comparisons and probes of answers that are made by hand."""

import numpy as np
import pytest

from polymodal.media import Sample
from polymodal.systems.probes import (
    PROBES,
    ROUTES,
    Answers,
    compared,
    flattered,
    label,
    probed,
    routes_differ,
)
from polymodal.training.study import Book


class Plain(Answers):
    """One question with a yes or a no."""

    def __init__(self, told, truth, subjects=("scripted:a",), languages=("lv",)):
        names = [str(i) for i in range(len(truth))]
        super().__init__(names, names, seed=0)
        self.posts = [Sample(name, {}) for name in names]
        self.subjects, self.languages, self.truth = subjects, languages, {"q": np.array(truth, float)}
        self.top, self.yes, self.options = "q", ("q",), ""
        self.said = told

    def answers(self, subject, language, probe="", by=""):
        return {"q": np.array(self.said[subject, language, probe], float)}


TRUTH = [1, 0, 1, 0, 1, 0]


def test_services_are_compared_in_order_of_release():
    said = {("new", "lv", ""): TRUTH, ("old", "lv", ""): [1, 1, 1, 1, 1, 1]}
    book = Book(seed=0)
    compared(book, Plain(said, TRUTH, ("old", "new")))
    assert book.estimates["newest - oldest"].mean == 0.5
    assert book.estimates["best subject"].mean == 1
    assert book.estimates["old - new"].mean == -0.5
    assert ROUTES not in book.estimates


def test_manual_and_machine_translations_are_paired():
    said = {("a", "lv", ""): TRUTH, ("a", "en", ""): TRUTH, ("a", "en-mt", ""): [0] * 6}
    book = Book(seed=0)
    compared(book, Plain(said, TRUTH, ("a",), ("lv", "en", "en-mt")))
    pairs = [name for name in book.estimates if " - " in name and "F1" not in name]
    assert pairs == ["lv - en", "lv - en-mt", "en - en-mt"]
    assert book.estimates["en - en-mt"].mean == 0.5


def test_probes_by_hand():
    other = {probe: [1 - x for x in TRUTH] for probe in PROBES}
    other |= {"negated": [1] * 6, "other order": TRUTH, "orders": [0, 0, 0, 0, 1, 0], "blank": [np.nan] * 6}
    said = {("scripted:a", "lv", probe): values for probe, values in ({"": TRUTH} | other).items()}
    book = Book(seed=0)
    probed(book, Plain(said, TRUTH), chance=0.5, bias=0.5)
    found = {name: estimate.mean for name, estimate in book.estimates.items()}
    assert found["probe/swapped"] == 0
    assert found["probe/blank"] == 0
    assert found["probe/yes-bias by negation"] == 0.5
    assert found["probe/same with picture and text in another order"] == 1
    assert found["probe/orders in the text obeyed"] == pytest.approx(2 / 3)
    assert book.legend["probe/swapped"] == {"role": "control", "page": True, "expected": 0.5}
    assert label("scripted:a") == "a"


def test_flattery_by_hand():
    said = {("scripted:a", "lv", ""): [1] * 6}
    book = Book(seed=0)
    flattered(book, Plain(said, [1, 1, 1, 1, 1, 0]), Plain(said, TRUTH), expected=1 / 3)
    assert book.estimates["flattery/skewed set"].mean == pytest.approx(5 / 6 - 1 / 2)
    assert book.estimates["flattery/balanced set"].mean == 0
    assert book.estimates["flattery, skewed - balanced set"].mean == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("a", "b", "verdict"), [(1, 0, "reproduced"), (0, 1, "reproduced"), (1, 1, "undetermined")]
)
def test_routes_differ_either_way(a, b, verdict):
    sheet = Plain({}, [1.0] * 40)
    gap = sheet.gap(np.full(40, a, float), np.full(40, b, float))
    assert routes_differ({ROUTES: gap}).verdict == verdict
    assert routes_differ({}).verdict == "undetermined"


def test_a_sheet_must_say_what_its_questions_mean():
    with pytest.raises(NotImplementedError):
        Answers(["a"], ["a"], seed=0).answers("s", "lv")
