"""Scenes: coloured, textured shapes and signs on a grey ground, each drawn from its own key."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from polymodal.envs.scenes.streams import Stream

VERSION = "1"  # changes when any draw changes, so that what was trained on the old ones can be told apart
SHAPES = ("circle", "square", "triangle", "diamond", "star", "cross", "ring", "heart")
COLOURS = {
    "red": (225, 45, 45), "green": (45, 165, 65), "blue": (60, 95, 235), "yellow": (240, 220, 50),
    "purple": (150, 60, 200), "orange": (245, 135, 30), "cyan": (65, 210, 220), "white": (240, 240, 240),
}  # fmt: skip
SIZES = {"small": 5 / 64, "large": 9 / 64}  # radius as a share of the scene's side
TEXTURES = ("plain", "striped", "dotted", "checked")
PLACES = ("top left", "top", "top right", "left", "middle", "right", "bottom left", "bottom", "bottom right")
WORDS = ("stop", "exit", "open", "shop", "taxi", "milk")  # a few short ones for signs
GAP = 2  # pixels between the boxes of a scene
TRIES, LAYOUTS = 25, 200  # places tried for one thing, and layouts begun, before a scene is refused
DRAWS = 10  # into so many draws of the looks the layouts are split, since five large ones may have no room

Box = tuple[float, float, float, float]
Key = tuple[int, str, int]  # seed, split, index
Look = tuple[str, str, str, str]  # shape, colour, size, texture


class CrowdedError(ValueError):
    """More was asked for than a scene has room for."""


def place(x: float, y: float) -> str:
    """Which third of the width and of the height a point lies in: one of `PLACES`."""
    return PLACES[3 * min(int(3 * y), 2) + min(int(3 * x), 2)]


@dataclass(frozen=True, slots=True)
class Object:
    """One shape.

    Attributes:
        shape: one of `SHAPES`.
        colour: one of `COLOURS`; what is painted differs a little from its values.
        size: one of `SIZES`.
        texture: one of `TEXTURES`.
        x: centre, as a share of the scene's side from the left.
        y: centre, from the top.
    """

    shape: str
    colour: str
    size: str
    texture: str
    x: float
    y: float

    @property
    def place(self) -> str:
        """The third that its centre lies in, one of `PLACES`."""
        return place(self.x, self.y)

    def box(self) -> Box:
        """x1, y1, x2, y2 as shares of the scene's side."""
        radius = SIZES[self.size]
        return self.x - radius, self.y - radius, self.x + radius, self.y + radius


@dataclass(frozen=True, slots=True)
class Sign:
    """A number or a word on a plate.

    Attributes:
        text: what is written.
        x: centre of the plate, as a share of the scene's side from the left.
        y: centre, from the top.
        width: of the plate, as a share of the side; all numbers have the same.
        height: of the plate.
    """

    text: str
    x: float
    y: float
    width: float
    height: float

    @property
    def place(self) -> str:
        """The third that its centre lies in, one of `PLACES`."""
        return place(self.x, self.y)

    def box(self) -> Box:
        """x1, y1, x2, y2 as shares of the scene's side."""
        dx, dy = self.width / 2, self.height / 2
        return self.x - dx, self.y - dy, self.x + dx, self.y + dy


@dataclass(frozen=True, slots=True)
class Scene:
    """What is seen, and the key that it was drawn from.

    Attributes:
        objects: boxes apart from each other and from the signs by 2 pixels.
        signs: plates, likewise.
        background: grey value of the ground, 25 to 55.
        size: width and height in pixels.
        key: seed, split and index; noise, jitter and words have streams of their own under it.
    """

    objects: tuple[Object, ...]
    signs: tuple[Sign, ...] = ()
    background: int = 40
    size: int = 64
    key: Key = (0, "", 0)


