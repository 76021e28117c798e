"""Strategies: votes, scores, corrections and debates, counted call by call."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from polymodal.chat import ChatError, Reply, Scripted, Usage, assistant, said, uniform, user
from polymodal.chat.strategies import (
    best_of,
    debate,
    derived,
    same_words,
    self_consistency,
    verify_and_correct,
)
from polymodal.media import Message
from polymodal.testing.chat import check_chat_model

QUESTION = user("How many circles?")
COST = Usage(calls=1, tokens_in=10, tokens_out=2)


@dataclass
class Told:
    """Gives the replies it was told, in order, and remembers what it was asked; an error is raised."""

    replies: list[str | ChatError]
    name: str = "told"
    asked: list[tuple[tuple[Message, ...], int, Any]] = field(default_factory=list)

    def __call__(self, *messages: Message, seed: int, schema: Any = None) -> Reply:
        self.asked.append((messages, seed, schema))
        reply = self.replies[(len(self.asked) - 1) % len(self.replies)]
        if isinstance(reply, ChatError):
            raise reply
        return Reply(assistant(reply), COST)


@dataclass
class Longest:
    """Scores by length; one word has no score, another fails."""

    name: str = "longest"
    seeds: list[int] = field(default_factory=list)

    def __call__(self, messages: tuple[Message, ...], *, seed: int) -> tuple[float, Usage]:
        self.seeds.append(seed)
        assert messages[0] == QUESTION
        assert messages[-1].role == "assistant"
        if said(messages[-1]) == "broken":
            raise ChatError("server", "no judge", Usage(retries=1))
        value = math.nan if said(messages[-1]) == "unscored" else float(len(said(messages[-1])))
        return value, Usage(calls=1)


class ByLength:
    """A scorer that takes any talk."""

    name = "by_length"

    def __call__(self, messages: tuple[Message, ...], *, seed: int) -> tuple[float, Usage]:
        return float(len(said(messages[-1]))), Usage()


def slow() -> ChatError:
    return ChatError("timeout", "too slow", Usage(retries=1))


def last_word(text: str) -> str | None:
    return text.split()[-1] if text.split() else None


def keyed(text: str) -> str | None:
    try:
        return str(json.loads(text)["n"])
    except ValueError:
        return None


def test_the_vote_wins_and_the_usage_adds_up() -> None:
    model = Told(["It is 3", "four: 4", "surely 4", "3 or 4", "2"])
    schema = {"type": "object"}
    reply = self_consistency(model, 5, last_word)(QUESTION, seed=7, schema=schema)
    assert reply.text == "four: 4"
    assert reply.usage == Usage(calls=5, tokens_in=50, tokens_out=10)
    assert len({seed for _, seed, _ in model.asked}) == 5
    assert all(messages == (QUESTION,) and given is schema for messages, _, given in model.asked)


@pytest.mark.parametrize(
    ("replies", "expected"),
    [
        (["a b", "c b", "x a", "y a"], "a b"),  # two each: the vote first seen
        (["no json", '{"n": 2}', "{", '{"n": 2}'], '{"n": 2}'),
        (["", "", ""], ""),  # nobody votes: the first reply stands
    ],
)
def test_ties_and_missing_votes(replies: list[str], expected: str) -> None:
    vote = keyed if "{" in "".join(replies) else last_word
    assert self_consistency(Told([*replies]), len(replies), vote)(QUESTION, seed=0).text == expected


def test_votes_of_those_that_answered() -> None:
    model = Told([slow(), "yes", slow(), " YES "])
    reply = self_consistency(model, 4)(QUESTION, seed=0)
    assert reply.text == "yes"
    assert reply.usage == Usage(calls=2, tokens_in=20, tokens_out=4, retries=2)
    with pytest.raises(ChatError, match="too slow") as caught:
        self_consistency(Told([slow()]), 3)(QUESTION, seed=0)
    assert caught.value.usage == Usage(retries=3)


@pytest.mark.parametrize("reason", ["over_budget", "refused_input"])
@pytest.mark.parametrize(
    "make",
    [
        lambda model: self_consistency(model, 3),
        lambda model: best_of(model, Longest(), 3),
        lambda model: verify_and_correct(Told(["draft"]), model),
        lambda model: debate([Told(["a"]), model], 1, Told(["end"])),
    ],
)
def test_the_end_of_the_budget_ends_the_strategy(make: Callable[..., Any], reason: Any) -> None:
    model = Told([ChatError(reason, "no more"), "late"])
    with pytest.raises(ChatError) as caught:
        make(model)(QUESTION, seed=0)
    assert caught.value.reason == reason
    assert len(model.asked) == 1


def test_same_words() -> None:
    assert same_words(" Two\n circles ") == "two circles"
    assert same_words(" \n") is None


def test_best_of_takes_the_first_of_the_highest() -> None:
    judge = Longest()
    reply = best_of(Told(["a", "bbb", "unscored", "ccc", "broken"]), judge, 5)(QUESTION, seed=1)
    assert reply.text == "bbb"
    assert reply.usage == Usage(calls=9, tokens_in=50, tokens_out=10, retries=1)
    assert len(set(judge.seeds)) == 1
    assert best_of(Told(["unscored"]), Longest(), 2)(QUESTION, seed=1).text == "unscored"
    assert best_of(Told([slow(), "b"]), Longest(), 2)(QUESTION, seed=1).text == "b"
    with pytest.raises(ChatError, match="no judge") as caught:
        best_of(Told(["broken"]), Longest(), 2)(QUESTION, seed=1)
    assert caught.value.usage == COST + COST + Usage(retries=2)


def test_correction_ends_at_ok() -> None:
    model, verifier = Told(["2", "3", "4"]), Told(["You missed one.", "OK."])
    schema = {"type": "string"}
    reply = verify_and_correct(model, verifier, 5)(QUESTION, seed=3, schema=schema)
    assert reply.text == "3"
    assert reply.usage == Usage(calls=4, tokens_in=40, tokens_out=8)
    talk, _, given = model.asked[1]
    assert talk[:2] == (QUESTION, assistant("2"))
    assert "You missed one." in said(talk[2])
    assert given is schema
    assert [schema for _, _, schema in verifier.asked] == [None, None]


@pytest.mark.parametrize(
    ("checks", "replies", "rounds", "expected", "calls"),
    [
        (["wrong"], ["a", "b", "c"], 2, "c", 5),
        (["wrong"], ["a"], 0, "a", 1),
        (["ok, but no"], ["a", "b"], 1, "b", 3),  # a word more than OK is an objection
        ([slow()], ["a", "b"], 2, "a", 1),
        (["wrong"], ["a", slow()], 2, "a", 2),
        (["  "], ["a", "b"], 2, "a", 2),
    ],
)
def test_corrections_are_bounded(checks: list, replies: list, rounds: int, expected: str, calls: int) -> None:
    reply = verify_and_correct(Told(replies), Told(checks), rounds)(QUESTION, seed=0)
    assert (reply.text, reply.usage.calls) == (expected, calls)


def test_a_draft_that_fails_is_no_reply() -> None:
    with pytest.raises(ChatError):
        verify_and_correct(Told([slow()]), Told(["OK"]))(QUESTION, seed=0)


def test_debaters_read_each_other_and_the_judge_reads_all() -> None:
    first, second, judge = Told(["one", "ONE"], "a"), Told(["two", "TWO"], "b"), Told(["done"], "j")
    schema = {"type": "string"}
    reply = debate([first, second], 1, judge)(QUESTION, seed=5, schema=schema)
    assert reply.text == "done"
    assert reply.usage.calls == 5
    talk, _, given = second.asked[1]
    assert talk[:2] == (QUESTION, assistant("two"))
    assert "<answer 1>\none\n</answer 1>" in said(talk[2])  # the first round's, not the one just given
    assert given is None
    talk, _, given = judge.asked[0]
    assert "ONE" in said(talk[1])
    assert "TWO" in said(talk[1])
    assert given is schema


def test_a_debater_that_fails_keeps_its_answer() -> None:
    lost = Told([slow(), "late"], "lost")
    kept = Told(["first", slow()], "kept")
    judge = Told(["end"])
    reply = debate([lost, kept], 1, judge)(QUESTION, seed=0)
    assert reply.usage == Usage(calls=3, tokens_in=30, tokens_out=6, retries=1)  # kept had none to read
    assert "late" in said(judge.asked[0][0][1])
    assert "first" in said(judge.asked[0][0][1])
    with pytest.raises(ChatError, match="too slow"):
        debate([Told([slow()])], 1, Told(["end"]))(QUESTION, seed=0)
    with pytest.raises(ChatError, match="too slow") as caught:
        debate([Told(["a"]), Told(["b"])], 1, Told([slow()]))(QUESTION, seed=0)
    assert caught.value.usage == Usage(calls=4, tokens_in=40, tokens_out=8, retries=1)


def test_a_panel_is_a_debate_without_rounds() -> None:
    assert debate([Told(["a"]), Told(["b"])], 0, Told(["end"]))(QUESTION, seed=0).usage.calls == 3


def test_names_tell_all() -> None:
    model, judge = Told([""], "m"), Told([""], "j")
    assert self_consistency(model, 3).name == "self_consistency(m,n=3,vote=same_words)"
    assert self_consistency(model, 3, last_word).name.endswith("test_strategies.last_word)")
    assert best_of(model, Longest(), 2).name == "best_of(m,score=longest,n=2)"
    assert verify_and_correct(model, judge, 1).name == "verify_and_correct(m,verifier=j,rounds=1)"
    nested = debate([model, self_consistency(model, 2)], 1, judge)
    assert nested.name == "debate(m+self_consistency(m,n=2,vote=same_words),rounds=1,judge=j)"


def test_seeds_decide() -> None:
    first, second = Told(["a"]), Told(["a"])
    for model, seed in ((first, 4), (second, 4)):
        self_consistency(model, 2)(QUESTION, seed=seed)
    assert [seed for _, seed, _ in first.asked] == [seed for _, seed, _ in second.asked]
    assert derived("a", seed=1) != derived("a", seed=2) != derived("b", seed=2)
    assert 0 <= derived("a", seed=1) < 2**31


@pytest.mark.parametrize(
    "make",
    [
        lambda model: self_consistency(model, 5),
        lambda model: best_of(model, ByLength(), 3),
        lambda model: verify_and_correct(model, model, 2),
        lambda model: debate([model, model], 1, model),
    ],
)
def test_they_keep_a_chat_models_promises(make: Callable[..., Any]) -> None:
    check_chat_model(make(Scripted("die", lambda talk, seed: str(int(6 * uniform(seed))))))


@pytest.mark.parametrize(
    "make",
    [
        lambda model: self_consistency(model, 0),
        lambda model: self_consistency(model, 2, lambda text: text),
        lambda model: best_of(model, Longest(), 0),
        lambda model: verify_and_correct(model, model, -1),
        lambda model: debate([], 1, model),
        lambda model: debate([model], -1, model),
    ],
)
def test_wrong_settings_are_refused(make: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"at least|top level"):
        make(Told([""]))
