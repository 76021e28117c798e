"""Sentences that are true of a scene, short, long or of a region, and some that nearly are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Literal

from polymodal.envs.scenes import COLOURS, PLACES, SHAPES, SIZES, TEXTURES, Object, Scene, Sign, Stream

ATTRIBUTES = ("colour", "size", "texture", "place")  # what hard negatives change; the shape is kept
VALUES: dict[str, tuple[str, ...]] = {
    "shape": SHAPES, "colour": tuple(COLOURS), "size": tuple(SIZES), "texture": TEXTURES, "place": PLACES,
}  # fmt: skip
COUNTS = (
    "no",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)
WHERE = {
    "top left": "at the top left", "top": "at the top", "top right": "at the top right",
    "left": "on the left", "middle": "in the middle", "right": "on the right",
    "bottom left": "at the bottom left", "bottom": "at the bottom", "bottom right": "at the bottom right",
}  # fmt: skip
SHORT = ("{}", "{} on grey", "a scene with {}", "{} in one picture")
PHRASE = (
    "the {size} {texture} {colour} {shape} {where}",
    "{a_size} {texture} {colour} {shape} {where}",
    "{where} {a_size} {texture} {colour} {shape}",
    "{a_texture} {colour} {shape} {where}, {size}",
)
OPENING = (
    "there {are} {n} in all.", "the picture shows {n} in all.", "{n} {are} in the picture.",
    "here {are} {n} on grey.",
)  # fmt: skip
SENTENCE = (
    "a {look} is {where}, {relation}.",
    "{where} is a {look}, {relation}.",
    "a {look} is {relation}, {where}.",
    "{where}, {relation}, is a {look}.",
)
ALONE = (
    "a {look} is {where}.",
    "{where} is a {look}.",
    "there is a {look} {where}.",
    "{where} we see a {look}.",
)
SIGN = (
    "a sign {where} shows {says}.", "{where} is a sign with {says}.",
    "{says} is on a sign {where}.", "there is a sign {where} with {says}.",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that a caption says.

    Attributes:
        about: shape, colour, size, texture, place or relation of an object; sign or sign place.
        i: which object, or which sign.
        value: "red", "top left", "left of", or what a sign says.
        other: the object that a relation is to.
    """

    about: str
    i: int
    value: str
    other: int | None = None


@dataclass(frozen=True, slots=True)
class Caption:
    """A text and the facts that it states, in its order."""

    text: str
    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class Negative:
    """A phrase that is not true of its region.

    Attributes:
        text: the phrase, in the words of the true one but for what was changed.
        changed: names of the attributes that were.
    """

    text: str
    changed: tuple[str, ...]


def facts(thing: Object) -> dict[str, str]:
    """Shape, colour, size, texture and place by name."""
    return {
        "shape": thing.shape,
        "colour": thing.colour,
        "size": thing.size,
        "texture": thing.texture,
        "place": thing.place,
    }


def article(word: str) -> str:
    """The word with a or an before it."""
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"


def counted(n: int, noun: str) -> str:
    """So many of a noun, in words up to twelve: "one ring", "two crosses"."""
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{COUNTS[n] if n < len(COUNTS) else n} {noun if n == 1 else plural}"


def relation(one: Object, other: Object) -> str:
    """Where the one is seen from the other, along the axis on which they are further apart."""
    dx, dy = one.x - other.x, one.y - other.y
    if abs(dx) >= abs(dy):
        return "left of" if dx < 0 else "right of"
    return "above" if dy < 0 else "below"


def short(scene: Scene, *, seed: int) -> str:
    """Colours and shapes with their counts, then what signs say: "a red star and two blue circles"."""
    kinds = Counter(f"{thing.colour} {thing.shape}" for thing in scene.objects)
    parts = [article(kind) if n == 1 else counted(n, kind) for kind, n in kinds.items()]
    parts += [_says(sign) for sign in scene.signs]
    listed = ", ".join(parts[:-1]) + " and " + parts[-1] if len(parts) > 1 else "".join(parts) or "nothing"
    return Stream(*scene.key, "short", seed).pick(SHORT).format(listed)


def long(scene: Scene, *, seed: int) -> Caption:
    """Every object with its attributes, place and one relation, a sentence each; then every sign.

    Scenes of one to three objects begin with their number, so that two objects make some 40 tokens of the
    pocket tokeniser, and five less than 110.
    """
    stream = Stream(*scene.key, "long", seed)
    things, sentences, told = scene.objects, [], []
    if 1 <= len(things) <= 3:
        are = "is" if len(things) == 1 else "are"
        sentences.append(stream.pick(OPENING).format(n=counted(len(things), "object"), are=are))
    for i in range(len(things)):
        sentence, stated = _sentence(scene, i, stream)
        sentences.append(sentence)
        told += stated
    for i, sign in enumerate(scene.signs):
        sentences.append(stream.pick(SIGN).format(where=WHERE[sign.place], says=_says(sign)))
        told += [Fact("sign", i, sign.text), Fact("sign place", i, sign.place)]
    return Caption(" ".join(sentences) or "there is nothing.", tuple(told))


