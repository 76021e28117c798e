"""The patient's side of a consultation: what is said, shown, counted and rewarded."""

import json

import gymnasium
import numpy as np
import pytest

from polymodal.envs.clinic import (
    UNSURE,
    Answer,
    Artefact,
    Ask,
    Case,
    Clinic,
    Close,
    Disease,
    Finding,
    Plan,
    Present,
    Request,
    Retake,
    Shown,
)
from polymodal.envs.clinic.patient import Consultation, register, table_patient
from polymodal.envs.play import play
from polymodal.envs.trace import replay, told_as
from polymodal.media import Image


def take(shade: int) -> Shown:
    return Shown(Image(np.full((4, 5, 3), shade, np.uint8)), truth="round patch", poor=shade > 1)


def case(n: int) -> Case:
    return Case(
        f"p-{n}",
        "Orvane fever (acute)",
        "I have been coughing.",
        complaint="cough",
        findings={"cough": "yes", "rash": "no", "chills": UNSURE, "age": "40-60"},
        artefacts={
            "lesion": (take(1), take(2), take(3), take(4)),
            "trace": (Shown(None), take(5)),
            "page": (),
        },
        results={"Blood Count": "white cells 12", "page": "all normal"},
    )


CASES = [case(n) for n in range(6)]
CLINIC = Clinic(
    (Disease("Orvane fever (acute)", 1.0, aliases=("Orvanitis",)),),
    (Finding("rash", "Do you have a rash?"), Finding("age", "How old?", ("20-40", "40-60", "over 60"))),
    (Artefact("lesion", ("a", "b")),),
    np.array([[[0.5, 0.3]], [[0.5, 0.3]], [[0.0, 0.4]], [[0.0, 0.0]]]),
    {"lesion": np.array([[0.5, 0.5]])},
)


def opened(**options) -> Consultation:
    env = Consultation(CASES, **options)
    env.reset(seed=0, options={"case": "p-3"})
    return env


def test_the_complaint_the_answers_and_the_counts():
    env = Consultation(CASES)
    seen, info = env.reset(seed=0, options={"case": "p-3"})
    assert (seen["said"], seen["finding"], seen["value"]) == ("I have been coughing.", "cough", "yes")
    assert (info["case"], info["asked"], info["leak"]) == ("p-3", 0, 0)
    assert seen["image"].shape == (0, 0, 3)
    for ask, value in (
        (Ask("Any rash?", "rash"), "no"),
        (Ask("rash"), "no"),
        (Ask("?", "age"), "40-60"),
        (Ask("?", "fever"), UNSURE),
        (Ask("How is life?"), UNSURE),
    ):
        assert env.step(ask)[0]["value"] == value
    assert env.step(Ask("", "age"))[-1]["asked"] == 6
    assert env.step(env.null)[-1]["asked"] == 6
    assert env.reset(options={"case": 2})[1]["case"] == "p-2"
    for wrong in ("p-9", 6, True):
        with pytest.raises(LookupError, match="case"):
            env.reset(options={"case": wrong})
    with pytest.raises(ValueError, match="ward"):
        env.reset(options={"ward": 1})


def test_a_retake_at_a_later_visit_is_the_take_after_the_last_one():
    env = Consultation(CASES)
    for taken, shades in (({}, [1, 2]), ({"lesion": 0}, [2, 3]), ({"lesion": 1}, [3, None])):
        env.reset(options={"case": 0, "taken": taken})
        seen = [env.step(Retake("lesion"))[0]["image"] for _ in range(2)]
        assert [int(one[0, 0, 0]) if one.size else None for one in seen] == shades
    assert env.reset(options={"case": 0})[1]["retakes"] == 0
    assert int(env.step(Retake("lesion"))[0]["image"][0, 0, 0]) == 1


def test_pictures_takes_results_and_what_cannot_be_read():
    env = opened()
    shades = []
    for action in (Request("Lesion"), *[Retake("lesion")] * 4):
        seen, _, _, _, info = env.step(action)
        shades.append(int(seen["image"][0, 0, 0]) if seen["image"].size else None)
    assert shades == [1, 2, 3, None, None]  # two retakes, though there are four takes
    assert "No further take" in seen["said"]
    assert (info["requested"], info["retakes"], info["invalid"]) == (1, 4, 0)
    assert env.step(Request("lesion"))[0]["image"][0, 0, 0] == 1
    seen, _, _, _, info = env.step(Retake("trace"))  # never shown, so a request
    assert ("could not be read" in seen["said"], seen["kind"], info["invalid"]) == (True, "trace", 1)
    assert env.step(Retake("trace"))[0]["image"][0, 0, 0] == 5
    assert env.step(Request("blood count"))[0]["said"] == "Blood Count: white cells 12"
    assert env.step(Request("page"))[0]["said"] == "page: all normal"
    seen, _, _, _, info = env.step(Request("MRI"))
    assert (seen["said"], seen["kind"], info["not_done"]) == ("MRI: not done", "", 1)
    assert opened(compat=True).step(Request("MRI"))[0]["said"] == "MRI: NORMAL READINGS"
    broken = Case("b", "x", "y", artefacts={"lesion": (Shown(Image(b"no picture")),)})
    other = Consultation([broken])
    other.reset(seed=0)
    assert other.step(Request("lesion"))[-1]["invalid"] == 1
    seen = env.step(Request("lesion"))[0]
    seen["image"][:] = 9  # is the doctor's own
    assert env.step(Request("lesion"))[0]["image"][0, 0, 0] == 1


