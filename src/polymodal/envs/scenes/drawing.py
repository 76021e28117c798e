"""The pixels of a scene: shapes by implicit functions, no library's drawing in them."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
from jaxtyping import Bool, Float32, UInt8

from polymodal.envs.scenes.streams import Stream
from polymodal.envs.scenes.world import COLOURS, SIZES, Object, Scene, Sign
from polymodal.media import Image, Video

NOISE, JITTER = 4.0, 12  # standard deviation of a pixel's value; the most that a colour's channel moves
SMOOTH = 3  # samples a pixel, each way
PLATE, INK = 205.0, 15.0
Grid = Float32[np.ndarray, "h w"]
Mask = Bool[np.ndarray, "h w"]


def _star(u: Grid, v: Grid) -> Mask:
    """Within at least four of the five lines of a pentagram, which pass its centre at about .34."""
    height = -0.05 - v
    slopes = ((0.0, 1.0), (0.9511, 0.3090), (0.5878, -0.8090), (-0.5878, -0.8090), (-0.9511, 0.3090))
    inside = sum((u * a + height * b <= 0.34).astype(np.int8) for a, b in slopes)
    return np.asarray(inside >= 4)


def _heart(u: Grid, v: Grid) -> Mask:
    """The curve (x² + y² − 1)³ = x² y³, stretched to fill its box."""
    xx, y = (1.15 * u) ** 2, 0.14 - 1.12 * v
    yy = y * y
    f = xx + yy - 1
    return np.asarray(f * f * f <= xx * yy * y)


INSIDE: dict[str, Callable[[Grid, Grid], Mask]] = {  # u to the right, v down, the box is -1 to 1
    "circle": lambda u, v: u * u + v * v <= 1,
    "square": lambda u, v: np.maximum(abs(u), abs(v)) <= 0.9,
    "triangle": lambda u, v: (v <= 0.9) & (abs(u) * 1.9 <= v + 1),
    "diamond": lambda u, v: abs(u) * 1.25 + abs(v) <= 1,
    "star": _star,
    "cross": lambda u, v: (np.minimum(abs(u), abs(v)) <= 0.34) & (np.maximum(abs(u), abs(v)) <= 0.98),
    "ring": lambda u, v: abs(u * u + v * v - 0.61) <= 0.39,
    "heart": _heart,
}
SECOND: dict[str, Callable[[Grid, Grid], Mask]] = {  # where the half tone is, in 64ths of the side
    "striped": lambda x, y: (y + 1) % 4 < 2,
    "dotted": lambda x, y: ((x + 2) % 4 - 2) ** 2 + ((y + 2) % 4 - 2) ** 2 <= 1.35,
    "checked": lambda x, y: ((x + 1.25) % 5 < 2.5) ^ ((y + 1.25) % 5 < 2.5),
}


def pixels(scene: Scene, *, frame: int | None = None) -> UInt8[np.ndarray, "h w 3"]:
    """The scene as red, green and blue; the same scene is the same bytes.

    Every value has noise of standard deviation 4, and every colour its own jitter of at most 12 a channel.

    Args:
        scene: what is seen.
        frame: of a video, each with noise of its own; the still picture when None.
    """
    side = scene.size
    canvas = np.full((side, side, 3), scene.background, dtype=np.float32)
    jitter = Stream(*scene.key, "jitter")
    for thing in scene.objects:
        paint = [value - JITTER + jitter.below(2 * JITTER + 1) for value in COLOURS[thing.colour]]
        _draw(canvas, thing, np.array(paint, dtype=np.float32))
    for sign in scene.signs:
        _write(canvas, sign)
    canvas += (
        Stream(*scene.key, "noise", *(() if frame is None else (frame,)))
        .noise(canvas.size, NOISE)
        .reshape(canvas.shape)
    )
    np.rint(canvas, out=canvas)
    return np.clip(canvas, 0, 255, out=canvas).astype(np.uint8)


def draw(scene: Scene) -> Image:
    """The scene as PNG."""
    stream = io.BytesIO()
    PIL.Image.fromarray(pixels(scene)).save(stream, "PNG", compress_level=1)
    return Image(stream.getvalue())


def moved(scene: Scene, motion: Mapping[int, tuple[float, float]], share: float = 1.0) -> Scene:
    """The scene a share of the way through a motion.

    Args:
        scene: at the start.
        motion: how far each moving object goes to the right and down, as shares of the side, by its number.
        share: 0 at the start, 1 at the end.

    Raises:
        IndexError: there is no such object.
        ValueError: an object would leave the picture.
    """
    things = list(scene.objects)
    for i, (dx, dy) in motion.items():
        things[i] = replace(things[i], x=things[i].x + share * dx, y=things[i].y + share * dy)
        if not all(-1e-9 <= edge <= 1 + 1e-9 for edge in things[i].box()):
            raise ValueError(
                f"object {i} would leave the picture: {things[i].box()} after {share:g} of its way"
            )
    return replace(scene, objects=tuple(things))


def video(scene: Scene, motion: Mapping[int, tuple[float, float]], frames: int, *, rate: int = 8) -> Video:
    """Objects on straight ways at even speed, later ones in front, as MP4; H.264 changes values a little.

    Args:
        scene: the first frame.
        motion: as for `moved`; the last frame is its end.
        frames: how many, 2 or more.
        rate: frames a second.

    Raises:
        IndexError: there is no such object.
        ValueError: an object would leave the picture, fewer than two frames, or a side of odd length.
    """
    import av  # with its libraries it takes longer to load than all of this

    if frames < 2 or scene.size % 2:
        raise ValueError(f"frames={frames}, size={scene.size}: two frames or more, of an even side")
    shares = [t / (frames - 1) for t in range(frames)]
    pictures = [pixels(moved(scene, motion, share), frame=t) for t, share in enumerate(shares)]
    stream = io.BytesIO()
    with av.open(stream, "w", format="mp4") as box:
        track = box.add_stream("libx264", rate=rate, options={"crf": "12"})
        track.width = track.height = scene.size
        track.pix_fmt = "yuv444p"  # with half the colour, as is usual, small objects change theirs
        for picture in pictures:
            box.mux(track.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        box.mux(track.encode())
    return Video(stream.getvalue())


def _draw(canvas: Float32[np.ndarray, "h w 3"], thing: Object, paint: Float32[np.ndarray, " c"]) -> None:
    """Three by three samples a pixel, in the window of its box only."""
    side = canvas.shape[0]
    radius = SIZES[thing.size] * side
    x, y = thing.x * side, thing.y * side
    left, right = max(int(x - radius), 0), min(int(x + radius) + 1, side)
    top, bottom = max(int(y - radius), 0), min(int(y + radius) + 1, side)
    u = ((np.arange(SMOOTH * (right - left)) + 0.5) / SMOOTH + (left - x)).astype(np.float32)[None, :]
    v = ((np.arange(SMOOTH * (bottom - top)) + 0.5) / SMOOTH + (top - y)).astype(np.float32)[:, None]
    inside = INSIDE[thing.shape](u / np.float32(radius), v / np.float32(radius))
    tone = inside.astype(np.float32)
    share = _pooled(tone)
    if thing.texture in SECOND:
        scale = np.float32(64 / side)
        tone *= np.where(SECOND[thing.texture](u * scale, v * scale), np.float32(0.5), np.float32(1))
        tone = _pooled(tone)
    else:
        tone = share
    window = canvas[top:bottom, left:right]
    window *= (1 - share)[..., None]
    window += tone[..., None] * paint


def _pooled(fine: Grid) -> Grid:
    """Means of the samples of each pixel."""
    rows = fine[0::SMOOTH] + fine[1::SMOOTH] + fine[2::SMOOTH]
    return np.asarray((rows[:, 0::SMOOTH] + rows[:, 1::SMOOTH] + rows[:, 2::SMOOTH]) / np.float32(SMOOTH**2))


def _write(canvas: Float32[np.ndarray, "h w 3"], sign: Sign) -> None:
    side = canvas.shape[0]
    width, height = round(sign.width * side), round(sign.height * side)
    left, top = round(sign.x * side - width / 2), round(sign.y * side - height / 2)
    canvas[top : top + height, left : left + width] = _plate(sign.text, width, height)[..., None]


@cache
def _plate(text: str, width: int, height: int) -> Float32[np.ndarray, "h w"]:
    """Dark letters on a light plate, as high as the plate lets them be."""
    mask = PIL.Image.new("L", (width, height))
    pen = PIL.ImageDraw.Draw(mask)
    points = round(height * 1.14)  # figures of the built-in font are .7 of its size high
    font = PIL.ImageFont.load_default(points)
    while font.getlength(text) > width - 2 and points > 6:
        points -= 1
        font = PIL.ImageFont.load_default(points)
    left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
    pen.text(((width - left - right) / 2, (height - top - bottom) / 2), text, fill=255, font=font)
    ink = np.asarray(mask, dtype=np.float32) / 255
    return np.asarray(PLATE + (INK - PLATE) * ink, dtype=np.float32)
