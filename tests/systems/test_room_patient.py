"""A patient to whom a person talks as the doctor: what words amount to, pictures, restarts, models."""

from dataclasses import replace

import pytest
from tests.systems.consultation import clinic, patients

from polymodal.chat import ChatError, Reply, Scripted, Usage, assistant, system, user
from polymodal.envs.clinic import Ask, Case, Close, Request, Retake, Shown
from polymodal.envs.clinic.patient import Consultation
from polymodal.envs.clinic.spoken import Lexical, model_patient
from polymodal.media import Image
from polymodal.systems.rooms.patient import patient, station
from polymodal.systems.rooms.seated import NOTE, OVER
from polymodal.systems.rooms.words import SEEN, understood
from polymodal.testing import check_chat_model

TABLES, CASES = clinic(), patients(12)
ASKED = {name: f"Have you noticed {name}?" for name in (
    "a racing heart", "itching at night", "itching", "thirst", "a change of the skin"
)}  # fmt: skip
SHOWN = {kind: (Shown(None),) for kind in ("lesion", "trace", "page")}
WHO = Case("w", "Myasthenia gravis", "I see double.", artefacts=SHOWN, results={"Chest CT": "A mass."})


def room(**options):
    return Consultation(CASES, clinic=TABLES, **options)


def talk(model, lines, *, case="c0"):
    """All messages of a talk, and its replies."""
    messages, replies = [system(f"case: {case}"), assistant("I have come.")], []
    for line in lines:
        messages.append(user(line))
        replies.append(model(*messages, seed=len(messages)))
        messages.append(replies[-1].message)
    return messages, replies


@pytest.mark.parametrize(("text", "shown", "wanted"), [
    ("Please show me the lesion.", [], Request("lesion")),
    ("Please show me the lesion.", ["lesion"], Retake("lesion")),
    ("ECG", [], Request("trace")),
    ("May I have your blood test?", [], Request("page")),
    ("Could you take it again? It is blurred.", ["lesion", "trace"], Retake("trace")),
    ("Again, please", ["page"], Retake("page")),
    ("Are you thirsty again?", ["page"], Ask("Are you thirsty again?")),
    ("Let me look at your skin", [], Request("lesion")),
    ("I need a chest CT", [], Request("Chest CT")),
    ("I would order an MRI of the head.", [], Request("MRI of the head")),
    ("Show me a picture", [], "Which shall I show: lesion, trace or page? One at a time, please."),
    ("Does the lesion hurt?", [], Ask("Does the lesion hurt?")),
    ("Is your heart racing?", [], Ask("Is your heart racing?", "a racing heart")),
    ("Does it itch at night", ["lesion"], Ask("Does it itch at night", "itching at night")),
    ("Any change of your skin?", [], Ask("Any change of your skin?", "a change of the skin")),
    ("Any itching or thirst?", [], "Which do you mean: itching or thirst? One at a time, please."),
    ("I think it is thirst sickness.", [], SEEN),
    ("Thank you", [], SEEN),
    ("Good morning, what brings you here?", [], WHO.initial),
    ("Where do you live?", [], Ask("Where do you live?")),
    ("", [], Ask("")),
    ("Thanks. Goodbye!", [], Close()),
])  # fmt: skip
def test_what_free_words_amount_to(text, shown, wanted) -> None:
    found = understood(text, WHO, ASKED, shown, alone=True)
    assert found == (wanted if text else SEEN)


def test_a_person_is_told_what_the_environment_tells_and_a_restart_changes_nothing() -> None:
    lines = ["Hello, what brings you?", "Do you have sign 1?", "Please show me the lesion", "Lesion again",
             "sign 5", "another picture, please", "one more picture: retake it"]  # fmt: skip
    messages, replies = talk(patient(room(), seed=3), lines)
    case, kinds = CASES[0], [[p.kind for p in one.message.parts] for one in replies]
    takes = [one.message.parts[1].pixels()[0, 1, 0] for one in replies if len(one.message.parts) > 1]
    assert replies[0].text == case.initial
    assert [one.text for one in (replies[1], replies[4])] == [
        {"yes": "Yes.", "no": "No.", "not sure": "I am not sure."}[case.findings[f"sign {j}"]] for j in (1, 5)
    ]
    assert kinds[2] == kinds[3] == kinds[5] == ["text", "image"]
    assert (takes, replies[6].text) == ([0, 1, 2], "No further take of the lesion can be made.")
    for n in range(2, len(messages), 4):
        again = patient(room(), seed=3)(*messages[: n + 1], seed=99)
        assert again.message.parts == messages[n + 1].parts or again.text == messages[n + 1].parts[0].read()
    _, ended = talk(patient(room(), seed=3), ["Goodbye.", "sign 1"])
    assert [one.text for one in ended] == ["Goodbye.", OVER]