@pytest.mark.parametrize(
    ("named", "reward"),
    [("orvane FEVER", 1.0), ("Orvane-fever (late)", 1.0), ("Orvanitis", 1.0), ("OF", 1.0), ("fever", 0.0)],
)
def test_the_first_differential_is_rewarded_by_its_first_name(named, reward):
    env = opened(clinic=CLINIC, aliases={"Orvane fever (acute)": ("OF", "Orvanitis")})
    assert env.step(Present(((named, 0.2), ("other", 0.8))))[1:4] == (reward, False, False)
    assert env.step(Present((("Orvane fever", 1.0),)))[1] == 0.0
    assert env.step(Plan("Rest."))[1:4] == (0.0, False, False)
    assert env.step(Close())[1:4] == (0.0, True, False)
    with pytest.raises(RuntimeError, match="call reset"):
        env.step(Close())


def test_an_empty_differential_is_the_first_and_wrong():
    env = opened()
    assert env.step(Present(()))[1] == 0.0
    _, reward, *_, info = env.step(Present((("Orvane fever", 1.0),)))
    assert (reward, info["presented"]) == (0.0, 2)
    for wrong in ("hello", Ask(3), None):
        with pytest.raises(TypeError, match="no action"):
            env.step(wrong)


def values(manner: str, asks: int, seed: int = 0, finding: str = "age", **more) -> list[str]:
    env = Consultation(CASES, manner=manner, clinic=CLINIC, **more)
    env.reset(seed=seed, options={"case": 0})
    return [env.step(Ask("?", finding))[0]["value"] for _ in range(asks)]


def test_manners_change_what_they_say_and_nothing_else():
    assert values("plain", 5) == ["40-60"] * 5
    assert values("vague", 5) == [UNSURE] * 3 + ["40-60"] * 2
    assert values("withholding", 3) == [UNSURE, "40-60", "40-60"]
    assert values("anxious", 3) == ["40-60"] * 3
    said = [v for seed in range(20) for v in values("contradicting", 50, seed)]
    other = sum(value != "40-60" for value in said)
    assert 20 <= other <= 85  # 1,000 draws of .05: 50 expected, sd 7
    assert {"20-40", "over 60"} < set(said)
    assert set(values("contradicting", 200, finding="rash")) == {"yes", "no"}
    assert set(values("contradicting", 200, finding="chills")) == {UNSURE}
    env = opened(manner="anxious")
    assert env.step(Ask("?", "rash"))[0]["said"].startswith("No. ")
    assert len(env.step(Ask("?", "rash"))[0]["said"]) > len("No. ")
    with pytest.raises(ValueError, match="rude"):
        Consultation(CASES, manner="rude")
    with pytest.raises(ValueError, match="cases"):
        Consultation([])


def test_contradictions_do_not_hang_on_what_else_was_asked():
    def told(order):
        env = Consultation(CASES, manner="contradicting", clinic=CLINIC)
        env.reset(seed=5, options={"case": 1})
        return {(name, n): env.step(Ask("?", name))[0]["value"] for name, n in order}

    order = [(name, n) for n in range(40) for name in ("rash", "age")]
    apart = sorted(order)
    assert told(order) == told(apart)


def test_a_patient_that_names_the_diagnosis_is_counted():
    def tells(case, ask, *, seed, n):
        return Answer(f"They said it is (orvane  fever), {n}.") if n else Answer("Orvane feverish, perhaps.")

    env = opened(patient=tells)
    assert env.step(Ask("What is it?"))[-1]["leak"] == 0
    seen, *_, info = env.step(Ask("what is it"))
    assert (info["leak"], seen["value"]) == (1, "")
    assert table_patient(CASES[0], Ask("Do you know?"), seed=0, n=0).value == UNSURE


def test_no_observation_holds_the_diagnosis_or_a_truth():
    env = gymnasium.make(register(), cases=CASES, clinic=CLINIC)
    env.action_space.seed(3)
    turns = [
        turn
        for seed in range(8)
        for turn in play(env, lambda _: env.action_space.sample(), seed=seed, limit=40)
    ]
    seen = json.dumps([[told_as(turn.observation), told_as(turn.after)] for turn in turns]).lower()
    assert len(turns) > 30
    assert "coughing" in seen
    for secret in ("orvan", "round patch", "truth", "poor"):
        assert secret not in seen
    assert replay([turn.line() for turn in turns], Consultation(CASES, clinic=CLINIC)) == len(turns)
