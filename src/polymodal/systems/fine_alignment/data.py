"""Scenes as pictures with captions, boxes and negatives; what a tokenizer learns from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from urllib.parse import parse_qsl

import numpy as np

from polymodal.envs import captions
from polymodal.envs.questions import FAMILIES, ask
from polymodal.envs.scenes import COLOURS, SHAPES, Scene, Stream, pixels, scene
from polymodal.media import Image
from polymodal.systems.alignment.feeding import Source
from polymodal.systems.alignment.pictures import Option, Picture, Region

CHANGES = {"hard": 1, "medium": 2, "easy": 3}  # attributes that differ
KEPT = 10_000  # scenes that are held in memory
SWAPS = (
    (captions.ATTRIBUTES, 11), (("size", "texture", "colour", "shape"), 18), (("texture", "shape"), 10),
)  # fmt: skip
"""Attributes that training negatives change, and how many there are without a change of place."""
SIGNS = ("the number {}", "a sign with the number {} {}", "{1} is a sign with the number {0}")


@dataclass(frozen=True, slots=True)
class World:
    """Scenes to draw; `World.of("scenes?n=60000&signs=2")` reads one from the option `data`.

    Attributes:
        n: scenes to train on.
        test: scenes to test on.
        val: scenes to watch the training by, if any.
        size: pixels a side.
        fewest: objects of a scene at least.
        most: objects of a scene at most.
        shapes: so many of the world's shapes.
        colours: so many of its colours.
        signs: signs of a scene at most; 0 for none anywhere.
        every: one scene in so many has signs.
        swap: 1 lets training negatives change the shape too, which scored ones keep; 2 the texture and the
            shape alone, which are learnt last.
        grey: 1 takes all colour from the pixels (a control).
        hold: 1 keeps pairs of shape and colour for the test (every fifth pair); see `held`.
        seed: of the world; `seed` of a training changes its scenes only.
    """

    n: int = 2000
    test: int = 500
    val: int = 0
    size: int = 48
    fewest: int = 4
    most: int = 4
    shapes: int = 5
    colours: int = 8
    signs: int = 0
    every: int = 2
    swap: int = 0
    grey: int = 0
    hold: int = 0
    seed: int = 0

    @classmethod
    def of(cls, data: str, **given: int) -> World:
        """The world that a text names.

        Raises:
            ValueError: no such field, with those there are.
        """
        said = dict(parse_qsl(data.partition("?")[2]))
        if unknown := said.keys() - set(cls.__slots__):
            raise ValueError(f"scenes have no {sorted(unknown)[0]!r}; known: {', '.join(cls.__slots__)}")
        return cls(**(given | {key: int(value) for key, value in said.items()}))

    def names(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Shapes and colours of this world."""
        return SHAPES[: self.shapes], tuple(COLOURS)[: self.colours]

    def pairs(self) -> frozenset[tuple[str, str]]:
        """Shapes and colours that training never sees together."""
        every = [(shape, colour) for shape in self.names()[0] for colour in self.names()[1]]
        return frozenset(every[::5]) if self.hold else frozenset()

    def scene(self, index: int, split: str) -> Scene:
        """One scene; where signs leave too little room, one has fewer of them."""
        shapes, colours = self.names()
        most = self.signs if (index + 1) % self.every == 0 else 0
        for signs in range(most, -1, -1):
            try:
                return scene(
                    index, split=split, seed=self.seed, size=self.size, n=(self.fewest, self.most),
                    signs=(min(1, signs), signs), shapes=shapes, colours=colours,
                    hold_out=self.pairs(), held=split == "held",
                )  # fmt: skip
            except ValueError:
                if not signs:
                    raise
        raise AssertionError("unreachable")

    def picture(self, index: int, split: str) -> Picture:
        """The scene with its captions, a region an object and a region a sign."""
        made = self.scene(index, split)
        array = pixels(made)
        if self.grey:
            array = np.repeat(array.mean(axis=2, keepdims=True).round().astype(np.uint8), 3, axis=2)
        train = split.startswith("train")
        objects = [thing(made, i, train=train, swap=self.swap) for i in range(len(made.objects))]
        signs = [sign(made, i) for i in range(len(made.signs))]
        name = f"{split}-{index}"
        return Picture(
            name, name, Image(array), captions.long(made, seed=0).text, (captions.short(made, seed=0),),
            (*objects, *signs), "train" if train else "val" if split == "val" else "test",
        )  # fmt: skip


