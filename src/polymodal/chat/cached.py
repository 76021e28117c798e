"""Replies kept by content: what was answered once is not asked again, here or elsewhere."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any, Protocol

from polymodal.chat.model import ChatError, ChatModel, Reply, Schema, Usage, turn
from polymodal.media import MediaError, Message, Text

FORM = 1  # of keys and values; raised when either changes its meaning


class Store(Protocol):
    """Bytes by key; `runs.Cache` is one. What `put` returned from is kept, and the first value stays."""

    def get(self, key: str, /) -> bytes | None:
        """The value, or None."""

    def put(self, key: str, value: bytes, /) -> None:
        """Keep a value."""


def key_of(model: str, messages: Sequence[Message], schema: Schema | None, *, seed: int) -> str:
    """The SHA-256 of everything that decides a reply.

    Written as nested JSON lists, so that no name, role or text can pass for the border between two others.
    Media count by their digests.
    """
    said = [[m.role, [[part.kind, part.digest()] for part in m.parts]] for m in messages]
    written = json.dumps([FORM, model, said, seed, schema], sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(written.encode()).hexdigest()


def packed(reply: Reply) -> bytes:
    """A reply as JSON.

    Raises:
        TypeError: a part that is not text.
    """
    texts = []
    for part in reply.message.parts:
        if not isinstance(part, Text):
            raise TypeError(f"a reply with a part of kind {part.kind} cannot be kept; only text can")
        texts.append(part.read())
    first = None if reply.first is None else dict(reply.first)
    usage = reply.usage.to_json()
    return json.dumps(
        {"role": reply.message.role, "texts": texts, "usage": usage, "stop": reply.stop, "first": first}
    ).encode()


def unpacked(data: bytes) -> Reply:
    """The reply that was packed; its usage says that it was kept."""
    kept: dict[str, Any] = json.loads(data)
    usage = replace(Usage(**kept["usage"]), calls=0, seconds=0.0, retries=0, cached=1)
    return Reply(turn(kept["role"], *kept["texts"]), usage, kept["stop"], kept["first"])


@dataclass(frozen=True, slots=True)
class Cached:
    """A model with a memory; see `cached`."""

    model: ChatModel
    store: Store
    _asking: dict[str, tuple[Lock, int]] = field(default_factory=dict, repr=False, compare=False)
    _lock: Lock = field(default_factory=Lock, repr=False, compare=False)

    @property
    def name(self) -> str:
        """The model's own: remembering changes no reply."""
        return self.model.name

    def __call__(self, *messages: Message, seed: int, schema: Schema | None = None) -> Reply:
        """The kept reply, or else the model's, kept before it is given."""
        try:
            key = key_of(self.name, messages, schema, seed=seed)
        except MediaError as error:  # a part that cannot be read could not be sent either
            raise ChatError("refused_input", str(error)) from error
        with self._alone(key):
            found = self.store.get(key)
            if found is not None:
                with suppress(ValueError, TypeError, KeyError):  # damaged: ask again
                    return unpacked(found)
            reply = self.model(*messages, seed=seed, schema=schema)
            self.store.put(key, packed(reply))
            return reply

    @contextmanager
    def _alone(self, key: str) -> Iterator[None]:
        """One thread at a time for a key: two that ask the same at once cause one call."""
        with self._lock:
            lock, waiting = self._asking.get(key, (Lock(), 0))
            self._asking[key] = lock, waiting + 1
        try:
            with lock:
                yield
        finally:
            with self._lock:
                lock, waiting = self._asking[key]
                if waiting > 1:
                    self._asking[key] = lock, waiting - 1
                else:
                    del self._asking[key]


def cached(model: ChatModel, store: Store) -> ChatModel:
    """The same model, with its replies kept in `store` and never asked for twice. Failures are not kept.

    Args:
        model: what answers; its name must tell all that changes its replies.
        store: shared by threads, processes and runs as far as it can be: `runs.Cache` is by all of them.
    """
    return Cached(model, store)
