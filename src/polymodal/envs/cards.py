"""Drawn cards: coloured shapes and a sign to read, the same bytes for the same card."""

import io
import math
from dataclasses import dataclass
from functools import cache

import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from polymodal.media import Image

SHAPES = ("circle", "square", "triangle", "star")
COLOURS = {
    "red": (214, 40, 40),
    "green": (34, 139, 58),
    "blue": (38, 84, 206),
    "yellow": (245, 205, 35),
    "orange": (240, 130, 25),
    "purple": (130, 60, 170),
    "black": (25, 25, 25),
    "white": (255, 255, 255),
}
GROUND, BOARD, INK = (226, 226, 222), (255, 255, 255), (15, 15, 15)
SMOOTH = 3  # shapes are drawn this much larger and reduced; Pillow's own edges are jagged
UNDRAWN = "\U0010ffff"  # no font has it, so its picture is that of a missing letter

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Thing:
    """One coloured shape.

    Attributes:
        shape: one of `SHAPES`.
        colour: one of `COLOURS`.
        x: its centre, from the left edge, as a share of the scene's side.
        y: its centre, from the upper edge, as a share of the scene's side.
        size: its width and height as a share of the scene's side.
    """

    shape: str
    colour: str
    x: float = 0.5
    y: float = 0.5
    size: float = 0.4

    def __post_init__(self) -> None:
        if self.shape not in SHAPES or self.colour not in COLOURS:
            known = f"{' '.join(SHAPES)}; {' '.join(COLOURS)}"
            raise ValueError(f"no {self.colour} {self.shape} can be drawn; known are {known}")

    def box(self) -> Box:
        """Left, top, right and bottom as shares of the scene's side."""
        half = self.size / 2
        return self.x - half, self.y - half, self.x + half, self.y + half


@dataclass(frozen=True, slots=True)
class Scene:
    """Things on a plain ground, later ones in front, and a sign on a white board at the lower edge.

    Attributes:
        things: what is seen.
        sign: what is written; lines are broken by a line feed, "" is no board.
        size: width and height in pixels.
    """

    things: tuple[Thing, ...] = ()
    sign: str = ""
    size: int = 96

    def image(self) -> Image:
        """The scene as PNG.

        Raises:
            ValueError: where the font, which is Pillow's own, has no picture of a letter of the sign.
        """
        wide = self.size * SMOOTH
        canvas = PIL.Image.new("RGB", (wide, wide), GROUND)
        pen = PIL.ImageDraw.Draw(canvas)
        for thing in self.things:
            _draw(pen, thing, wide)
        canvas = canvas.reduce(SMOOTH)
        if self.sign:
            _write(canvas, self.sign)
        stream = io.BytesIO()
        canvas.save(stream, "PNG")
        return Image(stream.getvalue())


def _draw(pen: PIL.ImageDraw.ImageDraw, thing: Thing, wide: int) -> None:
    left, top, right, bottom = box = tuple(wide * edge for edge in thing.box())
    colour = COLOURS[thing.colour]
    match thing.shape:
        case "circle":
            pen.ellipse(box, fill=colour)
        case "square":
            pen.rectangle(box, fill=colour)
        case "triangle":
            pen.polygon([(left, bottom), (right, bottom), ((left + right) / 2, top)], fill=colour)
        case _:
            pen.polygon(_star(wide * thing.x, wide * thing.y, wide * thing.size / 2), fill=colour)


def _star(x: float, y: float, radius: float) -> list[tuple[float, float]]:
    """Ten corners, the outer ones on the circle; .382 makes the sides of a five-pointed star straight."""
    reach = [radius, 0.382 * radius] * 5
    return [
        (x + r * math.sin(math.pi * i / 5), y - r * math.cos(math.pi * i / 5)) for i, r in enumerate(reach)
    ]


def _write(canvas: PIL.Image.Image, sign: str) -> None:
    """A board as wide as the scene, its letters as large as fit, at most a fifth of the scene high."""
    lines, side = sign.split("\n"), canvas.width
    missing = sorted({letter for letter in sign if not letter.isspace() and not _drawable(letter)})
    if missing:
        raise ValueError(f"the built-in font has no {' '.join(missing)} of the sign {sign!r}")
    height = min(side // 5, side // (2 * len(lines)))
    widest = max(_font(height).getlength(line) for line in lines)
    height = max(6, min(height, int(height * 0.92 * side / max(widest, 1))))
    font, step = _font(height), round(height * 1.3)
    top = side - step * len(lines) - 2
    pen = PIL.ImageDraw.Draw(canvas)
    pen.rectangle((0, top, side, side), fill=BOARD)
    for row, line in enumerate(lines):
        pen.text((side / 2, top + step * (row + 0.5)), line, fill=INK, font=font, anchor="mm")


@cache
def _font(height: int) -> PIL.ImageFont.FreeTypeFont:
    font = PIL.ImageFont.load_default(height)
    assert isinstance(font, PIL.ImageFont.FreeTypeFont)  # the other kind is of a Pillow without FreeType
    return font


@cache
def _drawable(letter: str) -> bool:
    return bytes(_font(16).getmask(letter)) != bytes(_font(16).getmask(UNDRAWN))
