"""The verb `play` in the clinic that the system keeps, from each chair."""

import io
import json
from pathlib import Path

import pytest

from polymodal.envs.artefacts.signs import PageReader
from polymodal.envs.cases import to_json
from polymodal.envs.clinic import Reading
from polymodal.systems.clinical_dialogue.data import pocket
from tests.test_cli import call

REAL = Path(__file__).parents[2] / "shared" / "data" / "agentclinic"
CARE = "For research, not for care."
SMALL = ("-o", "cases=3", "-o", "turns=4")


@pytest.fixture(autouse=True)
def no_words(monkeypatch):
    """Pages that cannot be read: reading them takes seconds and has tests of its own."""
    monkeypatch.setattr(PageReader, "__call__", lambda self, image: Reading(self.kind, self.classes, ()))


def played(monkeypatch, capsys, typed, *words):
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    return call(capsys, "play", *words)


def test_a_person_is_the_doctor(monkeypatch, capsys):
    typed = """\
/findings
what about thirst?
/request lesion
/retake lesion
/request scan
/present Orvane fever .7, Orvane rash .3
/plan Rest.
/close
"""
    code, out, err = played(monkeypatch, capsys, typed, "clinic", "--case", "2", *SMALL)
    assert (code, err) == (0, "")
    assert out.startswith(CARE)
    assert "itching at night, burning after sun" in out
    assert out.count("[a picture of 64 x 64 pixels]") == 2
    assert "scan: not done" in out
    assert out.index("ended, after 7 turns; reward") < out.index("It was: ")


def test_the_system_is_the_doctor(monkeypatch, capsys):
    words = ("clinic", "--policy", "clinical_dialogue", "--seed", "3", "--limit", "30", *SMALL)
    code, out, err = played(monkeypatch, capsys, "", *words)
    assert (code, err) == (0, "")
    assert out.startswith(CARE)
    assert 1 <= out.count("doctor: Have you noticed") <= 4
    assert (
        out.index("patient: I came because of")
        < out.index("doctor: I think of: ")
        < out.index("ended, after")
    )
    assert played(monkeypatch, capsys, "", *words)[1] == out
    assert "(0%)" not in out


def test_a_person_is_the_patient(monkeypatch, capsys):
    code, out, err = played(monkeypatch, capsys, "no\nyes\n" * 5, "patient", "--as", "patient", *SMALL)
    assert (code, err) == (0, "")
    assert out.startswith(CARE)
    assert (
        out.index("You are the patient") < out.index("doctor: Have you noticed") < out.index("I think of: ")
    )
    assert out.index("ended, after") < out.index("It was: ")


@pytest.mark.skipif(not REAL.is_dir(), reason="AgentClinic's file is not here")
def test_written_cases_are_played_and_have_no_exact_doctor(monkeypatch, capsys):
    words = ("clinic", "-o", f"data={REAL}")
    typed = "How old are you?\n/present Myasthenia gravis\n/close\n"
    code, out, _ = played(monkeypatch, capsys, typed, *words, "--case", "0")
    assert code == 0
    assert "35-year-old" in out
    assert "reward 1" in out
    code, _, err = played(monkeypatch, capsys, "", *words, "--policy", "clinical_dialogue")
    assert code == 2
    assert "written cases have no tables" in err


def test_tables_alone_are_checked_and_played(tmp_path, monkeypatch, capsys):
    tables = json.dumps(to_json(pocket()))
    (tmp_path / "clinic.json").write_text(tables)
    code, out, err = call(capsys, "data", "check", str(tmp_path))
    assert (code, err) == (0, "")
    assert out.splitlines()[0].startswith("tables: 18 diseases, 36 findings, lesion (5 classes), trace")
    assert "no cases: patients are drawn from the tables" in out
    options = ("clinic", "-o", f"data={tmp_path}", *SMALL)
    code, out, err = played(monkeypatch, capsys, "/findings\n/close\n", *options)
    assert (code, err) == (0, "")
    assert CARE in out
    (tmp_path / "clinic.json").write_text(tables.replace('"prior": 0.0', '"prior": 7.0', 1))
    code, out, err = call(capsys, "data", "check", str(tmp_path))
    assert code != 0
    assert "clinic.json: disease 'Orvane fever': prior: 7.0" in out + err
