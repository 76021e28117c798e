"""What a poor take does to a picture: rotation, exposure, a screen's stripes, blur, noise."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import PIL.Image
import PIL.ImageFilter
from jaxtyping import UInt8

Box = tuple[int, int, int, int]

BLUR = (3.0, 4.0)  # pixels, the sd of a Gaussian
NOISE = 0.12  # sd, of the range from black to white
TURN = 8.0  # degrees at most, either way
DARK, BRIGHT = (0.55, 0.75), (1.25, 1.5)  # exposure
STRIPES = (0.04, 0.10)  # swing of a screen's stripes


def worn(
    picture: UInt8[np.ndarray, "h w 3"],
    boxes: Mapping[str, Box],
    rng: np.random.Generator,
    *,
    scale: float = 1.0,
) -> tuple[UInt8[np.ndarray, "h w 3"], dict[str, Box]]:
    """The picture as a poor photo shows it, and its boxes as they come to lie.

    Args:
        picture: as drawn.
        boxes: left, top, right, bottom by name.
        rng: of how poor.
        scale: what blur is multiplied with, for pictures that are drawn larger than usual.
    """
    height, width = picture.shape[:2]
    angle = float(rng.uniform(-TURN, TURN))
    ground = tuple(int(x) for x in np.median(picture[[0, -1]], axis=(0, 1)))
    turned = PIL.Image.fromarray(picture).rotate(angle, PIL.Image.Resampling.BILINEAR, fillcolor=ground)
    light = rng.uniform(*(DARK if rng.random() < 0.5 else BRIGHT))
    lean, period = rng.uniform(0, np.pi), rng.uniform(3, 7)
    wave = np.exp(2j * np.pi * np.cos(lean) / period * np.arange(width))
    wave = (wave * np.exp(2j * np.pi * np.sin(lean) / period * np.arange(height))[:, None]).imag
    gain = (light + light * rng.uniform(*STRIPES) * wave).astype(np.float32)
    soft = turned.filter(PIL.ImageFilter.GaussianBlur(float(rng.uniform(*BLUR)) * scale))
    seen = rng.standard_normal(picture.shape, np.float32)
    seen *= np.float32(255 * NOISE)
    seen += np.asarray(soft) * gain[..., None]
    np.clip(seen, 0, 255, out=seen)
    lying = {name: _turned(box, angle, width, height) for name, box in boxes.items()}
    return seen.astype(np.uint8), lying


def _turned(box: Box, angle: float, width: int, height: int) -> Box:
    """The upright box around a turned one, within the picture."""
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    x = np.array([box[0], box[2], box[0], box[2]]) - width / 2
    y = np.array([box[1], box[1], box[3], box[3]]) - height / 2
    right = np.clip(width / 2 + c * x + s * y, 0, width)
    down = np.clip(height / 2 - s * x + c * y, 0, height)
    return int(right.min()), int(down.min()), int(np.ceil(right.max())), int(np.ceil(down.max()))
