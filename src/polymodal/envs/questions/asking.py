"""Questions of fourteen families, each with its scene, drawn from a key alone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Literal

from polymodal.envs.questions import perception, reasoning
from polymodal.envs.questions.perception import Asked
from polymodal.envs.questions.question import Draw, Question
from polymodal.envs.scenes import COLOURS, SHAPES, SIZES, TEXTURES, Scene, Stream, World

TRIES = 2000  # scenes drawn for one answer; rare answers take some tens
FAMILIES: dict[str, Literal["perception", "reasoning"]] = {
    "colour": "perception",
    "shape": "perception",
    "texture": "perception",
    "size": "perception",
    "place": "perception",
    "sign": "perception",
    "count": "perception",
    "exists": "perception",
    "left_right": "perception",
    "compare": "reasoning",
    "count_sum": "reasoning",
    "sign_sum": "reasoning",
    "two_hop": "reasoning",
    "odd_one_out": "reasoning",
}
ASK: dict[str, Callable[[Draw], Asked]] = {
    "colour": perception.attribute,
    "shape": perception.attribute,
    "texture": perception.attribute,
    "size": perception.attribute,
    "place": perception.where,
    "sign": perception.sign,
    "count": perception.count,
    "exists": perception.exists,
    "left_right": perception.side,
    "compare": reasoning.compare,
    "count_sum": reasoning.count_sum,
    "sign_sum": reasoning.sign_sum,
    "two_hop": reasoning.two_hop,
    "odd_one_out": reasoning.odd_one_out,
}


def ask(
    index: int,
    *,
    family: str,
    split: str,
    seed: int,
    size: int = 64,
    n: tuple[int, int] | None = None,
    signs: tuple[int, int] | None = None,
    shapes: Sequence[str] = SHAPES,
    colours: Sequence[str] = tuple(COLOURS),
    sizes: Sequence[str] = tuple(SIZES),
    textures: Sequence[str] = TEXTURES,
    hold_out: Collection[tuple[str, str]] = frozenset(),
    correlate: float = 0.0,
    numbers: Sequence[int | str] | None = None,
    pairs: Collection[tuple[int, int]] = (),
) -> tuple[Scene, Question]:
    """The question of a key and its scene.

    The answer is drawn first, each of the family's k answers once in every k questions in a row, and then a
    scene and words that it is true of: no answer is more frequent than another, and no words tell it. Sums of
    two signs are as frequent as two numbers make them.

    Args:
        index: which one of its family and split, from 0.
        family: one of `FAMILIES`.
        split: "train", "test" or any other word.
        seed: of the whole set.
        size: side in pixels.
        n: fewest and most objects; what the family needs when None.
        signs: fewest and most signs, at most two; one for "sign", two for "sign_sum", else none when None.
        shapes: as in `scene`, and so are those up to `correlate`.
        colours: some of `COLOURS`.
        sizes: some of `SIZES`.
        textures: some of `TEXTURES`.
        hold_out: pairs of shape and colour that no object has.
        correlate: chance that an object's colour follows its shape.
        numbers: what signs say; 0 to 15 for "sign_sum", else 0 to 31 when None.
        pairs: for "sign_sum", the numbers of the left and the right sign; any two of `numbers` when empty.

    Raises:
        ValueError: an unknown family or name, an impossible range, or no scene was found for the answer.
    """
    if family not in FAMILIES:
        raise ValueError(f"no family {family!r}; known: {', '.join(FAMILIES)}")
    if numbers is None:
        numbers = range(16) if family == "sign_sum" else range(32)
    signs = _signs(family, signs)
    n = _objects(family, n, signs[1])
    if family == "sign_sum" and any(isinstance(number, str) for number in numbers):
        raise ValueError("sign_sum adds numbers, not words")
    if not set(numbers).issuperset(number for pair in pairs for number in pair):
        raise ValueError(f"pairs has others than the numbers {', '.join(map(str, numbers))}")
    world = World(shapes, colours, sizes, textures, hold_out, correlate, numbers)
    stream = Stream(seed, split, index, family, "ask")
    draw = Draw(int(index), family, split, int(seed), size, n, signs, world, pairs, stream)
    for _ in range(TRIES):
        if found := ASK[family](draw):
            return found
    raise ValueError(
        f"no scene of {n[0]} to {n[1]} objects and {signs[0]} to {signs[1]} signs on {size} x {size} pixels "
        f"for question {index} of {family}; ask for fewer or smaller things, or for more kinds of them"
    )


def _signs(family: str, signs: tuple[int, int] | None) -> tuple[int, int]:
    least = {"sign": 1, "sign_sum": 2}.get(family, 0)
    low, high = (least, least) if signs is None else signs
    if not least <= low <= high <= 2:
        raise ValueError(f"signs={signs}: questions of {family} have {least} to 2")
    return low, high


def _objects(family: str, n: tuple[int, int] | None, signs: int) -> tuple[int, int]:
    """Fewest and most objects, two or three fewer where signs take their room."""
    usual = {
        "count": (1, 8 - signs), "compare": (2, 8 - signs), "count_sum": (2, 8 - signs), "sign": (1, 4),
        "sign_sum": (1, 3), "two_hop": (3, 5), "odd_one_out": (3, 5 - signs // 2),
    }  # fmt: skip
    least = {"left_right": 2, "compare": 3, "count_sum": 2, "two_hop": 3, "odd_one_out": 3}.get(family, 1)
    low, high = usual.get(family, (2, 5 - signs // 2)) if n is None else n
    if family in ("sign", "sign_sum"):
        least = 0
    if not 0 <= low <= high or high < least:
        raise ValueError(f"n={n}: questions of {family} need {least} objects or more")
    return low, high
