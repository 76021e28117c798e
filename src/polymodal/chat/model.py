"""What a model that answers is: messages in, one reply out, with what it cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, Protocol

from polymodal.media import Message, Part, Text

Failure = Literal["no_output", "refused_input", "timeout", "rate_limit", "server", "over_budget"]
Stop = Literal["stop", "length", "filter"]
Schema = Mapping[str, Any]


class ChatError(RuntimeError):
    """A call that ended without a reply.

    Attributes:
        reason: from a closed list; `over_budget` ends a run cleanly, `refused_input` is for parts that the
            model cannot take.
        usage: what the failed attempts cost.
    """

    def __init__(self, reason: Failure, detail: str, usage: Usage | None = None) -> None:
        super().__init__(reason, detail, usage)  # all three in args, so that the error survives pickling
        self.reason: Failure = reason
        self.usage = usage or Usage()

    def __str__(self) -> str:
        return str(self.args[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What calls cost; adds up.

    Attributes:
        calls: answered by a model; replies from a store count in `cached`, failed attempts in `retries`.
        tokens_in: of the prompt, pictures included.
        tokens_out: of the reply.
        image_tokens: the pictures' share of `tokens_in`, where it is known.
        bytes_out: media and text bytes that left this machine.
        pixels_out: pixels that left this machine.
        seconds: spent waiting.
        retries: attempts that failed before the reply.
        cached: replies that were kept from an earlier call. Their tokens, bytes and pixels are those of that
            call, so that budgets and costs of a run come out the same when it is taken up again; their
            seconds and retries are 0.
    """

    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    image_tokens: int = 0
    bytes_out: int = 0
    pixels_out: int = 0
    seconds: float = 0.0
    retries: int = 0
    cached: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(  # written out, because usage is added up at every call
            calls=self.calls + other.calls,
            tokens_in=self.tokens_in + other.tokens_in,
            tokens_out=self.tokens_out + other.tokens_out,
            image_tokens=self.image_tokens + other.image_tokens,
            bytes_out=self.bytes_out + other.bytes_out,
            pixels_out=self.pixels_out + other.pixels_out,
            seconds=self.seconds + other.seconds,
            retries=self.retries + other.retries,
            cached=self.cached + other.cached,
        )

    def to_json(self) -> dict[str, int | float]:
        """All counts by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer.

    Attributes:
        message: what the model says, role `assistant`.
        usage: what it cost, all attempts and inner calls included.
        stop: why it ended: by itself, cut at its length, or by the service's filter.
        first: log-probabilities of candidates for the first token, where the model gives them.
    """

    message: Message
    usage: Usage = Usage()
    stop: Stop = "stop"
    first: Mapping[str, float] | None = None

    @property
    def text(self) -> str:
        """The reply's words."""
        return said(self.message)


@dataclass(frozen=True, slots=True)
class Decoding:
    """How a reply is drawn; the same for every subject of a comparison.

    Attributes:
        tokens: length at most.
        temperature: 0 is greedy.
        top_p: nucleus.
        first: so many candidates for the first token are wanted with their log-probabilities (`Reply.first`).

    Raises:
        ValueError: a value out of range, named with the range.
    """

    tokens: int = 400
    temperature: float = 0.0
    top_p: float = 1.0
    first: int = 0

    def __post_init__(self) -> None:
        for name, good, known in (
            ("tokens", self.tokens >= 1 and self.tokens == int(self.tokens), "a whole number of at least 1"),
            ("temperature", 0 <= self.temperature < math.inf, "a finite number of at least 0"),
            ("top_p", 0 < self.top_p <= 1, "above 0 and at most 1"),
            ("first", self.first in range(21), "0 (not wanted) to 20"),
        ):
            if not good:
                raise ValueError(f"decoding {name}={getattr(self, name)!r}: it is {known}")

    def __str__(self) -> str:
        first = f" first={self.first}" if self.first else ""
        return f"tokens={self.tokens} temperature={self.temperature:g} top_p={self.top_p:g}{first}"


PLAIN = Decoding()


class ChatModel(Protocol):
    """Anything that answers: a script, a local network, a service, a cache or a strategy around these."""

    @property
    def name(self) -> str:
        """Names the model and all that changes its replies: equal names, equal behaviour."""

    def __call__(self, *messages: Message, seed: int, schema: Schema | None = None) -> Reply:
        """Answer a conversation.

        Args:
            messages: all of it, oldest first; the last one is not the assistant's.
            seed: of the draw.
            schema: JSON schema that the reply's text should obey; the model may fail to.

        Raises:
            ChatError: no reply.
        """


def said(message: Message) -> str:
    """The words of a message: its texts, a line each."""
    return "\n".join([part.read() for part in message.parts if isinstance(part, Text)])


def turn(role: str, *parts: Part | str) -> Message:
    """A message from parts and plain strings."""
    return Message(role, tuple(Text(part) if isinstance(part, str) else part for part in parts))


def user(*parts: Part | str) -> Message:
    """What the user's side says."""
    return turn("user", *parts)


def assistant(*parts: Part | str) -> Message:
    """What the model's side says."""
    return turn("assistant", *parts)


def system(*parts: Part | str) -> Message:
    """What stands above the talk."""
    return turn("system", *parts)
