"""The verb `play` from every chair, with a stand-in for the system that keeps the clinic."""

import io
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

from polymodal.cli import chairs
from polymodal.envs.clinic import (
    Artefact,
    Ask,
    Case,
    Clinic,
    Close,
    Disease,
    Finding,
    Present,
    Request,
    Shown,
)
from polymodal.envs.clinic.patient import Consultation
from polymodal.envs.play import Move
from polymodal.media import Image
from polymodal.systems import shelf
from tests.test_cli import call

CARE = "For research, not for care."
CASES = [
    Case(
        f"p-{n}",
        "Orvane fever",
        f"I cough\x1b[31m, {n}.",
        findings={"rash": "no", "night sweats": "yes"},
        artefacts={"lesion": (Shown(Image(np.full((6, 8, 3), 99, np.uint8))),)},
        results={"blood count": "white cells 12"},
    )
    for n in range(4)
]
CLINIC = Clinic(
    (Disease("Orvane fever", 1.0),),
    (Finding("rash", "Do you have a rash?"), Finding("night sweats", "Do you sweat at night?")),
    (Artefact("lesion", ("a", "b")),),
    np.array([[[0.5, 0.5]], [[0.4, 0.4]], [[0.1, 0.1]]]),
    {"lesion": np.array([[0.5, 0.5]])},
)


@dataclass(frozen=True)
class Config:
    cases: int = 4
    hurried: bool = False


class Doctor:
    """Asks twice, looks, tells, closes; `hurried` breaks off."""

    def __init__(self, config):
        self.config = config

    def start(self, *, seed, goal):
        self.n = -1

    def __call__(self, heard):
        self.n += 1
        if self.config.hurried and self.n == 1:
            raise RuntimeError("no time")
        told = (Ask("Any rash?", "rash"), Ask("Why?"), Request("lesion"), Present((("flu", 0.9),)), Close())
        return Move(told[self.n])


@pytest.fixture(autouse=True)
def keeper(monkeypatch):
    recipe = SimpleNamespace(
        Config=Config,
        tiny=Config,
        full=Config,
        env=lambda config: Consultation(CASES[: config.cases], clinic=CLINIC),
        policy=Doctor,
    )
    shelved = {"clinical_dialogue": recipe, "bare": SimpleNamespace()}
    monkeypatch.setattr(shelf, "load", shelved.__getitem__)
    monkeypatch.setattr(shelf, "resolve", lambda name: name)


def played(monkeypatch, capsys, typed, *words):
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    return call(capsys, "play", *words)


def test_the_doctors_chair(monkeypatch, capsys):
    typed = """\
/help
what about night sweats?

rash
{"act": "ask", "text": "Why?"}
{"act": "operate"}
/findings
/request lesion
/retake
/request blood count
/present Orvane fever .7, flu .3
/plan Rest.
/close
"""
    code, out, err = played(monkeypatch, capsys, typed, "clinic", "--case", "p-2")
    assert (code, err) == (0, "")
    assert out.startswith(CARE)
    assert "I cough?[31m, 2." in out
    for said in (
        "patient: Yes.",
        "patient: No.",
        "I am not sure.",
        "one of ask, request",
        "rash, night sweats",
        "[a picture of 8 x 6 pixels]",
        "/retake wants something behind it",
        "white cells 12",
        "Goodbye.",
        "ended, after 8 turns; reward 1",
        "It was: Orvane fever",
    ):
        assert said in out, said


def test_leaving_is_clean_from_both_chairs(monkeypatch, capsys):
    for words in (("clinic",), ("patient", "--as", "patient"), ("scenes",)):
        code, out, err = played(monkeypatch, capsys, "", *words)
        assert (code, err) == (0, "")
        assert out.endswith("Left.\n")
        assert "Orvane" not in out
        assert out.startswith(CARE) == (words != ("scenes",))


def test_the_patients_chair(monkeypatch, capsys):
    code, out, _ = played(monkeypatch, capsys, "no, never\nI fell.\n", "patient", "--as", "patient")
    assert code == 0
    assert out.index("You are the patient") < out.index("night sweats: yes") < out.index("doctor: Any rash?")
    assert "doctor: Please show me: lesion" in out
    assert "I think of: flu (90%)" in out
    assert "ended, after 5 turns; reward 0" in out


def test_watching_a_system_and_one_that_fails(monkeypatch, capsys):
    code, out, _ = played(monkeypatch, capsys, "", "clinic", "--policy", "clinical_dialogue", "--seed", "3")
    assert code == 0
    assert out.index("doctor: Any rash?") < out.index("patient: No.") < out.index("Goodbye.")
    words = ("clinic", "--policy", "clinical_dialogue", "-o", "hurried=true", "--limit", "9")
    assert (
        "cut: policy error (RuntimeError: no time), after 2 turns"
        in played(monkeypatch, capsys, "", *words)[1]
    )
    words = ("clinic", "--policy", "clinical_dialogue", "--limit", "2")
    assert "cut: limit, after 2 turns" in played(monkeypatch, capsys, "", *words)[1]


def test_scenes_are_played_too(monkeypatch, capsys):
    code, out, _ = played(monkeypatch, capsys, "stop\n", "scenes", "--case", "3", "-o", "families=sign")
    assert code == 0
    assert "[a picture of 64 x 64 pixels]" in out
    assert "ended, after 1 turns" in out
    assert "It was: " in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("clinik",), "Did you mean 'clinic'?"),
        (("clinic", "--as", "nurse"), "Known: doctor, patient"),
        (("scenes", "--as", "patient"), "no patient in scenes"),
        (("scenes", "--case", "p-1"), "a whole number"),
        (("scenes", "-o", "famlies=x"), "Known: families, split"),
        (("clinic", "--case", "p-9"), "no case 'p-9'"),
        (("clinic", "-o", "cases"), "expected KEY=VALUE"),
        (("clinic", "--policy", "bare"), "bare has no policy"),
    ],
)
def test_wrong_words_are_named(words, said, monkeypatch, capsys):
    code, _, err = played(monkeypatch, capsys, "", *words)
    assert code == 2
    assert said in err


def test_differentials_as_they_are_typed():
    assert chairs.differential("Orvane fever .7, flu 0.3") == (("Orvane fever", 0.7), ("flu", 0.3))
    assert chairs.differential("flu, type 2") == (("flu", 0.5), ("type 2", 0.5))
    for wrong in (",", ".5", "flu 7.5"):
        with pytest.raises(ValueError, match="diagnos"):
            chairs.differential(wrong)


def test_pictures_are_drawn_on_a_terminal_only(monkeypatch, capsys):
    pixels = np.full((6, 8, 3), (255, 0, 7), np.uint8)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLORTERM", "truecolor")
    chairs.draw(pixels)
    drawn = capsys.readouterr().out
    assert drawn.count("▀") == 8 * 3
    assert "255;0;7" in drawn
