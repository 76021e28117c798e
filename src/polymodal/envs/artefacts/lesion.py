"""A spot on skin of six tones: a round or an irregular border, a uniform or a patchy fill."""

from __future__ import annotations

from functools import cache

import numpy as np
import PIL.Image
from jaxtyping import Float, UInt8

Box = tuple[int, int, int, int]

CLASSES = ("normal skin", "round uniform", "round patchy", "irregular uniform", "irregular patchy")
TONES = {  # red, green, blue; lightest first
    "I": (243, 214, 196),
    "II": (228, 188, 160),
    "III": (205, 158, 124),
    "IV": (172, 122, 88),
    "V": (132, 90, 64),
    "VI": (98, 68, 52),
}
DARKER = np.array([62.0, 56.0, 40.0])  # a spot is this much darker on every tone, so that none is harder
PATCH = 0.45  # sd of a patchy fill, in shares of DARKER
IRREGULAR = (0.15, 0.30)  # share of the radius by which the border's harmonics swing
ROUND = 0.02


def lesion(
    cls: str, tone: str, rng: np.random.Generator, width: int = 64, height: int = 64
) -> tuple[UInt8[np.ndarray, "h w 3"], dict[str, Box]]:
    """Pixels, and the box of the spot (none on normal skin).

    Args:
        cls: one of `CLASSES`.
        tone: one of `TONES`.
        rng: of place, size, border, fill and the skin's texture.
        width: in pixels.
        height: in pixels.
    """
    x, y = _grid(width, height)
    skin = np.array(TONES[tone], float) * rng.uniform(0.95, 1.03)
    turn, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0, 16)
    shade = slope * (x * np.cos(turn) + y * np.sin(turn)) + _cloud(rng, 12, width, height) * 3
    picture = skin + shade[..., None] + rng.normal(0, 2.5, (height, width, 1))
    for _ in range(rng.integers(0, 4)):  # freckles, on every class
        (fx, fy), size = rng.uniform(-0.95, 0.95, 2), rng.uniform(0.03, 0.05)
        near = np.exp(-((x - fx) ** 2 + (y - fy) ** 2) / size**2)
        picture -= near[..., None] * DARKER * 0.5
    boxes: dict[str, Box] = {}
    if cls != CLASSES[0]:
        inside = _inside(cls.startswith("irregular"), rng, width, height)
        patchy = cls.endswith("patchy")
        fill = 1 + (PATCH * _cloud(rng, 8, width, height) if patchy else 0 * x)
        picture -= (inside * np.clip(fill, 0.45, 1.8))[..., None] * DARKER * rng.uniform(0.9, 1.1)
        rows, columns = np.nonzero(inside.max(1) > 0.5)[0], np.nonzero(inside.max(0) > 0.5)[0]
        boxes["lesion"] = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    return np.clip(picture, 0, 255).astype(np.uint8), boxes


def _inside(irregular: bool, rng: np.random.Generator, width: int, height: int) -> Float[np.ndarray, "h w"]:
    """1 within the border, 0 outside, about a pixel between; the border is r(angle) = r (1 + harmonics)."""
    x, y = _grid(width, height)
    cx, cy = rng.uniform(-0.18, 0.18, 2)
    reach, angle = np.hypot(x - cx, y - cy), np.arctan2(y - cy, x - cx)
    swing = rng.uniform(*IRREGULAR) if irregular else rng.uniform(0, ROUND)
    orders = rng.choice(np.arange(3, 8), 3, replace=False)
    shares = rng.dirichlet((2, 2, 2))
    border = sum(
        share * np.cos(order * angle + rng.uniform(0, 2 * np.pi))
        for order, share in zip(orders.tolist(), shares.tolist(), strict=True)
    )
    wave = border / np.sqrt((shares**2).sum())  # the swing is that of one cosine, however it is shared out
    radius = rng.uniform(0.42, 0.60) * (1 + swing * wave)
    return np.asarray(np.clip((radius - reach) * width / 4 + 0.5, 0, 1))


@cache
def _grid(width: int, height: int) -> tuple[Float[np.ndarray, "h w"], Float[np.ndarray, "h w"]]:
    """Places of pixels from -1 to 1 along the shorter side."""
    side = min(width, height)
    y, x = np.mgrid[:height, :width]
    return (2 * x - width + 1) / side, (2 * y - height + 1) / side


def _cloud(rng: np.random.Generator, cells: int, width: int, height: int) -> Float[np.ndarray, "h w"]:
    """Smooth noise of mean 0 and sd 1, `cells` to a side."""
    small = PIL.Image.fromarray(rng.normal(0, 1, (cells, cells)).astype(np.float32))
    cloud = np.asarray(small.resize((width, height), PIL.Image.Resampling.BICUBIC), float)
    return np.asarray((cloud - cloud.mean()) / cloud.std())
