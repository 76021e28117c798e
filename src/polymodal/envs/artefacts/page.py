"""A page of a laboratory: eight analytes, of which at most one is out of its range.

The words of a row stand close, so that a reader of text takes a row as one piece: in columns a page is four
times as many pieces, and takes twice as long to read.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import PIL.Image
import PIL.ImageDraw
from jaxtyping import UInt8

from polymodal.envs.cards import _font

Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Analyte:
    """A line of the page: low and high as they are printed, so that their digits say how fine a value is."""

    name: str
    unit: str
    low: str
    high: str

    def digits(self) -> int:
        """Places after the point."""
        return max(len(word.partition(".")[2]) for word in (self.low, self.high))


ANALYTES = (
    Analyte("Hemoglobin", "g/dL", "12.0", "16.0"),
    Analyte("Leukocytes", "10^9/L", "4.0", "10.0"),
    Analyte("Platelets", "10^9/L", "150", "400"),
    Analyte("Sodium", "mmol/L", "135", "145"),
    Analyte("Potassium", "mmol/L", "3.5", "5.1"),
    Analyte("Creatinine", "mg/dL", "0.60", "1.20"),
    Analyte("Glucose", "mg/dL", "70", "99"),
    Analyte("Albumin", "g/dL", "3.5", "5.2"),
)
OUT = {  # class: analyte and which side
    "hemoglobin low": ("Hemoglobin", "low"),
    "leukocytes high": ("Leukocytes", "high"),
    "creatinine high": ("Creatinine", "high"),
    "glucose high": ("Glucose", "high"),
}
CLASSES = ("all in range", *OUT)
FACTOR = (1.3, 2.0)  # how far out of its range a value is


def value(analyte: Analyte, side: str, rng: np.random.Generator) -> str:
    """A value as printed: within the range, or out of it on a side by a factor of 1.3 to 2."""
    low, high = Decimal(analyte.low), Decimal(analyte.high)
    factor, share = (Decimal(str(round(x, 3))) for x in (rng.uniform(*FACTOR), rng.uniform(0.1, 0.9)))
    found = {"high": high * factor, "low": low / factor}.get(side, low + (high - low) * share)
    return str(found.quantize(Decimal(1).scaleb(-analyte.digits())))


def page(
    cls: str, rng: np.random.Generator, width: int = 360, height: int = 270
) -> tuple[UInt8[np.ndarray, "h w 3"], dict[str, Box]]:
    """Pixels, and the box of each row by its analyte's name.

    Args:
        cls: one of `CLASSES`.
        rng: of the values, the paper and where the print begins.
        width: in pixels.
        height: in pixels.
    """
    named, side = OUT.get(cls, ("", ""))
    paper = tuple(int(x) for x in rng.integers(240, 256, 3))
    canvas = PIL.Image.new("RGB", (width, height), paper)
    pen, step = PIL.ImageDraw.Draw(canvas), height / 11
    font, small = _font(round(step * 0.56)), _font(round(step * 0.40))
    left, top = rng.uniform(0.02, 0.05) * width, rng.uniform(0.1, 0.5) * step
    title = _font(round(step * 0.62))
    pen.text((left, top + step * 0.5), "Laboratory report", fill=(20, 30, 90), font=title, anchor="lm")
    pen.line((left, top + step, width - left, top + step), fill=(120, 130, 160))
    boxes: dict[str, Box] = {}
    for k, analyte in enumerate(ANALYTES):
        middle = top + step * (1.6 + k)
        found = value(analyte, side if analyte.name == named else "", rng)
        words = "  ".join((analyte.name, found, analyte.unit, f"{analyte.low} - {analyte.high}"))
        pen.text((left, middle), words, fill=(25, 25, 30), font=font, anchor="lm")
        right = int(left + font.getlength(words)) + 1
        boxes[analyte.name] = (int(left), int(middle - step / 2), right, int(middle + step / 2))
    footer = "For research, not for care"
    pen.text((left, top + step * 9.8), footer, fill=(130, 130, 130), font=small, anchor="lm")
    return np.asarray(canvas), boxes
