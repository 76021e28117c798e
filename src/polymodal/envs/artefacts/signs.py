"""What can be told from an artefact without a net: signs, and the class of a page."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import PIL.Image
from jaxtyping import Float, UInt8

from polymodal.envs.artefacts.beats import beats
from polymodal.envs.artefacts.page import ANALYTES, CLASSES, OUT
from polymodal.envs.artefacts.rows import Row, rows
from polymodal.envs.clinic.actions import Reading, Sign
from polymodal.envs.reading import Line, read_lines
from polymodal.media import Image
from polymodal.media.part import LIMITS

Pixels = UInt8[np.ndarray, "h w 3"]
Box = tuple[int, int, int, int]

FLAT = 4.0  # sd of grey levels below which there is nothing in a picture
STRETCH = 1.5  # a picture's proportions may differ from those of its kind by this factor
LOUD = 12.0  # sd of a page's noise, in grey levels, beyond which no text is looked for
SLIP = 0.01  # chance that a row of a page that seems read was misread
NARROW = 0.8  # of its width a page is read at: a fifth faster, and no row was misread (bench/pages.py)
HOPELESS = 0.99  # P(poor) of a page of which nothing can be read
UNITS = {one.name: one.unit for one in ANALYTES}


def readable(image: Any, proportion: float | None = None) -> bool:
    """Whether this is a picture with something in it, of the size and the proportions to be looked at.

    Args:
        image: anything.
        proportion: width for height of the kind; None for any.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        return False
    height, width = image.shape[:2]
    if min(height, width) < 16 or height * width > LIMITS.pixels or image.std() < FLAT:
        return False
    return proportion is None or 1 / STRETCH <= width / height / proportion <= STRETCH


def spot(image: Pixels) -> Box:
    """The box of what differs from the picture's edge by half as much as anything does; all, if nothing."""
    grey = np.asarray(PIL.Image.fromarray(image).convert("L").reduce(2), float)
    edge = np.median(np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]]))
    gap = np.abs(grey - edge)
    far = gap > max(float(np.quantile(gap, 0.98)) / 2, FLAT)
    down, right = (np.nonzero(far.mean(axis) > 0.06)[0] for axis in (1, 0))
    if not len(down) or not len(right):
        return whole(image)
    return 2 * int(right[0]), 2 * int(down[0]), 2 * int(right[-1]) + 2, 2 * int(down[-1]) + 2


def whole(image: Pixels) -> Box:
    """The box of all of it."""
    return 0, 0, image.shape[1], image.shape[0]


def rhythm(image: Pixels) -> tuple[Sign, ...]:
    """Rate, spread and T wave as measured on a trace; nothing without a rhythm, or without neurokit2."""
    found = None
    with suppress(ModuleNotFoundError):
        found = beats(image)
    if found is None:
        return ()
    told = {"rate": f"{found.rate:.0f} a minute", "spread": f"{found.spread:.0f} a minute"}
    told["T wave"] = {1: "upright", -1: "inverted"}.get(found.wave, "not sure")
    return tuple(Sign(name, value, found.box) for name, value in told.items())


@dataclass(frozen=True, slots=True)
class PageReader:
    """Reads a laboratory's page as text, a `Reader`; a class is one analyte on one side of its range.

    q is the posterior of even odds, where a row that was read errs with chance `slip` and one that was not
    says nothing. A page too noisy to read, or without one of the analytes, is a failed reading.

    Attributes:
        classes: the first is "all in range".
        out: of the others, analyte and side, "low" or "high".
        units: of analytes.
        slip: chance that a row that was read was misread.
    """

    kind: ClassVar[str] = "page"
    classes: tuple[str, ...] = CLASSES
    out: Mapping[str, tuple[str, str]] = field(default_factory=lambda: OUT)
    units: Mapping[str, str] = field(default_factory=lambda: UNITS)
    slip: float = SLIP

    @property
    def prior(self) -> Float[np.ndarray, " c"]:
        """Even odds."""
        return np.full(len(self.classes), 1 / len(self.classes))

    @property
    def confusion(self) -> dict[bool, Float[np.ndarray, "c s"]]:
        """P(said s | true c): by `slip` on a good page (False); a poor one (True) says nothing."""
        c = len(self.classes)
        return {False: np.full((c, c), self.slip / (c - 1)) * (1 - np.eye(c)) + np.eye(c) * (1 - self.slip),
                True: np.full((c, c), 1 / c)}  # fmt: skip

    def __call__(self, image: Pixels) -> Reading:
        """The reading; a sign for each row that is out of its range, with its place and its words."""
        if not readable(image) or noise(image) > LOUD:
            return Reading(self.kind, self.classes, (), HOPELESS)
        found = self.judged(rows(_narrowed(image), self.units))
        if found.poor <= 1 - HOPELESS:
            return found
        return self.judged(rows(read_lines(Image(image)), self.units))  # something is missing: all of it

    def judged(self, found: tuple[Row, ...]) -> Reading:
        """The reading of rows."""
        state = {row.name.lower(): row.state for row in found if row.state != "unsure"}
        odds, seen = np.ones(len(self.classes)), 0
        for i, (analyte, side) in enumerate(self.out[name] for name in self.classes[1:]):
            said = state.get(analyte.lower())
            if said in (side, "in range"):
                fits = np.eye(len(self.classes))[i + 1] == (said == side)
                odds *= np.where(fits, 1 - self.slip, self.slip)
                seen += 1
        missing = 1 - min(1.0, sum(name.lower() in state for name in self.units) / len(self.units))
        poor = min(max(missing, 1 - HOPELESS), HOPELESS)
        signs = tuple(
            Sign(row.name, row.state, row.box, row.text) for row in found if row.state in ("low", "high")
        )
        q = tuple((odds / odds.sum()).tolist()) if seen else ()
        return Reading(self.kind, self.classes, q, poor, signs)


def _narrowed(image: Pixels) -> list[Line]:
    """The pieces of text of a page that is made narrower, with their boxes in the page itself."""
    height, width = image.shape[:2]
    size = round(NARROW * width), height
    scale = width / size[0]
    small = PIL.Image.fromarray(image).resize(size, PIL.Image.Resampling.BICUBIC)
    found = []
    for line in read_lines(Image(np.asarray(small))):
        left, top, right, bottom = line.box
        found.append(replace(line, box=(round(left * scale), top, round(right * scale), bottom)))
    return found


def noise(image: Pixels) -> float:
    """The sd of a picture's noise in grey levels, by the median step between neighbours on one line."""
    grey = image.mean(2)
    step = np.abs(np.diff(grey, axis=1))
    return float(np.median(step)) / (0.6745 * 2**0.5)
