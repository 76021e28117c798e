"""A talk turn by turn: the user's messages of a conversation, and a model that answers them."""

from __future__ import annotations

import re

from polymodal.chat import ChatError, ChatModel, Usage, assistant, said, system, user
from polymodal.judge.grid import CutShortError, call_seed
from polymodal.media import Message, Sample, Text


def turns_of(sample: Sample, name: str = "turn") -> list[Text]:
    """A conversation's turns, or its harmless ones (`twin`), or recorded replies (`reply`)."""
    found: list[Text] = []
    while isinstance(part := sample.parts.get(f"{name}{len(found) + 1}"), Text):
        found.append(part)
    return found


def script(sample: Sample) -> tuple[Message, ...]:
    """The user's messages of a variant, after the system's; in fresh chats the picture stays in sight."""
    picture, shown = sample.parts.get("image"), int(sample.tags.get("image_turn", 0))
    stays, opening = sample.tags.get("variant") == "alone", sample.parts.get("system")
    messages = [] if opening is None else [system(opening)]
    for t, text in enumerate(turns_of(sample), 1):
        here = picture is not None and shown and (t >= shown if stays else t == shown)
        messages.append(user(text, picture) if here and picture is not None else user(text))
    return tuple(messages)


def converse(model: ChatModel, sample: Sample, *, seed: int) -> tuple[tuple[Message, ...], Usage]:
    """Talk a variant through; the seed of a turn is that of the item and the turn alone.

    A sample with recorded replies is not asked anew.

    Args:
        model: the subject.
        sample: from `variant`.
        seed: of the run.

    Raises:
        CutShortError: the model failed; with the turns so far.
    """
    asked, kept = script(sample), turns_of(sample, "reply")
    start = sum(message.role == "system" for message in asked)
    log, usage = list(asked[:start]), Usage()
    for t, message in enumerate(asked[start:], int(sample.tags.get("first", 1))):
        context = log[:start] if sample.tags.get("variant") == "alone" else log
        if kept:
            log += [message, assistant(kept[t - 1])] if t <= len(kept) else [message]
            continue
        try:
            reply = model(*context, message, seed=call_seed(sample.id, t, seed=seed))
        except ChatError as error:
            raise CutShortError(error.reason, str(error), (*log, message), usage + error.usage) from error
        usage, log = usage + reply.usage, [*log, message, untagged(reply.message)]
    return tuple(log), usage


def untagged(message: Message) -> Message:
    """A reply without the role's name that local models put in front of it."""
    text = said(message)
    bare = re.sub(r"^\s*(\*\*)?(AI|Assistant):(\*\*)?\s*", "", text)
    return message if bare == text else assistant(bare)
