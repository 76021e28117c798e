"""Models that follow a script: free, exact, the same everywhere; and their random numbers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass

from polymodal.chat.model import ChatModel, Reply, Schema, Usage, assistant, said
from polymodal.media import Message

Answer = Callable[[tuple[Message, ...], int], "str | Reply"]


@dataclass(frozen=True, slots=True)
class Scripted:
    """A model whose reply a function works out from the conversation and the seed.

    Attributes:
        name: names the function and all its settings.
        answer: `(messages, seed)` to the reply's text, or to a whole Reply.
    """

    name: str
    answer: Answer

    def __call__(self, *messages: Message, seed: int, schema: Schema | None = None) -> Reply:
        """Answer by the script; a schema is the script's own business."""
        made = self.answer(messages, seed)
        return made if isinstance(made, Reply) else Reply(assistant(made), Usage(calls=1))


def uniform(*words: str | int) -> float:
    """A number in [0, 1) that the words alone decide: common random numbers for rivals.

    53 bits of SHA-256 over the words as a JSON list, so no two lists of words run into each other.
    """
    written = json.dumps(words, ensure_ascii=True).encode()
    return (int.from_bytes(hashlib.sha256(written).digest()[:8]) >> 11) / 2**53


def echo() -> ChatModel:
    """Says what the last message said."""
    return Scripted("scripted:echo", lambda messages, _: said(messages[-1]))


def say(text: str = "") -> ChatModel:
    """Says always the same."""
    return Scripted(f"scripted:say?text={json.dumps(text)}", lambda _, __: text)


BUILT_IN: dict[str, Callable[..., ChatModel]] = {"echo": echo, "say": say}
