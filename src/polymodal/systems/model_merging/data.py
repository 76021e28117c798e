"""Word problems, lessons of the language models, the planted toy, and benchmark tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from polymodal.envs import captions, questions, scenes
from polymodal.envs.problems import NUMBERS, SIGNS, TWO_STEPS, Pair, Problem, copying, problem, reckoning
from polymodal.envs.questions import reasoning
from polymodal.envs.questions.several import several
from polymodal.envs.scenes import Stream

SEEN_SHARE = 77  # 30 % of the 256 ordered pairs
PLUS, EQUALS, SEE = 16, 17, 18  # the toy's marks behind its 16 symbols; a text is seen by copying it
CAPTION = "describe the picture."
Stage = Literal["lm", "reasoner", "captions", "vlm"]
SIGHTED = ("captions", "vlm")  # stages whose lessons are about a picture


def pairs(held: bool | None = None) -> list[Pair]:
    """Ordered pairs of numbers: the 77 whose sums pocket-lm and pocket-vlm learn, the 179 others, or all."""
    order = np.random.default_rng(2505_05464).permutation(NUMBERS * NUMBERS)
    part = order if held is None else order[SEEN_SHARE:] if held else order[:SEEN_SHARE]
    return [(int(i) // NUMBERS, int(i) % NUMBERS) for i in part]


SEEN, HELD, ALL = pairs(held=False), pairs(held=True), pairs()


@dataclass(frozen=True, slots=True)
class Told:
    """Lessons that share a picture or a text in front of them.

    Attributes:
        lessons: questions and answers.
        prefix: what is said before the first.
        scene: what the picture shows.
    """

    lessons: tuple[Problem, ...]
    prefix: str = ""
    scene: scenes.Scene | None = None


def told(index: int, stage: Stage, *, split: str, seed: int) -> Told:
    """The lessons of an index.

    `lm`: captions, what captions say, copying, sums and differences of seen pairs; `reasoner`: problems over
    all pairs; `captions`: a picture's; `vlm`: what a picture shows, sums on its signs of seen pairs only.
    """
    stream = Stream(seed, split, index, f"lessons of {stage}")
    if stage == "reasoner":
        return Told(
            tuple(problem(stream, stream.pick(ALL), written=stream.uniform() < 0.5) for _ in range(5))
        )
    if stage == "captions":
        scene = scenes.scene(index, split=split, seed=seed, n=(1, 4), signs=(0, 2))
        return Told(((CAPTION, captions.short(scene, seed=seed)),), scene=scene)
    if stage == "vlm":
        return sights(index, stream, split=split, seed=seed)
    kind = stream.uniform()
    if kind < 0.15:
        scene = scenes.scene(index, split=split, seed=seed, signs=(0, 1), n=(2, 4))
        return Told(((CAPTION, captions.short(scene, seed=seed)),))
    if kind < 0.5:
        scene, first = questions.ask(index, family=stream.pick(FAMILIES), split=split, seed=seed, n=(2, 3))
        asked = stream.shuffled([first, *several(scene, 5, seed=seed)])
        return Told(tuple((q.question, q.answer) for q in asked), captions.long(scene, seed=seed).text)
    if kind < 0.65:
        return Told(tuple(copying(stream) for _ in range(4)))
    return Told(tuple(reckoning(stream, stream.pick(SEEN)) for _ in range(6)))


FAMILIES = ("colour", "shape", "texture", "size", "place", "count", "exists", "left_right")


def sights(index: int, stream: Stream, *, split: str, seed: int) -> Told:
    """A picture and six things to ask about it; every third has two signs."""
    if index % 3:
        scene, first = questions.ask(index, family=stream.pick(FAMILIES), split=split, seed=seed)
        asked = [(q.question, q.answer) for q in (first, *several(scene, 6, seed=seed))]
        return Told(tuple(stream.shuffled(asked)), scene=scene)
    known = stream.uniform() < 0.7  # of the others only the numbers are asked
    table = SEEN if known else ALL
    scene, total = questions.ask(index, family="sign_sum", split=split, seed=seed, pairs=table)
    left, right = (int(sign.text) for sign in scene.signs)
    asked = [
        ("which number is on the left sign?", str(left)),
        ("which number is on the right sign?", str(right)),
    ]
    asked += [(q.question, q.answer) for q in several(scene, 2, seed=seed)]
    if (left, right) in KNOWN:
        asked += [(total.question, total.answer), (stream.pick(reasoning.SIGN_SUM), total.answer)]
    return Told(tuple(dict(stream.shuffled(asked)).items()), scene=scene)


KNOWN = frozenset(SEEN)


@dataclass(frozen=True, slots=True)
class Toy:
    """The planted toy: sixteen symbols, their pictures, and the pairs whose sums are taught.

    Attributes:
        prototypes: a picture a symbol, before noise.
        seen: pairs whose sum base and target learn; `held` are the others.
        noise: of pictures.
        seed: of the pairs, prototypes and batches.
    """

    prototypes: Float[np.ndarray, "16 16"]
    seen: Int[np.ndarray, "s 2"]
    held: Int[np.ndarray, "r 2"]
    noise: float
    seed: int

    @classmethod
    def planted(cls, noise: float, *, seed: int) -> Toy:
        """A toy of its own for every seed."""
        rng = np.random.default_rng((seed, 0))
        order = rng.permutation(NUMBERS * NUMBERS)
        table = np.stack([order // NUMBERS, order % NUMBERS], 1)
        looks = rng.normal(size=(NUMBERS, NUMBERS))
        return cls(looks, table[:SEEN_SHARE], table[SEEN_SHARE:], noise, seed)

    def sums(self, table: Int[np.ndarray, "n 2"]) -> tuple[Int[np.ndarray, "n 4"], Int[np.ndarray, " n"]]:
        """`a + b =` and the sum modulo 16."""
        a, b = table.T
        return np.stack([a, np.full_like(a, PLUS), b, np.full_like(a, EQUALS)], 1), (a + b) % NUMBERS

    def copies(
        self, n: int, rng: np.random.Generator
    ) -> tuple[Int[np.ndarray, "n 4"], Int[np.ndarray, " n"]]:
        """`a see see =` and a: copying where a is a symbol, seeing where it is a picture."""
        a = rng.integers(NUMBERS, size=n)
        return np.stack([a, np.full_like(a, SEE), np.full_like(a, SEE), np.full_like(a, EQUALS)], 1), a

    def pictures(self, ids: Int[np.ndarray, " n"], rng: np.random.Generator) -> Float[np.ndarray, "n 16"]:
        """Pictures of symbols, with noise."""
        return self.prototypes[ids] + self.noise * rng.normal(size=(len(ids), NUMBERS))


@dataclass(frozen=True, slots=True)
class Item:
    """One question with one right answer.

    Attributes:
        id: the same for the same scene under two prompts.
        prompt: what is asked.
        target: the answer.
        chance: of a guess among the answers that its set has.
        scene: what the picture shows; None for a problem in words.
    """

    id: str
    prompt: str
    target: str
    chance: float
    scene: scenes.Scene | None = None


LOOKING = ("colour", "shape", "texture", "size", "place", "count", "left_right", "exists", "sign")
SETS = ("perception", "seen sums", "held-out sums", "two-step", "text-dominant", "text problems")


def items(name: str, n: int, *, split: str, seed: int) -> list[Item]:
    """The items of a set, or of a family of questions.

    `held-out sums` are asked of the picture alone; `text-dominant` are the same pictures and sums with the
    numbers told in words too; `two-step` has a third number in words.

    Raises:
        ValueError: no such set or family.
    """
    if name in questions.FAMILIES:
        return [_asked(i, name, split=split, seed=seed) for i in range(n)]
    if name == "perception":
        turns = ("colour", "shape", "place", "sign", "count")
        return [_asked(i, turns[i % len(turns)], split=split, seed=seed) for i in range(n)]
    if name not in SETS:
        raise ValueError(f"no set {name!r}; known: {', '.join((*SETS, *questions.FAMILIES))}")
    return [_reckoned(i, name, split=split, seed=seed) for i in range(n)]


def _asked(i: int, family: str, *, split: str, seed: int) -> Item:
    scene, question = questions.ask(i, family=family, split=split, seed=seed)
    return Item(f"{family}-{i}", question.question, question.answer, 1 / len(question.choices), scene)


def _reckoned(i: int, name: str, *, split: str, seed: int) -> Item:
    stream = Stream(seed, split, i, f"items of {name}")
    if name == "text problems":
        asked, answer = problem(stream, stream.pick(ALL), written=False)
        return Item(f"problem-{i}", asked, answer, 1 / 16)
    table = SEEN if name == "seen sums" else HELD
    scene, question = questions.ask(
        i, family="sign_sum", split=f"{split}/{len(table)}", seed=seed, pairs=table
    )
    a, b = (int(sign.text) for sign in scene.signs)
    asked, answer = question.question, question.answer
    if name == "text-dominant":
        asked = stream.pick(SIGNS).format(a=a, b=b) + asked
    elif name == "two-step":
        c = stream.below(min(a + b, NUMBERS - 1) + 1)
        asked, answer = TWO_STEPS.format(c=c), str(a + b - c)
    return Item(f"sum-{i}", asked, answer, 1 / 16, scene)