@dataclass(frozen=True, slots=True)
class World:
    """What scenes may hold; every field has the whole world as its default.

    Raises:
        ValueError: a name that the world does not have, or nothing to draw from.
    """

    shapes: Sequence[str] = SHAPES
    colours: Sequence[str] = tuple(COLOURS)
    sizes: Sequence[str] = tuple(SIZES)
    textures: Sequence[str] = TEXTURES
    hold_out: Collection[tuple[str, str]] = frozenset()
    correlate: float = 0.0
    numbers: Sequence[int | str] = range(32)

    def __post_init__(self) -> None:
        for name, given, known in (
            ("shapes", self.shapes, SHAPES), ("colours", self.colours, COLOURS),
            ("sizes", self.sizes, SIZES), ("textures", self.textures, TEXTURES),
        ):  # fmt: skip
            if not given or isinstance(given, str) or any(word not in known for word in given):
                raise ValueError(f"{name}={given!r}: some of {', '.join(known)}")
        if not 0 <= self.correlate <= 1:
            raise ValueError(f"correlate={self.correlate} is no probability")
        for shape, colour in self.hold_out:
            if shape not in SHAPES or colour not in COLOURS:
                raise ValueError(f"hold_out has ({shape!r}, {colour!r}): pairs of a shape and a colour")
        if not self.numbers or any(not _writable(text) for text in self.numbers):
            raise ValueError(f"numbers={self.numbers!r}: integers 0 to 31, or words of 1 to 5 letters a to z")
        barred = [s for s in self.shapes if all((s, c) in self.hold_out for c in self.colours)]
        barred += [c for c in self.colours if all((s, c) in self.hold_out for s in self.shapes)]
        if barred:
            raise ValueError(
                f"hold_out bars every {' and every '.join(barred)}; leave them out by name instead"
            )

    def look(self, stream: Stream) -> Look:
        """Shape, colour, size and texture of one object, no pair of `hold_out`."""
        while True:
            shape = stream.pick(self.shapes)
            colour = stream.pick(self.colours)
            if self.correlate and stream.uniform() < self.correlate:
                colour = self.cue(shape)
            if (shape, colour) in self.hold_out:
                continue
            return shape, colour, stream.pick(self.sizes), stream.pick(self.textures)

    def cue(self, shape: str) -> str:
        """The colour that goes with a shape where `correlate` says so; never one of `hold_out`."""
        at = self.shapes.index(shape)
        order = (self.colours[(at + step) % len(self.colours)] for step in range(len(self.colours)))
        return next(colour for colour in order if (shape, colour) not in self.hold_out)


def _writable(text: int | str) -> bool:
    if isinstance(text, str):
        return 1 <= len(text) <= 5 and text.isascii() and text.isalpha() and text.islower()
    return 0 <= text <= 31


def scene(
    index: int,
    *,
    split: str,
    seed: int,
    size: int = 64,
    n: tuple[int, int] = (2, 5),
    signs: tuple[int, int] = (0, 0),
    shapes: Sequence[str] = SHAPES,
    colours: Sequence[str] = tuple(COLOURS),
    sizes: Sequence[str] = tuple(SIZES),
    textures: Sequence[str] = TEXTURES,
    hold_out: Collection[tuple[str, str]] = frozenset(),
    held: bool = False,
    correlate: float = 0.0,
    numbers: Sequence[int | str] = range(32),
) -> Scene:
    """The scene of a key; any scene can be drawn alone, and two splits share no draw.

    Args:
        index: which one of its split, from 0.
        split: "train", "test" or any other word.
        seed: of the whole set.
        size: side in pixels, 32 to 1024.
        n: fewest and most objects.
        signs: fewest and most signs.
        shapes: to draw from, as are `colours`, `sizes` and `textures`.
        colours: some of `COLOURS`.
        sizes: some of `SIZES`.
        textures: some of `TEXTURES`.
        hold_out: pairs of shape and colour that no object has.
        held: the first object has one of `hold_out`, the rest may have any pair.
        correlate: chance that an object's colour follows its shape (`World.cue`).
        numbers: what signs say: integers 0 to 31, or words.

    Raises:
        ValueError: an unknown name, an impossible range.
        CrowdedError: 200 layouts found no room for all that was drawn; also a ValueError.
    """
    world = World(shapes, colours, sizes, textures, hold_out, correlate, numbers)
    for name, (low, high) in (("n", n), ("signs", signs)):
        if not 0 <= low <= high:
            raise ValueError(f"{name}={(low, high)}: fewest and most, 0 or more")
    if held and not hold_out:
        raise ValueError("held=True needs hold_out, the pairs of which one is drawn")
    stream = Stream(seed, split, index, "scene")
    count = n[0] + stream.below(n[1] - n[0] + 1)
    written = signs[0] + stream.below(signs[1] - signs[0] + 1)
    free = World(shapes, colours, sizes, textures) if held else world
    texts = [str(stream.pick(numbers)) for _ in range(written)]
    for draw in range(DRAWS):
        looks = [free.look(stream) for _ in range(count)]
        if held and looks:
            looks[0] = (*stream.pick(sorted(hold_out)), *looks[0][2:])
        try:
            return arranged(
                looks, texts, stream=stream, key=(int(seed), split, int(index)), size=size,
                layouts=LAYOUTS // DRAWS,
            )  # fmt: skip
        except CrowdedError:
            if draw == DRAWS - 1:
                raise
    raise AssertionError