def test_what_was_asked_before_counts() -> None:
    _, replies = talk(patient(room(manner="withholding"), seed=0), ["sign 1", "sign 2", "sign 1"])
    assert [one.text == "I would rather not say." for one in replies] == [True, True, False]


def test_it_is_a_chat_model_that_wants_a_case_and_words() -> None:
    model = patient(room(), seed=0)
    check_chat_model(model, system("case: c1"), user("Do you have sign 3?"))
    for messages, why in (
        ((user("case: c1"),), "none of 12 cases"),
        ((system("case: c99"), user("Hello")), "'c99' is none"),
        ((system("case: c1"), assistant("I have come.")), "said nothing"),
    ):
        with pytest.raises(ChatError, match=why):
            model(*messages, seed=0)


def test_a_model_as_patient_is_asked_once_a_turn_is_paid_for_and_never_names_the_diagnosis() -> None:
    heard = []

    def answer(messages, seed):
        heard.append(messages[-1].parts[0].read())
        told = CASES[0].diagnosis if "what is it" in heard[-1] else "A little"
        if "fail" in heard[-1]:
            raise ChatError("timeout", "no reply")
        return Reply(assistant(f'{{"known": true, "answer": "{told}."}}'), Usage(calls=1, tokens_in=7))

    model = patient(room(patient=model_patient(Scripted("scripted:side", answer))), seed=0)
    messages, replies = talk(
        model, ["Do you have sign 1 or sign 2?", "Where?", "So what is it?", "lesion, please"]
    )
    assert [one.text for one in replies] == [
        "A little.",
        "A little.",
        "I am not sure.",
        "Here is the lesion.",
    ]
    assert len(heard) == 3
    assert [(one.usage.calls, one.usage.tokens_in) for one in replies] == [(1, 7)] * 3 + [(1, 0)]
    assert "scripted:side" in model.name
    with pytest.raises(ChatError, match="no reply"):
        model(*messages, user("Does it fail?"), seed=0)


def test_a_written_case_answers_with_its_sentences_and_results() -> None:
    told = {
        "social history": ("I smoke ten cigarettes a day.", "It must be myasthenia gravis.", "I live alone."),
        "history": ("It began in spring.", "It is worse in the evening."),
    }
    case = replace(
        WHO, told=told, artefacts={"image": (Shown(Image(CASES[0].artefacts["lesion"][0].image.pixels())),)}
    )
    model = patient(Consultation([case], patient=Lexical()), seed=0)
    lines = ["Do you smoke cigarettes?", "Is it myasthenia gravis?", "Order a chest CT.", "Show me a photo."]
    _, replies = talk(model, lines, case="w")
    assert [one.text for one in replies] == [
        "I smoke ten cigarettes a day.", "I am not sure.", "Chest CT: A mass.", "Here is the image.",
    ]  # fmt: skip
    assert len(replies[-1].message.parts) == 2


def test_the_card_of_a_doctor_tells_what_can_be_asked_and_not_what_it_is() -> None:
    made = station(CASES[0], TABLES)
    card = "\n".join(made.card)
    assert card.startswith(NOTE)
    assert (made.opening, made.brief) == (CASES[0].initial, "case: c0")
    assert made.reference == CASES[0].diagnosis
    assert "Can be shown: lesion (skin)." in card
    assert "Orvane fever: sign 0; sign 1; sign 2; lesion ringed" in card
    assert "Telmic cough: sign 0; sign 1; sign 2; lesion spotted" in card
    bare = station(WHO, None)
    assert "Orvane" not in (told := "\n".join(bare.card))
    assert WHO.diagnosis not in told
    assert "by name" in told
