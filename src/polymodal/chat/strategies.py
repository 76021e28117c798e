"""Strategies: ways of thinking that are chat models themselves, made of others."""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from polymodal.chat.model import ChatError, ChatModel, Reply, Schema, Usage, user
from polymodal.media import Message

Talk = tuple[Message, ...]
Answer = Callable[..., Reply]  # (messages, schema, seed=)
CHECK = (
    "Check the answer above against all that was asked and shown. If nothing in it is wrong, reply with the "
    "single word OK. Otherwise say briefly what is wrong."
)
CORRECT = (
    "A checker says of your answer:\n{wrong}\n\nGive the whole answer again, corrected where that is right."
)
REVISE = (
    "Others answered the same question:\n{others}\n\n"
    "Give your own answer again; change it where they convince you."
)
DECIDE = "These answers were given to the question above:\n{answers}\n\nGive the final answer."


class Scorer(Protocol):
    """Says how good a conversation's last reply is; a judge's face for `best_of`."""

    @property
    def name(self) -> str:
        """Names all that changes the scores."""

    def __call__(self, messages: Talk, *, seed: int) -> tuple[float, Usage]:
        """Higher is better, NaN is no verdict; and what the scoring cost. May raise ChatError."""


@dataclass(frozen=True, slots=True)
class Strategy:
    """A chat model whose replies are worked out by other chat models."""

    name: str
    answer: Answer

    def __call__(self, *messages: Message, seed: int, schema: Schema | None = None) -> Reply:
        """Answer; the usage is that of all inner calls, failed ones too, and so is that of a ChatError."""
        return self.answer(messages, schema, seed=seed)


def same_words(text: str) -> str | None:
    """The vote of a whole reply: its words without case and spacing; none where it is empty."""
    return " ".join(text.casefold().split()) or None


def self_consistency(
    model: ChatModel, n: int = 5, vote: Callable[[str], str | None] = same_words
) -> ChatModel:
    """Ask `n` times and keep the answer that most replies agree on (Wang et al., arXiv 2203.11171).

    Args:
        model: asked with `n` derived seeds; at temperature 0 most models only repeat themselves.
        n: calls.
        vote: the answer that a reply's text stands for, None for no vote. A function with a name of its own,
            since the strategy's name tells its behaviour.

    Returns:
        A model that gives the first reply with the winning vote; a tie goes to the vote first seen, and the
        first reply of all stands where none voted.

    Raises:
        ValueError: `n` below 1, or a `vote` without a name.
    """
    _at_least(1, n=n)

    def answer(messages: Talk, schema: Schema | None, *, seed: int) -> Reply:
        replies, usage = _all(model, messages, [derived("vote", i, seed=seed) for i in range(n)], schema)
        votes = [vote(reply.text) for reply in replies]
        counts = Counter(cast for cast in votes if cast is not None)
        winner = counts.most_common(1)[0][0] if counts else votes[0]
        return replace(replies[votes.index(winner)], usage=usage)

    return Strategy(f"self_consistency({model.name},n={n},vote={_named(vote)})", answer)


def best_of(model: ChatModel, score: Scorer, n: int = 4) -> ChatModel:
    """Ask `n` times and keep the reply that scores highest; a tie goes to the first.

    All candidates are scored under one seed, so that a noisy scorer is as lenient to each of them.

    Args:
        model: asked with `n` derived seeds.
        score: of the conversation with the candidate as its last message. A candidate without a score is
            taken only where none has one.
        n: candidates.

    Raises:
        ValueError: `n` below 1.
    """
    _at_least(1, n=n)

    def answer(messages: Talk, schema: Schema | None, *, seed: int) -> Reply:
        replies, usage = _all(model, messages, [derived("candidate", i, seed=seed) for i in range(n)], schema)
        scores, error = [], None
        for reply in replies:
            try:
                value, cost = score((*messages, reply.message), seed=derived("score", seed=seed))
            except ChatError as failed:
                value, cost, error = math.nan, _passing(failed, usage), error or failed
            scores.append(-math.inf if math.isnan(value) else value)
            usage += cost
        if error and max(scores) == -math.inf:
            raise _anew(error, usage)
        return replace(replies[scores.index(max(scores))], usage=usage)

    return Strategy(f"best_of({model.name},score={score.name},n={n})", answer)


