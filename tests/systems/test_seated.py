"""A doctor that a person talks to says what it says in the environment; restarts, outages, free words."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from tests.systems.consultation import clinic, patients, reader

from polymodal.chat import ChatError, Scripted, Usage, assistant, user
from polymodal.envs.clinic import Case
from polymodal.envs.clinic.patient import Consultation
from polymodal.envs.clinic.scripted import scripted
from polymodal.media import Audio, Image
from polymodal.systems.clinical_dialogue import method
from polymodal.systems.clinical_dialogue.method import Doctor, Plain
from polymodal.systems.consulting.seats import Seats
from polymodal.systems.consulting.talked import held, worded
from polymodal.systems.rooms import seated
from polymodal.systems.rooms.seated import NOTE, OVER, partner, role, roles
from polymodal.testing import check_chat_model

TABLES, CASES = clinic(), patients(12)
MODEL = scripted(TABLES, slip=0.2)  # its replies hang on the call's seed
VALUES = {one.name: one.values for one in TABLES.findings}
ENV = Consultation(CASES, clinic=TABLES)
TERMS = [one.name for one in TABLES.findings]


def chair(kind=Doctor, model=MODEL, **options):
    return kind(model=model, readers={"lesion": reader}, kinds=["lesion"], terms=TERMS, turns=8, **options)


def sat(kind=Doctor, model=MODEL, **options):
    return seated.seated(partial(chair, kind, model), name=f"seated:{model.name}", values=VALUES, **options)


def said_by(turn):
    """A patient of the environment as a person who types and uploads."""
    image = turn.observation["image"]
    return user(turn.observation["said"], *([Image(image)] if image.size else []))


def talk(doctor, lines, *, seed=3):
    """All messages of a talk with these of the person, and its replies."""
    messages, replies = [], []
    for line in lines:
        messages.append(line)
        replies.append(doctor(*messages, seed=seed))
        messages.append(replies[-1].message)
    return messages, replies


@pytest.mark.parametrize("kind", [Doctor, Plain])
def test_a_person_hears_what_a_patient_of_the_environment_hears(kind) -> None:
    for case in ("c0", "c5"):
        found = held(ENV, chair(kind), case, seed=3)
        messages, replies = talk(sat(kind), [said_by(turn) for turn in found.turns])
        told = [worded(turn.action) for turn in found.turns]
        assert [reply.text for reply in replies] == [f"{NOTE} {told[0]}", *told[1:]]
        assert [reply.usage for reply in replies] == [turn.usage for turn in found.turns]
        assert told[-1] == "Goodbye."
        assert any(turn.observation["image"].size for turn in found.turns)
        again = sat(kind)  # a server that was started anew knows nothing of the talk
        for n in (2, len(messages) - 2):
            reply = again(*messages[: n + 1], seed=3)
            assert reply.text == messages[n + 1].parts[0].read()
        over = sat(kind)(*messages, user("Are you there?"), seed=3)
        assert (over.text, over.usage.calls) == (OVER, sum(one.usage.calls for one in replies))


def test_a_turn_costs_its_own_calls_unless_its_talk_is_forgotten() -> None:
    found = held(ENV, chair(), "c0", seed=0)
    lines = [said_by(turn) for turn in found.turns[:4]]
    _, replies = talk(sat(seed=3), lines, seed=9)
    messages, forgetful = talk(sat(most=1), lines)
    assert [one.text for one in forgetful] == [one.text for one in replies], "the doctor's own seed counts"
    doctor = sat(most=1)
    doctor(*messages[:3], seed=3)
    other = doctor(user("I have sign 8."), seed=3)  # now the first talk is forgotten
    assert other.text.startswith(NOTE)
    whole = sum((one.usage for one in replies), Usage())
    assert doctor(*messages[:7], seed=3).usage == whole
    kept, one = talk(sat(), lines)[1][3], sat()
    talk(one, lines)
    assert kept.usage.calls < whole.calls


def test_it_is_a_chat_model_and_threads_may_share_it() -> None:
    check_chat_model(sat(), user("I have sign 3."))
    doctor = sat()
    openings = [user(f"I have sign {i % 3}.") for i in range(12)]
    with ThreadPoolExecutor(4) as pool:
        texts = list(pool.map(lambda one: doctor(one, seed=1).text, openings))
    assert texts == texts[:3] * 4
    for wrong in ((), (assistant("Hello."),), (user("a"), assistant("b"))):
        with pytest.raises(ChatError, match="said nothing"):
            doctor(*wrong, seed=0)


def states(doctor, lines):
    """The states behind a talk."""
    talk(doctor, lines)
    return [one.state for one in doctor._kept.values()]


def test_plain_answers_are_values_and_other_words_are_words() -> None:
    step = '{"act": "ask", "text": "Do you have sign 5?", "about": "sign 5"}'
    asking = Scripted("scripted:asking", lambda messages, seed: step)
    for text, value in (
        ("Yes.", "yes"), ("yep", "yes"), ("No", "no"), ("I don't know.", "not sure"),
        ("not sure", "not sure"),
        ("Yes, since Monday.", ""), ("What?", ""),
    ):  # fmt: skip
        asked, line = states(sat(Plain, asking), [user("It is sign 3 that I have."), user(text)])[1].talk
        assert (asked.finding, asked.value) == ("sign 3", "yes")
        assert (line.finding, line.value, line.said) == ("sign 5", value, text)
    for vague in ("I do not have sign 3.", "sign 3 and sign 4", "I am unwell."):
        assert states(sat(), [user(vague)])[0].talk[0].value == ""


def test_pictures_are_of_the_kind_that_was_named_or_asked_for() -> None:
    requests = Scripted("scripted:requests", lambda m, s: '{"act": "request", "text": "", "kind": "trace"}')
    shown = Image(np.full((4, 4, 3), 7, np.uint8))

    def kinds(*lines, of=("lesion", "trace")):
        make = partial(Plain, model=requests, kinds=of)
        last = states(seated.seated(make, name="s"), lines)[-1]
        return [(one.kind, one.quality) for one in last.artefacts]

    assert kinds(user("I ache.", shown)) == [("picture", "good")]
    assert kinds(user("My lesion.", shown), of=("lesion", "trace")) == [("lesion", "good")]
    assert kinds(user("Look.", shown), of=("page",)) == [("page", "good")]
    assert kinds(user("I ache."), user("Here.", shown)) == [("trace", "good")]
    assert kinds(user("I ache."), user("I have none.")) == [("trace", "unread")]
    assert kinds(user("I ache."), user("Here.", Image(b"no picture"))) == [("trace", "unread")]
    two = states(sat(), [user("Look.", shown, Image(np.zeros((4, 4, 3), np.uint8)))])[0].talk[0]
    assert (two.digest, "one picture at a time" in two.said) == (shown.digest(), True)
    heard = states(sat(), [user(Audio(np.zeros(80, np.float32), 8000))])[0].talk[0]
    assert "neither heard nor seen" in heard.said


def test_an_outage_is_told_and_the_next_message_goes_on_from_both() -> None:
    out = [True]

    def answer(messages, seed):
        if out:
            raise ChatError("timeout", "no reply", Usage(retries=1))
        return MODEL(*messages, seed=seed)

    doctor = sat(model=Scripted("scripted:outage", answer))
    with pytest.raises(ChatError) as failed:
        doctor(user("I have sign 3."), seed=0)
    assert (failed.value.reason, failed.value.usage.retries > 0) == ("timeout", True)
    out.clear()
    talk(doctor, [user("I have sign 3."), user("Hello?")][:1])
    both = doctor(user("I have sign 3."), user("Hello?"), seed=0)
    assert both.text.startswith(NOTE)
    assert list(doctor._kept.values())[-1].state.talk[0].said == "I have sign 3.\nHello?"


def test_a_model_that_gives_nothing_valid_neither_crashes_nor_ends_a_talk() -> None:
    doctor = sat(model=Scripted("scripted:brace", lambda messages, seed: "{"))
    _, replies = talk(doctor, [user("I have sign 3.")] + [user("yes")] * 11)
    texts = [one.text for one in replies]
    assert texts[0] == f"{NOTE} Is there anything else that you have noticed?"
    assert texts[-4:] == ["It may be: nothing that I could name.", method.NO_PLAN, "Goodbye.", OVER]


def test_what_the_person_was_told_stands_if_a_model_does_not_repeat_itself() -> None:
    messages, _ = talk(sat(), [user("I have sign 3."), user("yes")])
    other = [messages[0], assistant(f"{NOTE} Does it hurt?"), messages[2]]
    doctor = sat()
    doctor(*other, seed=3)
    first, second = list(doctor._kept.values())[-1].state.talk
    assert (first.reply, second.finding, second.said) == ("Does it hurt?", "", "yes")


def seats(**options):
    config = SimpleNamespace(seed=0, library=None, reopen=True, **options)
    return Seats(
        config=config, method=method, rubric={}, spec="", model=MODEL, clinic=TABLES, cases=CASES,
        seen=({"lesion": reader}, {}), store=None, turns=8,
    )  # fmt: skip


def test_partners_are_made_from_a_string() -> None:
    one = partner("scripted:clinic", seats())
    assert one.name.startswith("seated:state:scripted:clinic?")
    eig, plain = (partner(f"{arm}:scripted:clinic", seats()) for arm in ("state?gap=eig", "plain"))
    asked = [doctor(user("I have sign 3."), seed=5) for doctor in (one, eig, plain)]
    assert [reply.usage.calls for reply in asked] == [5, 5, 1]
    assert len({one.name, eig.name, plain.name}) == 3
    with pytest.raises(ValueError, match="one of state, plain"):
        partner("scrambled:scripted:clinic", seats())
    with pytest.raises(ValueError, match="known: gap=model"):
        partner("state?gap=none:scripted:clinic", seats())
    with pytest.raises(LookupError, match="scripted:NAME"):
        partner("parrot", seats())


def test_a_role_tells_what_the_patient_knows_and_never_the_diagnosis() -> None:
    one = role(CASES[0])
    card = "\n".join(one.card)
    assert card.startswith(f"{NOTE} You play a patient. Begin with these words: {CASES[0].initial}")
    for name, value in CASES[0].findings.items():
        assert name in next(line for line in one.card if f"say: {value}." in line)
    assert CASES[0].diagnosis == one.reference not in card
    assert [name for name, _ in one.pictures] == [f"lesion, take {n}" for n in (1, 2, 3)]
    told = {"history": ("I fell.", "It hurts.")}
    written = role(Case("w", "Noma", "I hurt.", told=told, results={"X-ray": "clear"}))
    assert written.card[1:] == (
        "history: I fell. It hurts.",
        "If this test is asked for, tell its result. X-ray: clear",
    )
    drawn = roles(CASES, 5, seed=1)
    assert [len(drawn), [r.id for r in drawn]] == [5, [r.id for r in roles(CASES, 5, seed=1)]]
    assert [r.id for r in roles(CASES, 5, seed=2)] != [r.id for r in drawn]