def _sentence(scene: Scene, i: int, stream: Stream) -> tuple[str, list[Fact]]:
    """The fuller the scene, the fewer words name the other object, so that texts keep within their length."""
    things, thing = scene.objects, scene.objects[i]
    look = f"{thing.size} {thing.texture} {thing.colour} {thing.shape}"
    told = [Fact(name, i, value) for name, value in facts(thing).items()]
    where = WHERE[thing.place]
    if len(things) == 1:
        return stream.pick(ALONE).format(look=look, where=where), told
    j = stream.below(len(things) - 1)
    j += j >= i
    other, way = things[j], relation(thing, things[j])
    words = [other.size, other.texture] if len(things) <= 3 else [other.size]
    words = words if len(things) + len(scene.signs) <= 6 else []
    seen = f"{way} the {' '.join([*words, other.colour, other.shape])}"
    sentence = stream.pick(SENTENCE).format(look=look, where=where, relation=seen)
    return sentence, [*told, Fact("relation", i, way, j)]


def _says(sign: Sign) -> str:
    return f"the {'number' if sign.text.isdigit() else 'word'} {sign.text}"


def phrase(scene: Scene, i: int, *, seed: int) -> str:
    """The attributes and the place of object i: "the large striped red star at the top left".

    Raises:
        IndexError: the scene has no such object.
    """
    return _phrased(_form(scene, i, seed), facts(scene.objects[i]))


def _form(scene: Scene, i: int, draw: int) -> str:
    return Stream(*scene.key, "phrase", i, draw).pick(PHRASE)


def _phrased(form: str, of: Mapping[str, str]) -> str:
    return form.format(
        shape=of["shape"],
        colour=of["colour"],
        size=of["size"],
        texture=of["texture"],
        where=WHERE[of["place"]],
        a_size=article(of["size"]),
        a_texture=article(of["texture"]),
    )


def negatives(
    scene: Scene,
    i: int,
    *,
    changes: int = 1,
    n: int = 10,
    avoid: Literal["image", "region"] = "image",
    attributes: Sequence[str] = ATTRIBUTES,
    values: Mapping[str, Sequence[str]] | None = None,
    seed: int,
) -> tuple[Negative, ...]:
    """Phrases of object i that are false, in the words of `phrase` with the same seed.

    Each changes exactly `changes` attributes (1 is hard, 2 medium, 3 easy) and is false of object i; places
    are changed only where the other attributes give too few. All texts differ. Fewer than n come back where
    fewer are possible.

    Args:
        scene: that the object is in.
        i: which object.
        changes: how many attributes differ.
        n: how many phrases.
        avoid: "image" leaves out what is true of another object, "region" does not.
        attributes: what may change; ("shape",) swaps shapes.
        values: what an attribute may change to, by its name; all of `VALUES` where it is not named.
        seed: of the phrase and of the draw.

    Raises:
        ValueError: an unknown attribute or way to avoid, or changes that the attributes do not allow.
        IndexError: the scene has no such object.
    """
    unknown = [name for name in attributes if name not in VALUES]
    if unknown or not 1 <= changes <= len(set(attributes)) or len(set(attributes)) < len(attributes):
        raise ValueError(f"changes={changes} of attributes {tuple(attributes)}; known: {', '.join(VALUES)}")
    if avoid not in ("image", "region"):
        raise ValueError(f'avoid={avoid!r}: "image" or "region"')
    own = facts(scene.objects[i])
    seen = [facts(thing) for thing in scene.objects] if avoid == "image" else [own]
    form, stream = _form(scene, i, seed), Stream(*scene.key, "negatives", i, changes, seed)
    found: list[Negative] = []
    for changed, new in _changes(own, attributes, values or {}, changes, stream):
        if len(found) == n:
            break
        other = {**own, **dict(zip(changed, new, strict=True))}
        if other not in seen:
            found.append(Negative(_phrased(form, other), changed))
    return tuple(found)


def _changes(
    own: Mapping[str, str],
    attributes: Sequence[str],
    values: Mapping[str, Sequence[str]],
    changes: int,
    stream: Stream,
) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Names and new values, in drawn order; those with a place last, made only when they are reached."""
    others = {
        name: [value for value in values.get(name, VALUES[name]) if value != own[name]] for name in attributes
    }
    groups = list(combinations(attributes, changes))
    for placed in (False, True):
        chosen = [names for names in groups if ("place" in names) == placed]
        pairs = [(names, new) for names in chosen for new in product(*(others[name] for name in names))]
        yield from stream.shuffled(pairs)
