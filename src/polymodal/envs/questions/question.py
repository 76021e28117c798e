"""A question about a scene, and the draw that it and its scene come from."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TypeVar

from polymodal.envs.scenes import CrowdedError, Look, Object, Scene, Stream, World, arranged

T = TypeVar("T")
MARGIN = 6 / 64  # two things must be so far apart, as a share of the side, to be called left or above
DESCRIBING = ("size", "texture", "colour", "shape")  # in the order of the words
MOST = 6  # the largest count that is asked for
LAYOUTS = 4  # places tried for one draw of looks, before others are drawn


@dataclass(frozen=True, slots=True)
class Question:
    """A question with one right answer among a few.

    Attributes:
        question: in lower-case English.
        answer: one of the choices.
        choices: every answer that the family has in this world.
        family: one of `FAMILIES`.
        needs: families of perception that it stands on; a family of perception needs itself.
    """

    question: str
    answer: str
    choices: tuple[str, ...]
    family: str
    needs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Draw:
    """All that a question and its scene are drawn from.

    Attributes:
        index: of the question in its family and split.
        family: the question's.
        split: "train", "test" or another word.
        root: the seed of the whole set.
        size: side of the scene in pixels.
        n: fewest and most objects.
        signs: fewest and most signs.
        world: what there may be.
        pairs: what two signs may say, the left one first; any numbers of the world when empty.
        stream: what is drawn comes from here.
    """

    index: int
    family: str
    split: str
    root: int
    size: int
    n: tuple[int, int]
    signs: tuple[int, int]
    world: World
    pairs: Collection[tuple[int, int]]
    stream: Stream

    def target(self, choices: Sequence[str]) -> str:
        """The answer to draw a scene for: each choice once in every k questions in a row, in drawn order."""
        turn, at = divmod(self.index, len(choices))
        return Stream(self.root, self.split, self.family, "answers", turn).shuffled(choices)[at]

    def kind(self, options: Sequence[T]) -> T | None:
        """What the question is about, the same at every try: no kind may be rarer with one of the answers."""
        stream = Stream(self.root, self.split, self.index, self.family, "kind")
        return stream.pick(options) if options else None

    def between(self, low: int, high: int) -> int:
        """An integer from low to high, both possible."""
        return low + self.stream.below(high - low + 1)

    def looks(self, n: int | None = None) -> list[Look]:
        """So many looks, or as many as `self.n` allows."""
        count = self.between(*self.n) if n is None else n
        return [self.world.look(self.stream) for _ in range(count)]

    def like(self, *, shape: str = "", colour: str = "", size: str = "", texture: str = "") -> Look:
        """A look with the given attributes; shape and colour, where both are given, no pair of `hold_out`."""
        while True:
            drawn = self.world.look(self.stream)
            look = (shape or drawn[0], colour or drawn[1], size or drawn[2], texture or drawn[3])
            if look[:2] not in self.world.hold_out:
                return look

    def scene(self, looks: Sequence[Look], texts: Sequence[str] | None = None) -> Scene | None:
        """The looks at drawn places with signs; None where there was no room.

        Args:
            looks: of the objects; all become small where there are many.
            texts: of the signs; drawn when None.
        """
        if texts is None:
            texts = [str(self.stream.pick(self.world.numbers)) for _ in range(self.between(*self.signs))]
        if len(looks) + len(texts) > 5 and "small" in self.world.sizes:
            looks = [(shape, colour, "small", texture) for shape, colour, _, texture in looks]
        key = (self.root, f"{self.split}/{self.family}", self.index)
        try:
            return arranged(looks, texts, stream=self.stream, key=key, size=self.size, layouts=LAYOUTS)
        except CrowdedError:
            return None

    def question(
        self, templates: Sequence[str], answer: str, choices: Sequence[str], *needs: str, **words: str
    ) -> Question:
        """One of the templates with its words."""
        text = self.stream.pick(templates).format(**words)
        return Question(text, answer, tuple(choices), self.family, needs or (self.family,))

    def named(self, scene: Scene, i: int, *hidden: str) -> str | None:
        """The fewest words that fit object i and no other, without the hidden attributes; None for none."""
        free = [name for name in DESCRIBING if name not in hidden]
        own = scene.objects[i]
        others = [thing for k, thing in enumerate(scene.objects) if k != i]
        for n in range(1, len(free) + 1):
            fitting = [
                names
                for names in combinations(free, n)
                if not any(all(getattr(o, a) == getattr(own, a) for a in names) for o in others)
            ]
            if fitting:
                return "the " + described({name: getattr(own, name) for name in self.stream.pick(fitting)})
        return None


def described(attributes: dict[str, str]) -> str:
    """Size, texture, colour and shape, those that are given: "small red object"."""
    words = [attributes[name] for name in DESCRIBING[:3] if name in attributes]
    return " ".join([*words, attributes.get("shape", "object")])


def many(attributes: dict[str, str]) -> str:
    """The same in the plural: "red crosses"."""
    one = described(attributes)
    return one + ("es" if one.endswith("s") else "s")


def beside(one: Object, other: Object, way: str) -> bool | None:
    """Whether the one is left of, right of, above or below the other; None where it is too close to say."""
    step = one.x - other.x if way in ("left of", "right of") else one.y - other.y
    if abs(step) < MARGIN:
        return None
    return (step < 0) == (way in ("left of", "above"))
