"""Replies, usage, decoding and errors."""

import pickle

import pytest

from polymodal.chat import ChatError, Decoding, Reply, Usage, assistant, said, system, turn, user
from polymodal.media import Pose


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
