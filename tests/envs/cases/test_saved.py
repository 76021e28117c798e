"""clinic.json: read, refused by name, written and read again."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.envs.clinic.test_table import clinic as made

from polymodal.envs.cases.saved import clinic, to_json
from polymodal.media import MediaError


def file() -> dict[str, Any]:
    return {
        "diseases": [
            {"name": "A", "prior": 0.25, "severity": 1},
            {"name": "B", "prior": 0.75, "aliases": ["bee"]},
        ],
        "findings": [
            {"name": "ache", "red_flag": ["A"]},
            {"name": "hue", "question": "Which hue?", "values": ["red", "blue", "none"], "cost": 2},
        ],
        "frequency": {
            "A": {"ache": 0.8, "hue": [0.5, 0.25, 0.25]},
            "B": {"ache": 0.1, "hue": [0.1, 0.1, 0.5, 0.3]},
        },
        "artefacts": [{"kind": "lesion", "classes": ["no", "yes"], "frequency": {"A": [0, 1], "B": [1, 0]}}],
    }


def written(path: Path, given: Any) -> Path:
    (path / "clinic.json").write_text(given if isinstance(given, str) else json.dumps(given))
    return path


def test_frequencies_become_tables(tmp_path: Path) -> None:
    found = clinic(written(tmp_path, file()))
    # ache: .8 of the 90 % who know; hue in B: the row with "not sure" is taken as it is
    np.testing.assert_allclose(found.answers[:, 0, 0], [0.72, 0.18, 0, 0.1])
    np.testing.assert_allclose(found.answers[:, 0, 1], [0.45, 0.225, 0.225, 0.1])
    np.testing.assert_allclose(found.answers[:, 1, 1], [0.1, 0.1, 0.5, 0.3])
    assert found.findings[0].question == "Do you have ache?"
    assert (found.index("Bee"), found.findings[0].guards, found.findings[1].cost) == (1, ("A",), 2)
    doubt = clinic(written(tmp_path, file() | {"unsure": 0}))
    np.testing.assert_allclose(doubt.answers[:, 0, 0], [0.8, 0.2, 0, 0])


def test_a_saved_clinic_loads_as_the_same(tmp_path: Path) -> None:
    one = made()
    two = clinic(written(tmp_path, to_json(one)))
    assert (two.diseases, two.findings, two.artefacts) == (one.diseases, one.findings, one.artefacts)
    assert two.answers.tobytes() == one.answers.tobytes()
    assert {k: v.tobytes() for k, v in two.shows.items()} == {k: v.tobytes() for k, v in one.shows.items()}


def without(*path: str) -> dict[str, Any]:
    given = file()
    at = given
    for key in path[:-1]:
        at = at[key]
    del at[path[-1]]
    return given


def test_a_missing_frequency_is_refused_or_taken_as_never(tmp_path: Path) -> None:
    where = written(tmp_path, without("frequency", "A", "ache"))
    said = r"clinic\.json: disease 'A', finding 'ache': the frequency is missing; \"missing\": 0 in the file"
    with pytest.raises(ValueError, match=said):
        clinic(where)
    np.testing.assert_allclose(clinic(where, missing=0).answers[:, 0, 0], [0, 0.9, 0, 0.1])
    told = written(tmp_path, without("frequency", "A", "ache") | {"missing": 0.5})
    np.testing.assert_allclose(clinic(told).answers[:, 0, 0], [0.45, 0.45, 0, 0.1])
    with pytest.raises(ValueError, match="'hue': the frequency is missing; 3 chances"):
        clinic(written(tmp_path, without("frequency", "A", "hue")), missing=0)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("frequency", {"Bb": {}}, "frequency: disease 'Bb' is not known; did you mean 'B'"),
        ("frequency", {"A": {"aches": 1}}, "disease 'A': finding 'aches' is not known; did you mean 'ache'"),
        ("frequency", {"A": {"ache": 1.2}}, r"disease 'A', finding 'ache': 1.2; a number in \[0, 1\]"),
        ("frequency", {"A": {"ache": True}}, "'ache': True; a number"),
        ("frequency", {"A": {"ache": [0.5, 0.6]}}, "'ache': the chances .* sum to 1.1"),
        ("frequency", {"A": {"ache": 0.5, "hue": [1]}}, "'hue': 1 chances; 3 values have 3, or 4"),
        ("frequency", [], "frequency: disease: a list"),
        (
            "diseases",
            [{"name": "A", "prior": 1}, {"name": "a", "prior": 0}],
            "'a'.* is one of disease 'A' too",
        ),
        ("diseases", [{"name": " "}], r"diseases\[0\]: name is ' '"),
        ("diseases", [{"name": "A"}], "disease 'A': prior: None"),
        ("diseases", None, "diseases are missing"),
        ("findings", [{"name": "ache", "red_flag": True}], "'ache': red_flag is True"),
        (
            "artefacts",
            [{"kind": "lesion", "classes": ["x"], "frequency": {"A": [1]}}],
            "'B', artefact 'lesion'",
        ),
    ],
)
def test_what_is_wrong_is_named(key: str, value: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=said) as error:
        clinic(written(tmp_path, file() | {key: value}))
    assert "clinic.json" in str(error.value)


def test_what_is_no_such_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no such file"):
        clinic(tmp_path)
    with pytest.raises(ValueError, match=r"'A' is given twice in one object"):
        clinic(written(tmp_path, '{"frequency": {"A": {}, "A": {}}}'))
    for bad in ("[1", "[]", "[" * 100_000):
        with pytest.raises(ValueError, match=r"clinic\.json"):
            clinic(written(tmp_path, bad))