def thing(made: Scene, i: int, *, train: bool, swap: int) -> Region:
    """An object: its phrase, and phrases that differ from it in one, two and three attributes."""
    one = made.objects[i]
    what, n = SWAPS[swap if train else 0]
    n = n if train else 10
    options = {
        name: tuple(
            Option(false.text, "+".join(false.changed))
            for false in captions.negatives(made, i, changes=changes, n=n, attributes=what, seed=0)
        )
        for name, changes in CHANGES.items()
        if not train or name == "hard"
    }
    return Region(one.box(), captions.phrase(made, i, seed=0), options, one.shape, one.size)


def sign(made: Scene, i: int) -> Region:
    """A sign: what it says, and ten other numbers."""
    one, stream = made.signs[i], Stream(*made.key, "sign", i)
    form, where = stream.pick(SIGNS), captions.WHERE[one.place]
    others = [str(n) for n in range(32) if str(n) != one.text]
    options = tuple(Option(form.format(n, where), "number") for n in stream.shuffled(others)[:10])
    return Region(one.box(), form.format(one.text, where), {"sign": options}, "", "sign")


def trivial(pictures: Sequence[Picture], n: int = 10) -> list[Picture]:
    """The pictures with one more set of options for objects: phrases of later pictures."""
    said = [[r.phrase for r in one.regions if r.label] for one in pictures]
    out = []
    for i, picture in enumerate(pictures):
        others = [text for k in range(1, len(said)) for text in said[(i + k) % len(said)][:1]][:n]
        kept = tuple(Option(text) for text in others)
        regions = tuple(
            replace(r, options={**r.options, "trivial": tuple(o for o in kept if o.text != r.phrase)})
            if r.label
            else r
            for r in picture.regions
        )
        out.append(replace(picture, regions=regions))
    return out


@lru_cache(maxsize=8)
def shown(world: World, split: str) -> tuple[Picture, ...]:
    """The world's pictures to watch by (`val`) or to score (`test`, `held`), with all sets of options."""
    count = world.val if split == "val" else world.test
    return tuple(trivial([world.picture(i, split) for i in range(count)]))


def drawn(world: World, *, seed: int) -> Source:
    """The scenes of a training seed; few are kept in memory, so that further epochs cost nothing."""
    split = f"train{seed}"

    def at(i: int) -> Picture:
        return world.picture(i, split)

    return Source(world.n, lru_cache(maxsize=world.n)(at) if world.n <= KEPT else at)


def texts(scenes: int, questions: int) -> Iterator[str]:
    """What pocket tokenizers learn from: captions, phrases, questions of every family, sums of numbers.

    Args:
        scenes: whose captions and phrases are said.
        questions: of each family, with their answers.
    """
    world = World(size=64, fewest=2, most=5, shapes=8, signs=2)
    for i in range(scenes):
        picture = world.picture(i, "train0")
        yield from (picture.long, *picture.short, *(region.phrase for region in picture.regions))
    for family in FAMILIES:
        for i in range(questions):
            question = ask(i, family=family, split="train0", seed=0)[1]
            yield f"question: {question.question} answer: {question.answer}"
            yield " ".join(question.choices)
    for one in range(32):
        for other in range(0, 32, 3):
            more = "more" if one > other else "fewer" if one < other else "equal"
            yield f"{one} plus {other} is {one + other}, so the sum is {one + other}."
            yield f"{one} minus {other} is {one - other}, then {one} is {more} than {other}."
