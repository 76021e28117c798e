"""An artefact of a kind and class, drawn: the same seed, the same picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import numpy as np

from polymodal.envs.artefacts import lesion, page, trace
from polymodal.envs.artefacts.worn import worn
from polymodal.envs.clinic.table import Artefact
from polymodal.media import Image

Box = tuple[int, int, int, int]

KINDS = (
    Artefact("lesion", lesion.CLASSES),
    Artefact("trace", trace.CLASSES),
    Artefact("page", page.CLASSES),
)
SIZES = {"lesion": (64, 64), "trace": (256, 96), "page": (360, 270)}  # width, height
TONED = tuple(lesion.TONES)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A take of an artefact.

    Attributes:
        image: its picture.
        kind: of the artefact.
        truth: its class.
        poor: whether it was drawn as a poor take.
        boxes: left, top, right, bottom of the lesion, the trace, or the page's rows, by name.
        tags: `tone` of a lesion's skin.
    """

    image: Image
    kind: str
    truth: str
    poor: bool
    boxes: Mapping[str, Box]
    tags: Mapping[str, str] = field(default_factory=dict)


def classes_of(kind: str) -> tuple[str, ...]:
    """The classes of a kind.

    Raises:
        ValueError: an unknown kind.
    """
    found = next((one.classes for one in KINDS if one.kind == kind), None)
    if found is None:
        raise ValueError(f"no artefact {kind!r} can be drawn; known: {', '.join(one.kind for one in KINDS)}")
    return found


def draw(
    kind: str,
    cls: str,
    *,
    seed: int,
    poor: bool = False,
    split: str = "train",
    take: int = 0,
    size: tuple[int, int] | None = None,
    tone: str = "",
) -> Drawn:
    """A picture of the class, a function of its arguments alone.

    Args:
        kind: one of `KINDS`.
        cls: one of the kind's classes.
        seed: of the artefact: its skin, border and fill; its beats; its values.
        poor: blurred, noisy, turned, badly lit and striped.
        split: a word; artefacts of two splits are never the same.
        take: counts the pictures of one artefact, from 0: a retake is poor in its own way.
        size: width and height in pixels; `SIZES` where it is not given.
        tone: of a lesion's skin, one of `TONES`; drawn where it is not given.

    Raises:
        ValueError: an unknown kind, class or tone; a side under 16 pixels.
    """
    if cls not in classes_of(kind):
        raise ValueError(f"no {kind} of class {cls!r}; known: {', '.join(classes_of(kind))}")
    if tone and tone not in TONED:
        raise ValueError(f"no skin tone {tone!r}; known: {', '.join(TONED)}")
    width, height = size or SIZES[kind]
    if min(width, height) < 16:
        raise ValueError(f"a {kind} of {width} x {height} pixels is too small to draw; give 16 or more")
    key = [seed, crc32(f"{kind}/{cls}/{split}".encode())]
    rng = np.random.default_rng(key)
    drawn = TONED[int(rng.integers(len(TONED)))]  # drawn also where it is given: the rest stays the same
    tone = (tone or drawn) if kind == "lesion" else ""
    makers: dict[str, Callable[[], tuple[Any, dict[str, Box]]]] = {
        "lesion": lambda: lesion.lesion(cls, tone, rng, width, height),
        "trace": lambda: trace.trace(cls, rng, width, height),
        "page": lambda: page.page(cls, rng, width, height),
    }
    pixels, boxes = makers[kind]()
    if poor:
        scale = height / SIZES[kind][1]
        pixels, boxes = worn(pixels, boxes, np.random.default_rng([*key, take, 1]), scale=scale)
    return Drawn(Image(pixels), kind, cls, poor, boxes, {"tone": tone} if tone else {})
