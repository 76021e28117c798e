"""AgentClinic's lines: the real file's counts, and small ones of both kinds."""

import json
from pathlib import Path
from typing import Any

import pytest

from polymodal.envs.cases.osce import leaves, read
from polymodal.envs.clinic import Case
from polymodal.envs.clinic.table import betrays
from polymodal.media import Invalid, MediaError

REAL = Path(__file__).parents[4] / "shared" / "data" / "agentclinic"


@pytest.mark.skipif(not REAL.is_dir(), reason="AgentClinic's file is not here")
def test_the_real_file_has_its_counts() -> None:
    cases = list(read(REAL))
    raw = [
        json.loads(line)["OSCE_Examination"] for line in next(REAL.glob("*.jsonl")).read_text().splitlines()
    ]
    assert all(isinstance(one, Case) for one in cases)
    good = [one for one in cases if isinstance(one, Case)]
    tests = [name for row in raw for name in row["Test_Results"]]
    assert (len(good), len({one.diagnosis for one in good})) == (107, 104)
    assert len({one.group for one in good}) == 103  # one of the 104 names is another in capitals, with (BPPV)
    assert (len(tests), len({name.lower() for name in tests})) == (261, 130)
    assert sum(len(list(leaves(row["Test_Results"]))) for row in raw) == 622
    assert sum(not row["Test_Results"] for row in raw) == 2
    asked = zip(good, raw, strict=True)
    assert sum(name in case.results for case, row in asked for name in row["Test_Results"]) == 261
    assert sum(one.tags["leak"] == "yes" for one in good) == 16
    spoken = [(one, said) for one in good for told in one.told.values() for said in (one.initial, *told)]
    assert not [said for one, said in spoken if betrays(said, one.diagnosis)]
    assert sum(int(one.tags["hidden"]) for one in good) == 0  # nothing had to be left out


OSCE: dict[str, Any] = {
    "Objective_for_Doctor": "Find out.",
    "Patient_Actor": {
        "Demographics": "a man of 40",
        "History": "It began in May. He fears the Orvane fever. It is worse at night.",
        "Symptoms": {"Primary_Symptom": "Ache", "Secondary_Symptoms": ["Red hue", "No cough"]},
        "Drug_History": ["A pill"],
        "Review_of_Systems": {"Skin": "Dry."},
    },
    "Physical_Examination_Findings": {"Vital_Signs": {"Pulse": "72"}, "Skin": "hue"},
    "Test_Results": {
        "Blood_Tests": {"CRP": {"Findings": "12"}, "Iron": "low"},
        "Scan": {"Findings": "OF seen"},
    },
    "Correct_Diagnosis": "Orvane fever (OF)",
}


def lines(path: Path, *rows: Any) -> Path:
    (path / "agentclinic_x.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return path


def test_an_osce_line(tmp_path: Path) -> None:
    (case,) = read(lines(tmp_path, {"OSCE_Examination": OSCE}))
    assert isinstance(case, Case)
    assert (case.id, case.initial, case.group) == ("x-1", "Ache", "orvanefever")
    assert dict(case.told) == {
        "demographics": ("a man of 40",),
        "history": ("It began in May.", "It is worse at night."),
        "symptoms": ("Ache", "Red hue", "No cough"),
        "medications": ("A pill",),
        "review of systems": ("Skin: Dry.",),
    }
    assert (case.tags["leak"], case.tags["hidden"]) == ("short", "1")
    asked = {
        name: case.results.get(name) for name in ("Blood_Tests", "Blood Tests", "CRP", "Findings", "Pulse")
    }
    whole = "CRP / Findings: 12; Iron: low"
    assert asked == {
        "Blood_Tests": whole,
        "Blood Tests": whole,
        "CRP": "Findings: 12",
        "Findings": None,
        "Pulse": "72",
    }
    assert case.results["Blood Tests / CRP / Findings"] == "12"
    assert case.results["Scan"] == "Findings: OF seen"


def test_a_line_with_a_picture(tmp_path: Path) -> None:
    answers = [{"text": "Orvane fever", "correct": True}, {"text": "Gout", "correct": False}]
    row = {"patient_info": "I ache. I may have orvane fever.", "physical_exams": "Red.", "answers": answers}
    far, near, out = read(
        lines(tmp_path, *(row | {"image_url": at} for at in ("https://x.org/a.png", "a.png", "../a.png")))
    )
    assert isinstance(far, Case)
    assert isinstance(near, Case)
    assert isinstance(out, Case)
    assert (far.artefacts["image"][0].image, far.tags["url"]) == (None, "https://x.org/a.png")
    assert str(near.artefacts["image"][0].image) == f"Image({tmp_path / 'a.png'})"
    assert out.artefacts["image"][0].image is None
    assert (near.initial, near.told["history"], near.tags["hidden"]) == ("I ache.", ("I ache.",), "1")
    assert near.results["Physical Examination"] == "Red."


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"OSCE_Examination": OSCE | {"Correct_Diagnosis": ""}}, "diagnosis"),
        ({"OSCE_Examination": OSCE | {"Patient_Actor": {}}}, "complaint"),
        ({"OSCE_Examination": OSCE | {"Test_Results": "none"}}, "schema"),
        ({"OSCE_Examination": OSCE | {"Correct_Diagnosis": "Ache"}}, "complaint"),
        ({"answers": []}, "diagnosis"),
        ({"answers": [{"text": "A", "correct": True}], "patient_info": "A."}, "complaint"),
        ({"question": "?"}, "schema"),
        ([], "broken"),
    ],
)
def test_a_line_that_is_no_case_is_counted(row: Any, reason: str, tmp_path: Path) -> None:
    (found,) = read(lines(tmp_path, row))
    assert isinstance(found, Invalid)
    assert (found.where, found.reason) == ("agentclinic_x.jsonl:1", reason)


def test_no_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no such file"):
        read(tmp_path)
