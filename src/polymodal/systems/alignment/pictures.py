"""Pictures with captions, boxes and phrases: what systems that align text and image read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from polymodal.media import Image, Invalid, Part, Sample, Text

Box = tuple[float, float, float, float]  # left, top, right, bottom as shares of width and height
Split = Literal["train", "val", "test", ""]
PIXELS = 1.5  # a box that is said to be normalised and goes beyond this was given in pixels


@dataclass(frozen=True, slots=True)
class Option:
    """A text that is false of a region.

    Attributes:
        text: what it says.
        changed: the attributes that were changed, joined by `+`; "" where nobody said.
    """

    text: str
    changed: str = ""


@dataclass(frozen=True, slots=True)
class Region:
    """A box, what is true of it, and sets of texts that are not.

    Attributes:
        box: within the picture.
        phrase: a text that is true of it.
        options: false texts by the name of their set (`hard`, `near`); training takes `hard`, or the first.
        label: its class, "" where it has none.
        stratum: a part of the data to report apart, such as its size.
        tiny: smaller than a quarter of a patch; see `marked`.
    """

    box: Box
    phrase: str
    options: Mapping[str, tuple[Option, ...]] = field(default_factory=dict)
    label: str = ""
    stratum: str = ""
    tiny: bool = False

    def hard(self) -> tuple[Option, ...]:
        """The false texts to train on."""
        return self.options.get("hard") or next(iter(self.options.values()), ())


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture with what is said of it; all but the image and one text may be absent.

    Attributes:
        id: its name, unique in its set.
        group: what must not be split.
        image: the pixels, not yet decoded.
        long: a long caption.
        short: short captions.
        regions: boxes and phrases.
        split: where it belongs, "" where nobody said.
    """

    id: str
    group: str
    image: Image
    long: str = ""
    short: tuple[str, ...] = ()
    regions: tuple[Region, ...] = ()
    split: Split = ""

    def sample(self) -> Sample:
        """The picture as parts; its regions are JSON in the tag `regions`."""
        texts = {"long": self.long, "short": self.short[0] if self.short else ""}
        parts: dict[str, Part] = {"image": self.image, **{k: Text(v) for k, v in texts.items() if v}}
        tags: dict[str, str | float] = {"split": self.split} if self.split else {}
        if self.regions:
            tags["regions"] = json.dumps([[*region.box, region.phrase] for region in self.regions])
        return Sample(self.id, parts, None, self.group, tags)


def checked(box: Sequence[float], where: str, width: float = 1.0, height: float = 1.0) -> Box:
    """A box as shares of the picture, clipped where at least half of it lies inside.

    Args:
        box: left, top, right, bottom, in pixels where width and height are given.
        where: what to call it in an error.
        width: of the picture, in the units of the box.
        height: of the picture, in the units of the box.

    Raises:
        ValueError: not four numbers, inverted, without area, more than half outside, or pixels where shares
            were promised; the message says how to mend it.
    """
    if len(box) != 4 or not all(isinstance(x, int | float) and abs(x) < 1e9 for x in box):
        raise ValueError(f"{where}: a box is four numbers, not {list(box)}")
    if (width, height) == (1.0, 1.0) and max(box) > PIXELS:
        raise ValueError(
            f"{where}: the box {list(box)} looks like pixels; divide x by the width and y by the height"
        )
    left, top, right, bottom = box[0] / width, box[1] / height, box[2] / width, box[3] / height
    area = (right - left) * (bottom - top)
    if right <= left or bottom <= top:
        raise ValueError(f"{where}: the box {list(box)} is inverted or has no area")
    kept = max(left, 0.0), max(top, 0.0), min(right, 1.0), min(bottom, 1.0)
    inside = max(0.0, kept[2] - kept[0]) * max(0.0, kept[3] - kept[1])
    if inside < area / 2:
        raise ValueError(f"{where}: more than half of the box {list(box)} is outside the picture")
    return kept


def plain(text: str) -> str:
    """A text to compare by: lower case, single spaces, no full stop at the end."""
    return " ".join(text.lower().split()).rstrip(".")


def distinct(phrase: str, options: Iterable[Option]) -> tuple[Option, ...]:
    """The options without those that equal the phrase or an earlier option."""
    seen, kept = {plain(phrase)}, []
    for option in options:
        if option.text.strip() and (key := plain(option.text)) not in seen:
            seen.add(key)
            kept.append(option)
    return tuple(kept)


def marked(pictures: Iterable[Picture], share: float) -> Iterator[Picture]:
    """The pictures with regions flagged `tiny` whose area is below a quarter of `share` squared.

    Args:
        pictures: any.
        share: the side of a patch as a share of the picture's.
    """
    for picture in pictures:
        small = [(r.box[2] - r.box[0]) * (r.box[3] - r.box[1]) < share * share / 4 for r in picture.regions]
        if any(small):
            regions = (replace(r, tiny=s) for r, s in zip(picture.regions, small, strict=True))
            picture = replace(picture, regions=tuple(regions))
        yield picture


def lines(file: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Rows of a file of JSON lines, numbered from 1; a row that is no object comes as what is wrong."""
    with file.open(encoding="utf-8-sig") as rows:
        for number, line in enumerate(rows, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                yield number, f"not JSON: {error}"
                continue
            yield number, row if isinstance(row, dict) else f"{type(row).__name__} where an object is due"


def broken(where: str, error: Exception | str, name: str = "") -> Invalid:
    """A row that could not be read."""
    said = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
    return Invalid(name, where, "schema", said)