def verify_and_correct(model: ChatModel, verifier: ChatModel, rounds: int = 2) -> ChatModel:
    """Let a verifier look for what is wrong, and the model correct it, until the verifier says OK.

    The verifier sees the whole conversation, pictures included. Where it or a correction fails, the answer
    so far stands.

    Args:
        model: answers and corrects.
        verifier: says OK, or what is wrong.
        rounds: corrections at most.

    Raises:
        ValueError: `rounds` below 0.
    """
    _at_least(0, rounds=rounds)

    def answer(messages: Talk, schema: Schema | None, *, seed: int) -> Reply:
        reply = model(*messages, seed=derived("draft", seed=seed), schema=schema)
        usage = reply.usage
        for i in range(rounds):
            talk = (*messages, reply.message)
            try:
                check = verifier(*talk, user(CHECK), seed=derived("check", i, seed=seed))
                usage += check.usage
                if re.fullmatch(r"\W*(ok(ay)?\W*)?", check.text, re.IGNORECASE):
                    break
                asked = user(CORRECT.format(wrong=check.text))
                reply = model(*talk, asked, seed=derived("correct", i, seed=seed), schema=schema)
                usage += reply.usage
            except ChatError as failed:
                usage += _passing(failed, usage)
                break
        return replace(reply, usage=usage)

    return Strategy(f"verify_and_correct({model.name},verifier={verifier.name},rounds={rounds})", answer)


def debate(models: Sequence[ChatModel], rounds: int, judge: ChatModel) -> ChatModel:
    """Let several models answer, read each other and answer again; a judge model gives the last word.

    Du et al., arXiv 2305.14325, with a judge in the place of their vote. A debater that fails keeps its
    former answer; one that never answered is left out.

    Args:
        models: the debaters; they talk freely.
        rounds: of reading each other; 0 is a panel.
        judge: sees the conversation and the last answers; a schema is for its reply alone.

    Raises:
        ValueError: no models, or `rounds` below 0.
    """
    _at_least(1, models=len(models))
    _at_least(0, rounds=rounds)

    def answer(messages: Talk, schema: Schema | None, *, seed: int) -> Reply:
        said: dict[int, Reply] = {}
        usage, error = Usage(), None
        for r in range(rounds + 1):
            before = dict(said)  # all of a round read the same answers, whatever the order of the models
            for i, model in enumerate(models):
                others = [reply for j, reply in before.items() if j != i]
                talk = (*messages, before[i].message) if i in before and others else messages
                asked = (user(REVISE.format(others=_listed(others))),) if others else ()
                if r and not others:
                    continue
                try:
                    said[i] = model(*talk, *asked, seed=derived("debate", i, r, seed=seed))
                    usage += said[i].usage
                except ChatError as failed:
                    usage, error = usage + _passing(failed, usage), error or failed
        if not said:
            assert error is not None
            raise _anew(error, usage)
        answers = _listed(said[i] for i in sorted(said))
        try:
            last = judge(
                *messages,
                user(DECIDE.format(answers=answers)),
                seed=derived("decide", seed=seed),
                schema=schema,
            )
        except ChatError as failed:
            raise _anew(failed, usage + failed.usage) from failed
        return replace(last, usage=usage + last.usage)

    names = "+".join(model.name for model in models)
    return Strategy(f"debate({names},rounds={rounds},judge={judge.name})", answer)


def derived(*words: str | int, seed: int) -> int:
    """The seed of an inner call: 31 bits of SHA-256, which every service and generator takes."""
    return int.from_bytes(hashlib.sha256(repr((seed, *words)).encode()).digest()[:4], "big") >> 1


def _all(
    model: ChatModel, messages: Talk, seeds: Iterable[int], schema: Schema | None
) -> tuple[list[Reply], Usage]:
    """The replies that came, and what all calls cost. Raises the first error where none came."""
    replies: list[Reply] = []
    usage, error = Usage(), None
    for seed in seeds:
        try:
            replies.append(model(*messages, seed=seed, schema=schema))
            usage += replies[-1].usage
        except ChatError as failed:
            usage, error = usage + _passing(failed, usage), error or failed
    if not replies:
        assert error is not None
        raise _anew(error, usage)
    return replies, usage


def _passing(error: ChatError, before: Usage) -> Usage:
    """The cost of a failed call that can be got over; a budget's end and a refused part cannot be."""
    if error.reason in ("over_budget", "refused_input"):
        raise _anew(error, before + error.usage) from error
    return error.usage


def _anew(error: ChatError, usage: Usage) -> ChatError:
    """The same failure, with the cost of all that came before it."""
    return ChatError(error.reason, str(error), usage)


def _listed(replies: Iterable[Reply]) -> str:
    return "\n".join(f"<answer {i}>\n{reply.text}\n</answer {i}>" for i, reply in enumerate(replies, 1))


def _named(function: Any) -> str:
    """The full name of a function; lambdas and inner functions have none that tells what they do."""
    name = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', '<')}"
    if "<" in name:
        raise ValueError(f"{function!r}: a function at a module's top level, whose name tells what it does")
    return name.removeprefix(f"{__name__}.")


def _at_least(least: int, **values: int) -> None:
    for name, value in values.items():
        if value < least:
            raise ValueError(f"{name} is at least {least}, not {value}")
