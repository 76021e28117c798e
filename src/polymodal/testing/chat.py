"""The contract of a model that answers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from polymodal.chat import ChatModel, Reply
    from polymodal.media import Message

SCHEMA = {"type": "object", "properties": {"answer": {"type": "string"}}}
THREADS = 4


def check_chat_model(model: ChatModel, *messages: Message, seed: int = 0) -> Reply:
    """A chat model has a plain name, answers as the assistant, repeats itself on threads, says its cost.

    A part that it cannot take is refused by a ChatError, never by another error. A service that does not
    repeat itself keeps the promise inside `cached`.

    Args:
        model: what is checked.
        messages: a conversation that it can answer; a greeting when none.
        seed: of the calls.

    Returns:
        The reply, for checks of the caller's own.

    Raises:
        AssertionError: saying which promise is broken.
    """
    from polymodal.chat import ChatError, user
    from polymodal.media import Pose

    talk = messages or (user("Hello."),)
    name = model.name
    assert name.isprintable(), f"{name!r}: a name is one printable line"
    assert name.strip(), "a model without a name"
    reply = model(*talk, seed=seed)
    _check_reply(reply, name)
    with ThreadPoolExecutor(THREADS) as pool:
        others = list(pool.map(lambda _: model(*talk, seed=seed), range(THREADS)))
    assert {other.text for other in others} == {reply.text}, (
        f"{name}: the same conversation and seed give other words"
    )
    _check_reply(model(*talk, seed=seed, schema=SCHEMA), name)
    assert model.name == name, f"{name}: the name changes with use"
    reason = "refused_input"
    try:
        _check_reply(model(user("Where?", Pose((0.0, 0.0, 0.0))), seed=seed), name)
    except ChatError as error:
        reason = error.reason
    except Exception as error:  # whatever it is, it is the broken promise
        reason = repr(error)
    assert reason == "refused_input", f"{name}: a part it cannot take gives {reason}"
    return reply


def _check_reply(reply: Reply, name: str) -> None:
    assert reply.message.role == "assistant", f"{name}: answers as {reply.message.role!r}"
    assert reply.stop in ("stop", "length", "filter"), f"{name}: stop={reply.stop!r}"
    usage = reply.usage
    assert usage.calls + usage.cached >= 1, f"{name}: a reply of no call, {usage}"
    negative = [field.name for field in fields(usage) if getattr(usage, field.name) < 0]
    assert not negative, f"{name}: usage below 0 in {negative}"
    if reply.first is not None:
        assert all(value <= 0 for value in reply.first.values()), f"{name}: a log-probability above 0"
