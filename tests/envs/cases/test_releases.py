"""Symptom-inquiry goals and the DDXPlus release, from small made files in their formats."""

import csv
import json
import pickle
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from polymodal.envs.cases.lines import learned
from polymodal.envs.cases.releases import COLUMNS, goals, release
from polymodal.envs.clinic import UNSURE, Case
from polymodal.media import Invalid, MediaError


def goal(disease: str, told: Any, asked: Any) -> dict[str, Any]:
    return {
        "disease_tag": disease,
        "goal": {
            "request_slots": {"disease": "UNK"},
            "explicit_inform_slots": told,
            "implicit_inform_slots": asked,
        },
    }


SETS = {
    "train": [
        goal("rhinitis", {"cough": True, "fever": False}, {"sneeze": "UNK", "itch": True}),
        goal("x", {}, {}),
    ],
    "dev": [goal("", {"a": True}, {}), goal("x", {"a": "maybe"}, {}), 7],
}


def test_goals_become_cases(tmp_path: Path) -> None:
    (tmp_path / "goal_set.json").write_text(json.dumps(SETS))
    case, *faults = goals(tmp_path / "goal_set.json")
    assert isinstance(case, Case)
    assert (case.id, case.diagnosis, case.complaint, case.split) == ("train-0", "rhinitis", "cough", "train")
    assert case.initial == "I have cough. I have no fever."
    assert case.findings == {"cough": "yes", "fever": "no", "sneeze": UNSURE, "itch": "yes"}
    assert [(one.id, one.reason) for one in faults if isinstance(one, Invalid)] == [
        ("train-1", "complaint"),
        ("val-0", "diagnosis"),
        ("val-1", "value"),
        ("val-2", "broken"),
    ]


def test_a_pickle_is_refused_and_the_line_that_converts_it_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "goal_set.p"
    file.write_bytes(pickle.dumps(SETS))
    with pytest.raises(MediaError, match="a pickle, which can run code") as error:
        goals(file)
    python, option, code, *rest = shlex.split(str(error.value).splitlines()[1])
    assert (python, option) == ("python", "-c")
    monkeypatch.setattr(sys, "argv", ["-c", *rest])
    exec(code, {})
    assert sum(isinstance(one, Case) for one in goals(tmp_path / "goal_set.json")) == 1
    for bad in ("{", '{"train": 1}', "[" * 50_000):
        (tmp_path / "bad.json").write_text(bad)
        with pytest.raises(MediaError, match=r"bad\.json"):
            list(goals(tmp_path / "bad.json"))


def evidence(code: str, kind: str, default: Any = 0, values: Any = (), **meaning: str) -> dict[str, Any]:
    said = {value: {"en": word, "fr": "?"} for value, word in meaning.items()}
    return {
        code: {
            "name": code,
            "code_question": code,
            "question_en": f"Question {code}?",
            "is_antecedent": False,
            "data_type": kind,
            "default_value": default,
            "possible-values": list(values),
            "value_meaning": said,
        }
    }


def made(path: Path, *rows: tuple[Any, ...], split: str = "train") -> Path:
    evidences = {
        **evidence("E_1", "B"),
        **evidence("E_2", "C", 0, [0, 1, 2]),
        **evidence("E_3", "M", "V_9", ["V_9", "V_1", "V_2"], V_9="nowhere", V_1="arm", V_2="leg"),
    }
    condition = {"condition_name": "Flu", "cond-name-eng": "Flu", "icd10-id": "j", "severity": 4}
    conditions = {
        "Flu": condition,
        "Gout": {"condition_name": "Gout", "cond-name-eng": "Podagra", "severity": 2},
    }
    (path / "release_evidences.json").write_text(json.dumps(evidences))
    (path / "release_conditions.json").write_text(json.dumps(conditions))
    name = {"train": "release_train_patients", "test": "test.csv"}[split]
    with (path / name).open("w", newline="") as stream:
        csv.writer(stream).writerows([COLUMNS, *rows])
    return path


FLU = (40, "F", "Flu", "['E_1', 'E_2_@_2', 'E_3_@_V_1']", "E_1", "[['Flu', 0.75], ['Podagra', 0.25]]")


def test_patients_of_the_release(tmp_path: Path) -> None:
    found = release(made(tmp_path, FLU, (8, "M", "podagra", "['E_1']", "E_1", "[]")))
    assert [f.name for f in found.findings] == ["E_1", "E_2", "E_3_@_V_9", "E_3_@_V_1", "E_3_@_V_2"]
    assert found.findings[3].question == "Question E_3? arm?"
    flu, gout = found.patients("train")
    assert isinstance(flu, Case)
    assert isinstance(gout, Case)
    assert dict(flu.findings) == {
        "E_1": "yes", "E_2": "2", "E_3_@_V_9": "no", "E_3_@_V_1": "yes", "E_3_@_V_2": "no"
    }  # fmt: skip
    assert dict(gout.findings) == {
        "E_1": "yes", "E_2": "0", "E_3_@_V_9": "yes", "E_3_@_V_1": "no", "E_3_@_V_2": "no"
    }  # fmt: skip
    assert (flu.initial, flu.complaint, flu.told["demographics"]) == (
        "Question E_1? Yes.",
        "E_1",
        ("Age 40, female.",),
    )
    assert (flu.differential, gout.diagnosis) == ({"Flu": 0.75, "Gout": 0.25}, "Gout")
    tables = learned(
        found.patients("train"), diseases=found.diseases, findings=found.findings, default=found.default
    )
    assert [(one.prior, one.severity) for one in tables.diseases] == [(0.5, 4), (0.5, 2)]
    assert tables.answers[:, 1, 1].tolist() == [
        1.5 / 3,
        0.5 / 3,
        0.5 / 3,
        0.5 / 3,
    ]  # gout: E_2 is 0 by default
    assert tables.answers[0, 0, 2] == 0.5 / 2.5  # flu: pain somewhere is not pain nowhere


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        (2, "Fluu", "diagnosis"),
        (3, "['E_8']", "evidence"),
        (3, "['E_3_@_V_7']", "evidence"),
        (3, "['E_1'", "literal"),
        (3, "__import__('os').system('true')", "literal"),
        (3, "{'E_1': 1}", "literal"),
        (3, "[" * 9_000, "literal"),
        (3, "[" + "'E_1'," * 5_000 + "]", "too_large"),
        (4, "", "complaint"),
        (5, "[1]", "differential"),
    ],
)
def test_a_patient_that_is_none_is_counted(column: int, value: str, reason: str, tmp_path: Path) -> None:
    bad = (*FLU[:column], value, *FLU[column + 1 :])
    first, second = release(made(tmp_path, bad, FLU, split="test")).patients("test")
    assert isinstance(first, Invalid)
    assert (first.id, first.where, first.reason) == ("test-0", "test.csv:2", reason)
    assert isinstance(second, Case)


def test_columns_files_and_splits_are_named(tmp_path: Path) -> None:
    found = release(made(tmp_path))
    assert list(found.patients("train")) == []
    with pytest.raises(ValueError, match="'tran' is not known; did you mean 'train'"):
        found.patients("tran")
    with pytest.raises(MediaError, match="none of release_test_patients"):
        found.patients("test")
    (tmp_path / "test.csv").write_text("AGE,SEX\n1,M\n")
    with pytest.raises(ValueError, match=r"test\.csv: no column PATHOLOGY, .*; there are: AGE, SEX"):
        list(found.patients("test"))
    (tmp_path / "release_evidences.json").write_text('{"E_1": {"data_type": "X"}}')
    with pytest.raises(ValueError, match="E_1: data_type 'X'"):
        release(tmp_path)
