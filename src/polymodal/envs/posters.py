"""Posters, a shape above a food word, and an observer who misreads them at known rates."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection
from functools import cache
from itertools import product
from typing import Any
from urllib.parse import parse_qsl

from polymodal.chat import ChatModel, Reply, Scripted, Usage, assistant, said, uniform
from polymodal.envs.cards import Scene, Thing
from polymodal.media import Image, Message

COLOURS = {  # Latvian adjectives, masculine and feminine
    "red": ("sarkans", "sarkana"),
    "green": ("zaļš", "zaļa"),
    "blue": ("zils", "zila"),
    "yellow": ("dzeltens", "dzeltena"),
}
SHAPES = {"circle": "aplis", "square": "kvadrāts", "triangle": "trijstūris", "star": "zvaigzne"}
THINGS = tuple(f"{colour} {shape}" for colour, shape in product(COLOURS, SHAPES))
SIGNS = {
    "soup": "zupa", "bread": "maize", "cheese": "siers", "fish": "zivs", "honey": "medus", "milk": "piens",
    "coffee": "kafija", "eggs": "olas", "sausage": "desa", "chicken": "vista", "butter": "sviests",
    "sugar": "cukurs",
}  # fmt: skip
FOODS = tuple(SIGNS)
LANGUAGES = ("en", "lv")


def spoken(word: str, language: str) -> str:
    """A thing or a food in English or Latvian, where the adjective has its noun's gender (a star is a she).

    Raises:
        ValueError: another language.
    """
    if language not in LANGUAGES:
        raise ValueError(f"posters speak {' and '.join(LANGUAGES)}, not {language!r}")
    if language == "en":
        return word
    if word in SIGNS:
        return SIGNS[word]
    colour, shape = word.split()
    return f"{COLOURS[colour][shape == 'star']} {SHAPES[shape]}"


MEANT = {spoken(word, language): word for language in LANGUAGES for word in (*THINGS, *FOODS)}
_WORD = re.compile("|".join(sorted(map(re.escape, MEANT), key=len, reverse=True)), re.IGNORECASE)


def named(text: str) -> list[str]:
    """Things and foods that a text names, as it names them, in order."""
    return [word.lower() for word in _WORD.findall(text)]


@cache
def poster(thing: str, sign: str) -> Image:
    """The thing above the written sign."""
    colour, shape = thing.split()
    return Scene((Thing(shape, colour, y=0.36, size=0.6),), sign).image()


@cache
def catalogue() -> dict[str, tuple[str, str]]:
    """Every poster by digest: the thing that is drawn, the sign as it is written."""
    signs = [*SIGNS, *SIGNS.values()]
    return {poster(thing, sign).digest(): (thing, sign) for thing, sign in product(THINGS, signs)}


def other(word: str, words: Collection[str], *key: str | int) -> str:
    """One of the other words, each as likely, drawn by the key."""
    rest = [one for one in words if one != word]
    return rest[int(uniform(*key, "other") * len(rest))]


def blurred(word: str, words: Collection[str], wrong: float, *key: str | int) -> str:
    """The word, or with probability `wrong` one of the others; the key is the draw."""
    return other(word, words, *key) if uniform(*key, "wrong") < wrong else word


def matching(right: float, tau: float, kinds: int) -> tuple[float, float]:
    """How likely two words seem equal where they are, and where they differ.

    Args:
        right: chance that the one is read right, else as any other.
        tau: chance that the other one is replaced by any other.
        kinds: how many words there are.
    """
    v, miss = kinds - 1, 1 - right
    equal = right * (1 - tau) + miss * tau / v
    return equal, ((1 - tau) * miss + tau * right) / v + tau * miss * (v - 1) / v**2


def observer(
    understand: Callable[[str], Any],
    *,
    see: float = 0.9,
    read: float = 0.9,
    tau: float = 0.0,
    bias: float = 0.0,
    lean: float = 0.0,
    refuse: float = 0.0,
    translate: bool = True,
) -> ChatModel:
    """A model that reads prompt and picture with errors of known rates; `expected` says what follows.

    Args:
        understand: a prompt's words to its question, negated, text, yes, no and letters.
        see: chance to take the drawn shape for what it is, else for any other.
        read: the same for the sign.
        tau: chance to take a thing that the text names for any other.
        bias: share of questions that get a yes whatever is asked.
        lean: share of posts of which it says that the picture adds and the text is represented.
        refuse: share of questions that it refuses.
        translate: whether it knows that a word and its translation mean the same.
    """
    rates = {"see": see, "read": read, "tau": tau, "bias": bias, "lean": lean, "refuse": refuse}
    told = "&".join(f"{name}={rate:g}" for name, rate in rates.items())

    def equal(question: str, messages: tuple[Message, ...], words: str, *, seed: int) -> bool:
        """Whether what the text names looks like what the picture has; where one is missing, it guesses."""
        at, kinds, sure = (0, THINGS, see) if question == "represented" else (1, FOODS, read)
        image = next((part for part in messages[-1].parts if isinstance(part, Image)), None)
        found = catalogue().get(image.digest()) if image else None
        shown = found[at] if found else other("", kinds, seed, question, "shown")
        written = next((word for word in named(words) if MEANT[word] in kinds), "")
        meant = MEANT[written] if written else other("", kinds, seed, question, "guess")
        strange = at == 1 and not translate and bool(written) and (written in FOODS) != (shown in FOODS)
        heard = blurred(meant, kinds, tau, seed, question, "text")
        return heard == blurred(MEANT[shown], kinds, 1 - sure, seed, question, "picture") and not strange

    def answer(messages: tuple[Message, ...], draw: int) -> Reply:
        heard, usage = understand(said(messages[-1])), Usage(calls=1)
        if uniform(draw, heard.question, "refuse") < refuse:
            return Reply(assistant("I cannot tell."), usage)
        leaning, yes, forced = uniform(draw, "lean") < lean, {}, {}
        for question in ("adds", "represented") if heard.question == "four" else (heard.question,):
            same = equal(question, messages, heard.text, seed=draw)
            yes[question] = leaning or same == (question == "represented")
            forced[question] = uniform(draw, question, "bias") < bias
        if heard.question == "four":
            no = {question: not (yes[question] or forced[question]) for question in yes}
            return Reply(assistant(heard.letters[2 * no["adds"] + no["represented"]]), usage)
        equals, differ = matching(
            *((see, tau, len(THINGS)) if question == "represented" else (read, tau, len(FOODS)))
        )
        chance = equals / (equals + differ) if same else (1 - equals) / (2 - equals - differ)
        positive = (question == "represented") != heard.negated
        chance = 1.0 if forced[question] else chance if positive else 1 - chance
        first = {heard.yes: math.log(max(chance, 1e-9)), heard.no: math.log(max(1 - chance, 1e-9))}
        word = heard.yes if forced[question] or yes[question] != heard.negated else heard.no
        return Reply(assistant(word), usage, first=first)

    return Scripted(f"scripted:relation?{told}&translate={str(translate).lower()}", answer)


def expected(
    *, see: float = 0.9, read: float = 0.9, tau: float = 0.0, bias: float = 0.0, refuse: float = 0.0
) -> dict[str, float]:
    """Closed-form accuracy of `observer` by question and of both (`class`), all four cases equally many."""
    found = {}
    for question, right, kinds in (("represented", see, len(THINGS)), ("adds", read, len(FOODS))):
        equal, different = matching(right, tau, kinds)
        found[question] = (1 - refuse) * ((1 - bias) * (1 + equal - different) / 2 + bias / 2)
    return found | {"class": found["represented"] * found["adds"]}


def foretold(spec: str, tau: float = 0.0) -> dict[str, float]:
    """What `expected` says of `scripted:relation?...`; nothing where an option has no closed form.

    Args:
        spec: the subject, as `connect` takes it.
        tau: chance that the text itself has another word; not known together with the subject's own.
    """
    kind, _, rest = spec.partition("?")
    given = dict(parse_qsl(rest))
    unknown = given.keys() - {"see", "read", "tau", "bias", "refuse"}
    if kind != "scripted:relation" or unknown or (tau and "tau" in given):
        return {}
    return expected(**({"tau": tau} | {key: float(value) for key, value in given.items()}))
