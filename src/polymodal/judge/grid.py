"""Every subject on every item, every judge on every case: lazy, with common random numbers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple, Protocol

from polymodal.chat import ChatError, Usage, ordered
from polymodal.chat.model import Failure
from polymodal.judge.case import Case, Judge, Verdict
from polymodal.media import MediaError, Message, Sample


class Key(NamedTuple):
    """What tells one answer from another in a run."""

    subject: str
    item: str
    variant: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a subject made of an item.

    Attributes:
        subject: who made it.
        item: what was asked: the sample's id, the same for all subjects and variants.
        group: what is not independent; the item itself where the sample names none.
        variant: the condition: the sample's tag `variant`, else "".
        messages: all that was said and shown, the subject's own words as `assistant`.
        usage: what it cost.
        error: why it never came or was cut short, as ChatError's or MediaError's reason; else "".
        tags: the sample's other tags.
    """

    subject: str
    item: str
    group: str
    variant: str
    messages: tuple[Message, ...]
    usage: Usage = field(default_factory=Usage)
    error: str = ""
    tags: Mapping[str, str | float] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        """Its name in the run; a collection of these is what `answers` takes as `done`."""
        return Key(self.subject, self.item, self.variant)


class Subject(Protocol):
    """Whatever is judged: a chat, a generator of pictures, a folder of files."""

    def __call__(self, sample: Sample, *, seed: int) -> tuple[tuple[Message, ...], Usage]:
        """All that is said and shown on a sample, and its cost.

        Args:
            sample: the item.
            seed: of the item, the same for all subjects and variants; a talk draws the seed of a turn with
                `call_seed(sample.id, turn, seed=seed)`.

        Raises:
            ChatError: no output; `CutShortError` where some turns were made.
            MediaError: a part of the sample cannot be read.
        """


class CutShortError(ChatError):
    """A talk that ended before its time; it keeps its turns, which are shown and not scored."""

    def __init__(
        self, reason: Failure, detail: str, messages: tuple[Message, ...], usage: Usage | None = None
    ) -> None:
        super().__init__(reason, detail, usage)
        self.args = (reason, detail, messages, usage)  # what pickling hands to __init__
        self.messages = messages


@lru_cache(maxsize=4096)  # who answers and who judges an item ask for the same one
def call_seed(item: str, turn: int, *, seed: int) -> int:
    """The seed of one call: 63 bits of SHA-256 over the run's seed, the item and the turn.

    Neither subject nor variant enter (common random numbers): paired differences are tight, and a subject
    that ignores what the variants change differs by exactly 0.
    """
    words = json.dumps([seed, item, turn]).encode()
    return int.from_bytes(hashlib.sha256(words).digest()[:8]) >> 1


def answers(
    subjects: Mapping[str, Subject],
    items: Iterable[Sample],
    *,
    seed: int,
    threads: int = 1,
    done: Collection[tuple[str, str, str]] = frozenset(),
) -> Iterator[Answer]:
    """Ask every subject every item. Yields in the order of items, then subjects; writes nothing.

    Items are taken as they are needed and answers are not kept, so memory does not grow with their number.

    Args:
        subjects: by name.
        items: samples; the same id may come once a variant.
        seed: of the run.
        threads: calls at once.
        done: (subject, item, variant) that are not asked again.

    Returns:
        An Answer each; a failed one has `error` and stays in every denominator.
    """
    wanted = (
        (name, sample)
        for sample in items
        for name in subjects
        if (name, sample.id, str(sample.tags.get("variant", ""))) not in done
    )
    return ordered(lambda one: _answer(one[0], subjects[one[0]], one[1], seed=seed), wanted, threads=threads)


def _answer(name: str, subject: Subject, sample: Sample, *, seed: int) -> Answer:
    messages: tuple[Message, ...] = ()
    usage, error = Usage(), ""
    try:
        messages, usage = subject(sample, seed=call_seed(sample.id, 0, seed=seed))
    except CutShortError as failed:
        messages, usage, error = failed.messages, failed.usage, failed.reason
    except ChatError as failed:
        usage, error = failed.usage, failed.reason
    except MediaError as failed:
        error = failed.reason
    return Answer(
        subject=name,
        item=sample.id,
        group=sample.group or sample.id,
        variant=str(sample.tags.get("variant", "")),
        messages=messages,
        usage=usage,
        error=error,
        tags={tag: value for tag, value in sample.tags.items() if tag != "variant"},
    )


def case_of(answer: Answer, reference: str = "") -> Case:
    """An answer as a case; its id is `subject|item|variant`."""
    return Case(
        id="|".join(answer.key),
        item=answer.item,
        group=answer.group,
        subject=answer.subject,
        variant=answer.variant,
        messages=answer.messages,
        reference=reference,
        tags=answer.tags,
        error=answer.error,
    )


def verdicts(
    judges: Sequence[Judge], cases: Iterable[Case], *, seed: int, threads: int = 1
) -> Iterator[tuple[Case, Verdict]]:
    """Put every case before every judge. Lazy and in order, as `answers`.

    Args:
        judges: rules, models, panels.
        cases: what is judged.
        seed: of the run; a judge gets that of the case's item, so that equal outputs get equal verdicts.
        threads: calls at once.
    """

    def one(asked: tuple[Case, Judge]) -> tuple[Case, Verdict]:
        case, judge = asked
        return case, judge(case, seed=call_seed(case.item, 0, seed=seed))

    return ordered(one, ((case, judge) for case in cases for judge in judges), threads=threads)
