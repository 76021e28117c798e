"""The clinic's tables: what they refuse, and how names are compared."""

from dataclasses import replace

import numpy as np
import pytest

from polymodal.envs.clinic import Artefact, Clinic, Disease, Finding
from polymodal.envs.clinic.table import betrays, normalise


def clinic() -> Clinic:
    yes = np.array([[0.8, 0.3], [0.1, 0.5]])
    answers = np.zeros((4, 2, 2))
    answers[0], answers[3] = yes * 0.9, 0.1
    answers[1] = 1 - answers[0] - 0.1
    answers[2, :, 1], answers[1, :, 1] = 0.2, answers[1, :, 1] - 0.2
    return Clinic(
        (Disease("Orvane fever (OVF)", 0.4, aliases=("Red Orvane",)), Disease("Sélby cough", 0.6, 2)),
        (
            Finding("ache", "Do you ache?", guards=("red orvane",)),
            Finding("Hue", "Which hue?", ("a", "b", "c")),
        ),
        (Artefact("lesion", ("none", "round")),),
        answers,
        {"lesion": np.array([[0.5, 0.5], [0.9, 0.1]])},
    )


def test_names_and_aliases_are_found_however_written() -> None:
    made = clinic()
    assert [made.index(name) for name in ("orvane FEVER", "red-orvane", "Selby cough")] == [0, 0, 1]
    assert (made.column("HUE"), made.column(" ache ")) == (1, 0)
    with pytest.raises(LookupError, match="'selby couch' is not known; did you mean 'Sélby cough'"):
        made.index("selby couch")
    with pytest.raises(LookupError, match="finding 'aches' is not known; did you mean 'ache'"):
        made.column("aches")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"diseases": (Disease("A", 0.5), Disease("a (acute)", 0.5))}, "'a \\(acute\\)'.*'A' too"),
        ({"diseases": (Disease("A", 0.5, aliases=("x",)), Disease("B", 0.5, aliases=("X",)))}, "alias 'X'"),
        ({"diseases": (Disease("Red Orvane", 0.5), Disease("B", 0.6))}, "sum to 1.1"),
        ({"diseases": (Disease("Red Orvane", -0.1), Disease("B", 1.1))}, "'Red Orvane': prior -0.1"),
        ({"diseases": (Disease("Red Oruane", 0.5), Disease("B", 0.5))}, "'ache'.*did you mean 'Red Oruane'"),
        ({"findings": (Finding("ache", ""), Finding("Ache", ""))}, "'Ache'.*given twice"),
        ({"findings": (Finding("ache", ""), Finding("hue", "", ("not sure",)))}, "'hue': values"),
        ({"answers": np.zeros((3, 2, 2))}, r"\(3, 2, 2\); .* is \(4, 2, 2\)"),
        ({"shows": {}}, "one table a kind"),
        ({"shows": {"lesion": np.ones((2, 2))}}, "'Orvane fever \\(OVF\\)', artefact 'lesion'"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        replace(clinic(), **change)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ((0, 1, 1), 1.5, "'Sélby cough', finding 'Hue': a probability outside"),
        ((0, 0, 0), np.nan, "'Orvane fever \\(OVF\\)', finding 'ache': a probability outside"),
        ((2, 0, 0), 0.1, "'ache': a chance for an answer that it does not have"),
        ((3, 0, 1), 0.1 + 2e-6, "'Hue': chances that do not sum to 1"),
    ],
)
def test_a_wrong_chance_is_named(place: tuple[int, int, int], value: float, said: str) -> None:
    answers = clinic().answers.copy()
    answers[place] = value
    with pytest.raises(ValueError, match=said):
        replace(clinic(), answers=answers)


def test_a_diagnosis_is_known_again_in_a_text() -> None:
    assert (
        normalise("Benign Positional Vertigo (BPPV)")
        == "benignpositionalvertigo"
        == normalise("BENIGN positional-vertigo")
    )
    assert betrays("It is benign, positional vertigo.", "Benign Positional Vertigo (BPPV)")
    assert betrays("Consistent with BPPV", "Benign Positional Vertigo (BPPV)")
    assert not betrays("Consistent with BPPV", "Benign Positional Vertigo (BPPV)", short=False)
    assert betrays("Maybe ALS?", "ALS")
    assert not betrays("I also fell.", "ALS")
