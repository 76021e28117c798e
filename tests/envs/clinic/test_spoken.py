"""Patients of written cases: what they say, and what they never say."""

import json

import pytest

from polymodal.chat import ChatError, Reply, Scripted, assistant, said
from polymodal.envs.clinic import UNSURE, Ask, Case
from polymodal.envs.clinic.spoken import lexical, model_patient, profile

CASE = Case(
    "1",
    "Orvane fever",
    "My arm aches",
    told={
        "history": (
            "The ache began in May.",
            "He was told of an orvane fever.",
            "The ache is worse at night.",
        ),
        "social history": ("Non-smoker, works as a baker",),
        "medications": ("Efatin", "Tenoril", "Emtrin"),
    },
    results={"Blood": "secret"},
    tags={"leak": "yes"},
)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Is the ache worse at night?", "The ache began in May. The ache is worse at night."),
        ("Do you smoke?", "Non-smoker, works as a baker."),
        ("Do you take any medicines?", "Efatin. Tenoril."),  # two at most
        ("Have you an orvane fever?", "I am not sure."),
        ("Which bicycle is that?", "I am not sure."),
        ("", "I am not sure."),
    ],
)
def test_the_sentences_that_fit_are_said(question: str, answer: str) -> None:
    heard = lexical()(CASE, Ask(question), seed=0, n=0)
    assert heard.text == answer
    assert heard.value == (UNSURE if "not sure" in answer else "")
    assert lexical()(CASE, Ask(question), seed=9, n=3) == heard


def test_a_case_without_sentences_is_not_sure() -> None:
    assert lexical()(Case("2", "A", "x"), Ask("Where?"), seed=0, n=0).value == UNSURE


def test_a_model_plays_by_the_profile_alone() -> None:
    prompts = []

    def play(messages: object, seed: int) -> str:
        prompts.append("\n".join(said(one) for one in messages))  # type: ignore[attr-defined]
        return json.dumps({"known": True, "answer": "At night\nmostly."})

    answer = model_patient(Scripted("scripted:p", play))(CASE, Ask("When?"), seed=1, n=2)
    assert (answer.text, answer.value) == ("At night mostly.", "")
    (prompt,) = prompts
    assert "for research, not for care" in prompt
    assert "The doctor asks: When?" in prompt
    assert "2 times before" in prompt
    assert "The ache began in May." in prompt
    for hidden in ("rvane", "secret", "leak"):
        assert hidden not in prompt


@pytest.mark.parametrize(
    "reply",
    [
        "no JSON",
        "{",
        "",
        '{"known": 3, "answer": "x"}',
        '{"known": false, "answer": "x"}',
        '{"known": true, "answer": " "}',
    ],
)
def test_a_model_that_fails_is_not_sure(reply: str) -> None:
    assert (
        model_patient(Scripted("scripted:p", lambda _, __: reply))(CASE, Ask("?"), seed=0, n=0).value
        == UNSURE
    )


def test_a_call_that_ends_without_a_reply_is_not_sure() -> None:
    def fail(messages: object, seed: int) -> Reply:
        raise ChatError("over_budget", "spent")

    assert model_patient(Scripted("scripted:p", fail))(CASE, Ask("?"), seed=0, n=0).value == UNSURE


def test_kept_replies_are_heard_again() -> None:
    kept: dict[str, bytes] = {}
    calls = []

    class Store:
        def get(self, key: str, /) -> bytes | None:
            return kept.get(key)

        def put(self, key: str, value: bytes, /) -> None:
            kept[key] = value

    def play(messages: object, seed: int) -> Reply:
        calls.append(seed)
        return Reply(assistant(json.dumps({"known": True, "answer": str(len(calls))})))

    patient = model_patient(Scripted("scripted:p", play), Store())
    heard = [patient(CASE, Ask("?"), seed=0, n=n).text for n in (0, 0, 1)]
    assert (heard, len(calls)) == (["1", "1", "2"], 2)


def test_a_profile_tells_a_table_patients_findings() -> None:
    assert (
        profile(Case("3", "A", "Ache", findings={"ache": "yes"}))
        == "- comes with: Ache\n- findings: ache: yes;"
    )
