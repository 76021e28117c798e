"""Talks turn by turn: what the model sees, which seed it gets, what is left where it fails."""

import pytest

from polymodal.chat import ChatError, Reply, Scripted, Usage, assistant, said
from polymodal.envs.cards import Scene, Thing
from polymodal.judge import CutShortError, call_seed
from polymodal.judge.talks import converse, script, turns_of, untagged
from polymodal.media import Sample, Text

TILE = Scene((Thing("star", "red"),)).image()


def sample(variant="mt", n=3, **parts):
    parts |= {f"turn{t}": Text(f"ask {t}") for t in range(1, n + 1)}
    return Sample(
        "i", {"system": Text("be plain"), "image": TILE, **parts}, tags={"variant": variant, "image_turn": 2}
    )


def recording(calls, answer="yes"):
    def reply(messages, seed):
        calls.append((messages, seed))
        return Reply(assistant(answer), Usage(calls=1, tokens_out=2))

    return Scripted("scripted:recording", reply)


def pictures(messages):
    return [sum(part.kind == "image" for part in message.parts) for message in messages]


def test_history_is_kept_and_the_picture_comes_at_its_turn():
    calls = []
    messages, usage = converse(recording(calls), sample(), seed=7)
    assert [said(m) for m in messages] == ["be plain", "ask 1", "yes", "ask 2", "yes", "ask 3", "yes"]
    assert [len(context) for context, _ in calls] == [2, 4, 6]
    assert pictures(calls[-1][0]) == [0, 0, 0, 1, 0, 0]
    assert [seed for _, seed in calls] == [call_seed("i", t, seed=7) for t in (1, 2, 3)]
    assert usage == Usage(calls=3, tokens_out=6)


def test_alone_every_turn_has_a_fresh_chat_and_keeps_the_picture():
    calls = []
    messages, _ = converse(recording(calls), sample("alone"), seed=7)
    assert [[said(m) for m in context] for context, _ in calls] == [
        ["be plain", f"ask {t}"] for t in (1, 2, 3)
    ]
    assert [pictures(context)[-1] for context, _ in calls] == [0, 1, 1]
    assert len(messages) == 7


def test_a_failure_keeps_the_turns_so_far():
    def reply(messages, seed):
        if said(messages[-1]) == "ask 2":
            raise ChatError("timeout", "too slow", Usage(retries=1))
        return "yes"

    with pytest.raises(CutShortError) as failed:
        converse(Scripted("scripted:slow", reply), sample(), seed=0)
    assert failed.value.reason == "timeout"
    assert [said(m) for m in failed.value.messages] == ["be plain", "ask 1", "yes", "ask 2"]
    assert failed.value.usage.retries == 1


def test_recorded_replies_are_not_asked_again():
    calls = []
    kept = {f"reply{t}": Text(f"said {t}") for t in (1, 2)}
    messages, usage = converse(recording(calls), sample(**kept), seed=0)
    assert not calls
    assert [said(m) for m in messages if m.role == "assistant"] == ["said 1", "said 2"]
    assert usage == Usage()


@pytest.mark.parametrize(
    ("told", "bare"), [("AI: a", "a"), ("**Assistant:** a", "a"), ("a AI: b", "a AI: b")]
)
def test_only_a_leading_role_is_taken_off(told, bare):
    assert said(untagged(assistant(told))) == bare


def test_script_and_turns_without_system_or_picture():
    plain = Sample("i", {"turn1": Text("a"), "turn3": Text("c")}, tags={})
    assert [said(m) for m in script(plain)] == ["a"]
    assert [t.read() for t in turns_of(plain)] == ["a"]
