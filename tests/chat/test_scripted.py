"""Scripts: exact, free, with random numbers that words decide."""

import hashlib
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polymodal.chat import Reply, Scripted, Usage, assistant, connect, uniform, user
from polymodal.testing.chat import check_chat_model


def test_a_script_sees_conversation_and_seed():
    model = Scripted("scripted:count", lambda messages, seed: f"{len(messages)} {seed}")
    reply = model(user("a"), assistant("b"), user("c"), seed=7)
    assert reply.text == "3 7"
    assert reply.usage == Usage(calls=1)
    check_chat_model(model)


def test_a_script_may_give_a_whole_reply():
    made = Reply(assistant("no"), Usage(calls=1, tokens_out=1), "filter")
    assert Scripted("s", lambda *_: made)(user("?"), seed=0) is made


@pytest.mark.parametrize("spec", ["scripted:echo", "scripted:say?text=hello", "scripted:say"])
def test_built_in_scripts_keep_the_contract(spec):
    check_chat_model(connect(spec))


def test_uniform_by_hand_and_apart():
    digest = hashlib.sha256(json.dumps(["a", 1]).encode()).digest()
    assert uniform("a", 1) == math.floor(int.from_bytes(digest[:8]) / 2**11) / 2**53
    assert (
        len({uniform("a", "b"), uniform("ab"), uniform("a,b"), uniform("b", "a"), uniform(1), uniform("1")})
        == 6
    )


@given(st.lists(st.text() | st.integers(), max_size=4))
def test_uniform_is_in_range_and_repeats(words):
    assert 0 <= uniform(*words) < 1
    assert uniform(*words) == uniform(*words)


def test_uniform_is_flat():
    values = sorted(uniform("flat", i) for i in range(4000))
    apart = max(abs(value - (i + 0.5) / 4000) for i, value in enumerate(values))
    assert apart < 1.63 / math.sqrt(4000)  # Kolmogorov-Smirnov at 1 %
