"""Replies, usage, decoding and errors."""

import itertools
import pickle

import pytest

from polymodal.chat import ChatError, Decoding, Reply, Scripted, Usage, assistant, said, system, turn, user
from polymodal.media import Pose
from polymodal.testing.chat import check_chat_model


def test_usage_adds_up_by_field():
    a = Usage(calls=1, tokens_in=2, tokens_out=3, image_tokens=1, bytes_out=4, pixels_out=5, seconds=0.5)
    b = Usage(calls=2, tokens_in=1, retries=3, cached=1, seconds=0.25)
    assert list((a + b).to_json().values()) == [3, 3, 3, 1, 4, 5, 0.75, 3, 1]
    assert a + Usage() == a
    assert Usage(**(a + b).to_json()) == a + b


def test_messages_from_words_and_parts():
    pose = Pose((0.0, 0.0, 0.0))
    message = user("one", pose, "two")
    assert (message.role, said(message), message.parts[1]) == ("user", "one\ntwo", pose)
    assert [system("s").role, assistant("a").role, turn("tool", "t").role] == ["system", "assistant", "tool"]
    assert Reply(assistant("yes")).text == "yes"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"tokens": 0}, "tokens=0: it is a whole number of at least 1"),
        ({"tokens": 1.5}, "tokens=1.5"),
        ({"temperature": -0.1}, "temperature=-0.1"),
        ({"temperature": float("inf")}, "temperature=inf"),
        ({"temperature": float("nan")}, "temperature=nan"),
        ({"top_p": 0.0}, "top_p=0.0: it is above 0"),
        ({"top_p": 1.1}, "top_p=1.1"),
        ({"first": 21}, "first=21: it is 0"),
    ],
)
def test_decoding_out_of_range_is_refused(wrong, words):
    with pytest.raises(ValueError, match=words.replace("(", r"\(")):
        Decoding(**wrong)


def test_decoding_says_all_that_changes_replies():
    assert str(Decoding()) == "tokens=400 temperature=0 top_p=1"
    assert str(Decoding(tokens=5, temperature=0.25, top_p=0.8, first=3)) == (
        "tokens=5 temperature=0.25 top_p=0.8 first=3"
    )


def test_an_error_keeps_reason_and_cost_through_processes():
    error = pickle.loads(pickle.dumps(ChatError("timeout", "too late", Usage(retries=2))))
    assert (error.reason, str(error), error.usage.retries) == ("timeout", "too late", 2)
    assert ChatError("server", "x").usage == Usage()


def refusing(error: Exception):
    def answer(messages, _):
        if len(messages[-1].parts) > 1:
            raise error
        return "fine"

    return answer


COUNT = itertools.count()
GOOD = Usage(calls=1)


@pytest.mark.parametrize(
    ("name", "answer", "words"),
    [
        ("", lambda *_: "x", "without a name"),
        ("two\nlines", lambda *_: "x", "one printable line"),
        ("user", lambda *_: Reply(user("x"), GOOD), "answers as 'user'"),
        ("free", lambda *_: Reply(assistant("x")), "a reply of no call"),
        (
            "paid",
            lambda *_: Reply(assistant("x"), Usage(calls=1, tokens_in=-1)),
            "usage below 0 in .'tokens_in'",
        ),
        ("moody", lambda *_: str(next(COUNT)), "give other words"),
        ("stops", lambda *_: Reply(assistant("x"), GOOD, "never"), "stop='never'"),
        ("sure", lambda *_: Reply(assistant("x"), GOOD, first={"x": 0.5}), "log-probability above 0"),
        ("crash", refusing(TypeError("Pose")), "it cannot take gives TypeError"),
        ("blames", refusing(ChatError("server", "down")), "it cannot take gives server"),
    ],
)
def test_the_contract_finds_each_broken_promise(name, answer, words):
    with pytest.raises(AssertionError, match=words):
        check_chat_model(Scripted(name, answer))


def test_the_contract_takes_a_refusal():
    assert check_chat_model(Scripted("r", refusing(ChatError("refused_input", "no pose")))).text == "fine"