def arranged(
    looks: Sequence[Look],
    texts: Sequence[str] = (),
    *,
    stream: Stream,
    key: Key,
    size: int = 64,
    layouts: int = LAYOUTS,
) -> Scene:
    """A scene of given things at drawn places, on a drawn ground.

    Args:
        looks: shape, colour, size and texture of each object.
        texts: what each sign says.
        stream: where the places come from.
        key: of the scene, for its noise, jitter and words.
        size: side in pixels, 32 to 1024.
        layouts: how often to begin anew where one finds no room.

    Raises:
        CrowdedError: there was no room for all.
        ValueError: the side is out of bounds.
    """
    if not 32 <= size <= 1024:
        raise ValueError(f"a scene is 32 to 1024 pixels wide, not {size}")
    background = 25 + stream.below(31)
    radii = [SIZES[look[2]] * size for look in looks]
    plates = [_plate(text, size) for text in texts]
    halves = [(r, r) for r in radii] + [(w / 2, h / 2) for w, h in plates]
    for _ in range(layouts):
        centres = _laid(halves, len(looks), stream, size)
        if centres:
            break
    else:
        raise CrowdedError(
            f"no room for {len(looks)} objects and {len(texts)} signs on {size} x {size} pixels; "
            "ask for fewer or smaller ones, or a larger side"
        )
    objects = tuple(Object(*look, x / size, y / size) for look, (x, y) in zip(looks, centres, strict=False))
    signs = tuple(
        Sign(text, x / size, y / size, w / size, h / size)
        for text, (w, h), (x, y) in zip(texts, plates, centres[len(looks) :], strict=True)
    )
    return Scene(objects, signs, background, size, key)


def _plate(text: str, size: int) -> tuple[int, int]:
    """Width and height in pixels: 20 by 14 of 64 for every number, 8 and 7 a letter for words."""
    wide = 20 if text.isdigit() else 8 + 7 * len(text)
    return round(wide * size / 64), round(14 * size / 64)


def _laid(
    halves: list[tuple[float, float]], objects: int, stream: Stream, side: int
) -> list[tuple[float, float]] | None:
    """Centres in pixels, the largest placed first; None where one has no room. Plates lie on whole pixels."""
    taken: dict[int, tuple[float, float, float, float]] = {}
    for i in sorted(range(len(halves)), key=lambda i: -halves[i][0] * halves[i][1]):
        dx, dy = halves[i]
        for _ in range(TRIES):
            x, y = stream.uniform() * (side - 2 * dx), stream.uniform() * (side - 2 * dy)
            x, y = (x + dx, y + dy) if i < objects else (round(x) + dx, round(y) + dy)
            if all(
                abs(x - px) >= dx + pdx + GAP or abs(y - py) >= dy + pdy + GAP
                for px, py, pdx, pdy in taken.values()
            ):
                taken[i] = (x, y, dx, dy)
                break
        else:
            return None
    return [taken[i][:2] for i in range(len(halves))]
