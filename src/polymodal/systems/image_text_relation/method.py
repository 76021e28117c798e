"""The two questions and the one: their wording, probes of a subject's bias, overlap."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from polymodal.chat import assistant, uniform, user
from polymodal.envs.cards import Scene
from polymodal.media import Image, Message, Part, Sample, Text
from polymodal.systems.reply import words as replies

PROMPTS = Path(__file__).parent / "prompts.json"
QUESTIONS = ("adds", "represented")
OPEN, CLOSE = "«««\n", "\n»»»"


@cache
def prompts() -> dict[str, Any]:
    """The wording by prompt language."""
    known: dict[str, Any] = json.loads(PROMPTS.read_text(encoding="utf-8"))
    return known


def wording(language: str) -> dict[str, Any]:
    """The wording of a language.

    Raises:
        ValueError: there is none; the message says where to write it.
    """
    if language not in prompts():
        known = ", ".join(prompts())
        raise ValueError(
            f"no prompts in {language!r}; known: {known}. Add yours to {PROMPTS.name} and reply.json"
        )
    found: dict[str, Any] = prompts()[language]
    return found


@dataclass(frozen=True, slots=True)
class Query:
    """How a post is asked about.

    Attributes:
        question: adds, represented, four, or chat: the first two in one conversation.
        prompt: language of the prompt.
        probe: "" or one of `systems.probes.PROBES`.
        order: what comes first, `text` or `picture`.
    """

    question: str
    prompt: str
    probe: str = ""
    order: str = "text"

    @property
    def asked(self) -> tuple[str, ...]:
        """The questions one after the other."""
        return QUESTIONS if self.question == "chat" else (self.question,)

    def schema(self) -> dict[str, Any]:
        """The reply as JSON, for services that hold a model to it."""
        yes, no = (replies()[self.prompt][kind][0] for kind in ("yes", "no"))
        choice = {"enum": [*"ABCD"] if self.question == "four" else [yes, no]}
        fixed = {"type": "object", "required": ["answer"], "additionalProperties": False}
        return fixed | {"properties": {"answer": choice}}


def truth(post: Sample, question: str) -> str | None:
    """The right answer: yes, no, a class, or None where the label does not say."""
    target = str(post.target)
    if question == "represented" and target in ("true", "false"):
        return "yes" if target == "true" else "no"
    if target not in ("0", "1", "2", "3"):
        return None
    no = int(target) // 2 if question == "adds" else int(target) % 2
    return target if question == "four" else "no" if no else "yes"


def letters(post: Sample, probe: str = "", *, seed: int) -> tuple[str, ...]:
    """The letter of each class, shuffled for each post, and again where their order is probed."""
    again = "again" if probe == "other order" else ""
    return tuple(sorted("ABCD", key=lambda letter: uniform(seed, post.id, again, letter)))


def turns(
    query: Query,
    post: Sample,
    donor: Part | None = None,
    shots: Sequence[Sample] = (),
    words: str = "",
    *,
    seed: int,
) -> list[tuple[Message, ...]]:
    """What is said before each reply: shown posts with their answers, then the question.

    Args:
        query: how to ask.
        post: about what.
        donor: the picture of another post, for the probe `swapped`.
        shots: posts shown before with their answers.
        words: what was read in the picture.
        seed: of the letters.
    """
    shown: list[Message] = []
    for shot in shots:
        for question in query.asked:
            told = str(truth(shot, question))
            by_letter = question == "four"
            word = (
                letters(shot, query.probe, seed=seed)[int(told)]
                if by_letter
                else replies()[query.prompt][told][0]
            )
            shown += [user(*_parts(query, question, shot, None, "", seed=seed)), assistant(word)]
    asked = [user(*_parts(query, question, post, donor, words, seed=seed)) for question in query.asked]
    return [(*shown, asked[0]), *((message,) for message in asked[1:])]


def _parts(
    query: Query, question: str, post: Sample, donor: Part | None, words: str, *, seed: int
) -> list[Part | str]:
    """Text and picture as the probe has them, then the question."""
    say, probe = wording(query.prompt), query.probe
    text = part.read() if isinstance(part := post.parts.get("text"), Text) else ""
    language = str(post.tags.get("language", query.prompt)).split("-")[0]
    if probe == "orders":
        text = f"{text} {say['order'].format(no=replies()[query.prompt]['no'][0])}"
    text = text.replace("«««", "<<<").replace("»»»", ">>>")  # quoted text cannot end its quotation
    framed = say["frame"].format(language=say["names"].get(language, language), text=text)
    changed = {"swapped": donor, "blank": _blank(), "text alone": None}
    image = changed.get(probe, post.parts.get("image"))
    parts: list[Part | str] = [say["bare"] if probe == "picture alone" else framed]
    parts += [] if image is None else [image]
    if (query.order == "picture") != (probe == "other order"):
        parts.reverse()
    told = [say["words"].format(words=words)] if words and probe not in changed else []
    if question != "four":
        ask = say[f"{question}_not" if probe == "negated" else question]
        return [*parts, "\n".join([*told, ask, say["answer"]])]
    options = dict(zip(letters(post, probe, seed=seed), say["options"], strict=True))
    lines = [f"{letter}. {options[letter]}" for letter in "ABCD"]
    return [*parts, "\n".join([*told, say["four"], *lines, say["letter"]])]


@cache
def _blank() -> Image:
    return Scene().image()


@dataclass(frozen=True, slots=True)
class Understood:
    """What a prompt of ours asks, read back from its words alone."""

    question: str
    negated: bool
    text: str
    yes: str
    no: str
    letters: tuple[str, ...]


def understood(words: str) -> Understood:
    """Read a prompt back.

    Raises:
        ValueError: none of our questions is in it.
    """
    text = words.partition(OPEN)[2].rpartition(CLOSE)[0]
    for language, say in prompts().items():
        for key in ("adds_not", "adds", "represented_not", "represented", "four"):
            if say[key] in words:
                told = {option: letter for letter, option in re.findall(r"^([ABCD])\. (.*)$", words, re.M)}
                known = tuple(told[option] for option in say["options"]) if key == "four" else ()
                yes, no = (replies()[language][kind][0] for kind in ("yes", "no"))
                return Understood(key.removesuffix("_not"), key.endswith("_not"), text, yes, no, known)
    raise ValueError(f"no question of {PROMPTS.name} is asked in {words[:80]!r}")


def overlap(text: str, seen: str, sign: str) -> list[float]:
    """Counts of detected words that the text has and has not, of sign words that it has and has not."""
    said, *shown = (set(re.findall(r"\w+", words.casefold())) for words in (text, seen, sign))
    return [float(n) for words in shown for n in (len(words & said), len(words - said))]
