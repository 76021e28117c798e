"""A laboratory's page read from pixels: rows read right, and the time, narrowed and at full width.

Run from the project's root: `python bench/pages.py [PAGES]`. It ends with 1 where a floor is missed.
"""

import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
import PIL.Image
import PIL.ImageFilter

from polymodal.envs.artefacts.page import ANALYTES, CLASSES, OUT, page
from polymodal.envs.artefacts.rows import rows
from polymodal.envs.artefacts.signs import UNITS, _narrowed
from polymodal.envs.reading import Line, read_lines
from polymodal.media import Image

PAGES, TURN, BLUR, NOISE = 100, 3.0, (0.3, 0.9), 4.0  # a mildly poor photo, below what is refused as noise


def photo(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The page turned a little, soft, darker and with some noise."""
    turned = PIL.Image.fromarray(picture).rotate(
        float(rng.uniform(-TURN, TURN)), PIL.Image.Resampling.BILINEAR, fillcolor=(250, 250, 250)
    )
    soft = np.asarray(turned.filter(PIL.ImageFilter.GaussianBlur(float(rng.uniform(*BLUR)))))
    seen = soft * rng.uniform(0.6, 1) + rng.normal(0, NOISE, picture.shape)
    return np.clip(seen, 0, 255).astype(np.uint8)


def right(lines: Sequence[Line], cls: str) -> int:
    """Rows of which name, unit, range and side are as drawn."""
    states = {row.name.lower(): row for row in rows(lines, UNITS)}
    name, side = OUT.get(cls, ("", ""))
    good = 0
    for one in ANALYTES:
        row = states.get(one.name.lower())
        wanted = side if one.name == name else "in range"
        good += (
            row is not None and row.state == wanted and (str(row.low), str(row.high)) == (one.low, one.high)
        )
    return good


def main(pages: int) -> int:
    """Print the lines; 1 where narrowing costs a row in a hundred, or saves less than a tenth of the time."""
    ways: dict[str, Callable[[np.ndarray], Sequence[Line]]] = {
        "full width": lambda pixels: read_lines(Image(pixels)),
        "narrowed": _narrowed,
    }
    found = {(way, look): 0 for way in ways for look in ("good", "poor")}
    spent = dict.fromkeys(ways, 0.0)
    for i in range(pages):
        cls, rng = CLASSES[i % len(CLASSES)], np.random.default_rng((9, i))
        picture = page(cls, rng)[0]
        for look, pixels in (("good", picture), ("poor", photo(picture, rng))):
            for way, read in ways.items():
                start = time.process_time()
                found[way, look] += right(read(pixels), cls)
                spent[way] += time.process_time() - start
    n = pages * len(ANALYTES)
    for way in ways:
        good, poor = (found[way, look] / n for look in ("good", "poor"))
        print(f"{way}: rows right {good:.2%} good, {poor:.2%} poor; {spent[way] / pages / 2:.2f} s a page")
    lost = max(found["full width", look] - found["narrowed", look] for look in ("good", "poor")) / n
    ratio = spent["narrowed"] / spent["full width"]
    print(f"narrowed takes {ratio:.2f} of the time (floor .9) and loses {lost:.2%} of rows (floor 1 %)")
    return int(lost > 0.01 or ratio > 0.9)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else PAGES))
