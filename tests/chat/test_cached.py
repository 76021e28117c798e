"""Kept replies: keys that nothing can forge, one call for one question, kills and other processes."""

import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polymodal.chat import (
    ChatError,
    Reply,
    Scripted,
    Usage,
    assistant,
    cached,
    ordered,
    system,
    user,
)
from polymodal.chat.cached import key_of, packed, unpacked
from polymodal.media import Image, Message, Text
from polymodal.runs import Cache
from polymodal.testing.chat import check_chat_model

COST = Usage(
    calls=1, tokens_in=7, tokens_out=3, image_tokens=2, bytes_out=9, pixels_out=4, seconds=2.0, retries=1
)


class Shelf(dict):
    def put(self, key, value):
        self.setdefault(key, value)


def counting(calls):
    def answer(messages, seed):
        calls.append(seed)
        return Reply(assistant(f"{messages[-1].parts[0].read()} {seed}"), COST, "length", {"Yes": -0.5})

    return Scripted("counting", answer)


def test_keeps_the_contract_and_the_name():
    model = cached(Scripted("s", lambda *_: "x"), Shelf())
    check_chat_model(model)
    assert model.name == "s"


def test_asks_once_and_gives_back_all_of_it():
    calls: list[int] = []
    model = cached(counting(calls), Shelf())
    first, second = (model(user("a"), seed=1) for _ in range(2))
    assert calls == [1]
    assert first.usage == COST
    assert second == replace(first, usage=second.usage)
    assert second.usage == replace(COST, calls=0, cached=1, seconds=0.0, retries=0)


def test_everything_that_decides_a_reply_decides_the_key():
    red, blue = (Image(np.full((2, 2, 3), (c, 0, 255 - c), np.uint8)) for c in (255, 0))
    talks = [
        ("m", (user("a"),), None, 0),
        ("n", (user("a"),), None, 0),
        ("m", (user("b"),), None, 0),
        ("m", (system("a"),), None, 0),
        ("m", (user("a"), user("a")), None, 0),
        ("m", (user("a", "a"),), None, 0),
        ("m", (user("a"),), None, 1),
        ("m", (user("a"),), {}, 0),
        ("m", (user("a"),), {"type": "object"}, 0),
        ("m", (user(red),), None, 0),
        ("m", (user(blue),), None, 0),
    ]
    keys = {key_of(model, messages, schema, seed=seed) for model, messages, schema, seed in talks}
    assert len(keys) == len(talks)
    assert key_of("m", (user("a"),), {"a": 1, "b": 2}, seed=0) == key_of(
        "m", (user("a"),), {"b": 2, "a": 1}, seed=0
    )


words = st.text(alphabet='ab",[]{}\\\0\n:0 ', max_size=6)
talk = st.lists(st.tuples(words, st.lists(words, max_size=3)), max_size=3)


def messages_of(drawn):
    return tuple(Message(role, tuple(map(Text, texts))) for role, texts in drawn)


@given(words, talk, words, talk)
def test_no_text_can_pass_for_another_conversation(name, one, other, two):
    same = (name, one) == (other, two)
    keys = key_of(name, messages_of(one), None, seed=0), key_of(other, messages_of(two), None, seed=0)
    assert (keys[0] == keys[1]) == same


def test_a_picture_counts_by_content_not_by_its_file(tmp_path):
    data = Image(np.zeros((2, 2, 3), np.uint8)).encoded()
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(data)
    calls = []
    model = cached(Scripted("s", lambda *_: calls.append(1) or "x"), Shelf())
    for picture in (Image(tmp_path / "a.png"), Image(tmp_path / "b.png"), Image(data)):
        model(user(picture), seed=0)
    assert len(calls) == 1


def test_failures_are_not_kept():
    def fail(*_):
        raise ChatError("server", "down")

    store = Shelf()
    with pytest.raises(ChatError):
        cached(Scripted("s", fail), store)(user("?"), seed=0)
    assert not store


def test_a_missing_picture_is_a_refusal(tmp_path):
    with pytest.raises(ChatError) as refused:
        cached(Scripted("s", lambda *_: "x"), Shelf())(user(Image(tmp_path / "gone.png")), seed=0)
    assert refused.value.reason == "refused_input"


def test_threads_that_ask_the_same_cause_one_call():
    begun, calls = threading.Barrier(2), []

    def slow(messages, _):
        calls.append(1)
        if messages[-1].parts[0].read() in "ab":
            begun.wait(10)  # two different questions do run at once
        return "x"

    model = cached(Scripted("slow", slow), Shelf())
    list(ordered(lambda word: model(user(word), seed=0), ["a", "a", "b", "b", "a", "b"], threads=6))
    assert len(calls) == 2
    assert not model._asking


@pytest.mark.parametrize("value", [b"", b"not json", b'{"role": 1}', b"[]", b'{"usage": {"x": 1}}'])
def test_a_damaged_value_is_asked_for_again(value):
    calls: list[int] = []
    store = Shelf()
    model = cached(counting(calls), store)
    model(user("a"), seed=0)
    store[next(iter(store))] = value
    assert model(user("a"), seed=0).text == "a 0"
    assert calls == [0, 0]


def test_replies_come_back_whole():
    reply = Reply(assistant("one", "two \N{GRINNING FACE} \udc80 \0"), COST, "filter", {"Yes": -0.25})
    back = unpacked(packed(reply))
    assert (back.message, back.stop, back.first) == (reply.message, reply.stop, reply.first)
    with pytest.raises(TypeError, match="kind image"):
        packed(Reply(assistant(Image(np.zeros((1, 1), np.uint8)))))


def test_processes_share_a_file(tmp_path):
    calls: list[int] = []
    with Cache(tmp_path / "calls.sqlite") as one, Cache(tmp_path / "calls.sqlite") as two:
        cached(counting(calls), one)(user("a"), seed=3)
        assert cached(counting(calls), two)(user("a"), seed=3).text == "a 3"
    assert calls == [3]
