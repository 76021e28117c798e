"""Cases from lines, and tables learned from cases."""

import json
from collections import ChainMap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.envs.clinic.test_table import clinic as made

from polymodal.envs.cases.lines import cases, learned
from polymodal.envs.clinic import UNSURE, Case, Disease, Finding, Shown
from polymodal.media import Image, Invalid, MediaError

GOOD = {"id": "1", "split": "train", "diagnosis": "red orvane", "initial": "Ache"}


def lines(path: Path, *rows: Any) -> Path:
    (path / "cases.jsonl").write_text(
        "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)
    )
    return path


def test_a_row_becomes_a_case(tmp_path: Path) -> None:
    takes = ["a.png", {"path": "b.png", "class": "round", "poor": True}]
    row = GOOD | {
        "findings": {"hue": None},
        "artefacts": {"lesion": takes},
        "differential": [["Orvane fever", 0.9]],
        "told": {"history": ["It aches.", "Since May."]},
        "results": {"Blood": "fine"},
        "tags": {"tone": 3},
    }
    (case,) = cases(lines(tmp_path, row), made())
    assert isinstance(case, Case)
    assert (case.diagnosis, case.complaint, case.split) == ("Orvane fever (OVF)", "ache", "train")
    assert case.findings == {"Hue": UNSURE, "ache": "yes"}
    assert [(str(t.image), t.truth, t.poor) for t in case.artefacts["lesion"]] == [
        (f"Image({tmp_path / 'a.png'})", "", None),
        (f"Image({tmp_path / 'b.png'})", "round", True),
    ]
    assert case.told["history"] == ("It aches.", "Since May.")
    assert (case.results, case.tags, case.differential) == (
        {"Blood": "fine"},
        {"tone": "3"},
        {"Orvane fever": 0.9},
    )
    image = case.artefacts["lesion"][0].image
    assert image is not None
    with pytest.raises(MediaError, match="no such file"):  # told as "could not be read" by the env
        image.pixels()


@pytest.mark.parametrize(
    ("change", "reason", "said"),
    [
        ({"diagnosis": ""}, "diagnosis", "no diagnosis"),
        ({"initial": None}, "complaint", "no initial"),
        ({"diagnosis": "Orvane fewer"}, "unknown", "did you mean 'Orvane fever"),
        ({"findings": {"aches": True}}, "unknown", "did you mean 'ache'"),
        ({"findings": {"hue": "d"}}, "value", "'Hue': value 'd' is not known"),
        ({"findings": []}, "", ""),
        ({"findings": [1]}, "findings", "an object by name"),
        ({"artefacts": {"lesions": "a.png"}}, "artefact", "did you mean 'lesion'"),
        ({"artefacts": {"lesion": "../a.png"}}, "artefact", "a path inside"),
        ({"artefacts": {"lesion": {"path": "a.png", "class": "rond"}}}, "artefact", "did you mean 'round'"),
        ({"differential": [["A", 2]]}, "differential", "a number in"),
        ({"differential": {"A": 1}}, "differential", "a list of"),
    ],
)
def test_a_row_that_is_no_case_is_counted(change: Any, reason: str, said: str, tmp_path: Path) -> None:
    first, second = cases(lines(tmp_path, GOOD | change, GOOD | {"id": "2"}), made())
    assert isinstance(second, Case)
    if reason:
        assert isinstance(first, Invalid)
        assert (first.id, first.where, first.reason) == ("1", "cases.jsonl:1", reason)
        assert said in first.detail
    else:
        assert isinstance(first, Case)


def test_lines_that_are_no_rows_are_counted(tmp_path: Path) -> None:
    found = list(cases(lines(tmp_path, "{", "[1]", "[" * 10_000, GOOD, GOOD), None))
    assert [one.reason if isinstance(one, Invalid) else "" for one in found] == [
        "broken",
        "broken",
        "broken",
        "",
        "id",
    ]


def case(n: int, diagnosis: str, split: str = "train", truth: str = "", **findings: str) -> Case:
    shown = {"lesion": (Shown(None, truth),)} if truth else {}
    return Case(str(n), diagnosis, "hello", findings=findings, artefacts=shown, split=split)


def test_tables_are_learned_by_the_formula() -> None:
    seen = [
        case(0, "A", ache="yes", truth="round"),
        case(1, "a", ache="yes"),
        case(2, "A", ache="no", truth="flat"),
        case(3, "B", truth="round", hue="red"),
        case(4, "B", "test", ache="yes", hue="blue"),  # not of the split: neither its counts nor its values
    ]
    found = learned([*seen, Invalid("", "", "", "")])
    assert [(one.name, one.prior) for one in found.diseases] == [("A", 0.75), ("B", 0.25)]
    assert [(one.name, one.values) for one in found.findings] == [("ache", ("yes", "no")), ("hue", ("red",))]
    # A, ache: 2 yes, 1 no, 0 not sure of 3; three answers, alpha .5
    np.testing.assert_allclose(found.answers[:, 0, 0], np.array([2.5, 1.5, 0.5]) / 4.5)
    np.testing.assert_allclose(found.answers[:, 1, 0], np.array([0.5, 0.5, 1.5]) / 2.5)  # not mentioned once
    np.testing.assert_allclose(found.answers[:, 1, 1], np.array([1.5, 0, 0.5]) / 2)
    np.testing.assert_allclose(found.shows["lesion"], [[0.5, 0.5], [0.25, 0.75]])  # classes flat, round


def test_what_is_not_listed_may_be_a_default() -> None:
    default = {"ache": "no"}
    seen = [
        Case(str(n), "A", "x", findings=ChainMap({"ache": "yes"} if n == 0 else {}, default), split="train")
        for n in range(4)
    ]
    listed = (Disease("A", 0, 3), Disease("Z", 0))
    found = learned(seen, diseases=listed, findings=(Finding("ache", "Ache?"),), default=default)
    np.testing.assert_allclose(found.answers[:, 0, 0], np.array([1.5, 3.5, 0.5]) / 5.5)
    np.testing.assert_allclose(found.answers[:, 1, 0], 1 / 3)  # no case: nothing is known
    assert (found.diseases[0].severity, found.diseases[1].prior) == (3, 0)
    with pytest.raises(ValueError, match="disease 'A' of 4 cases is not listed"):
        learned(seen, diseases=listed[1:])
    with pytest.raises(ValueError, match="'ache': the answer 'yes' is not listed"):
        learned(seen, findings=(Finding("ache", "", ("a",)),))
    with pytest.raises(ValueError, match=r"no case of the split 'val'.*'train' 4"):
        learned(seen, split="val")


def test_an_image_beside_the_file_is_shown(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(Image(np.full((4, 5, 3), 7, np.uint8)).encoded())
    (found,) = cases(lines(tmp_path, GOOD | {"artefacts": {"photo": "x.png"}}))
    assert isinstance(found, Case)
    image = found.artefacts["photo"][0].image
    assert image is not None
    assert image.pixels().shape == (4, 5, 3)
