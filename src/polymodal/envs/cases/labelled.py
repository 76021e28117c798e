"""Pictures with their classes, of cases and of perception sets, and their sides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from jaxtyping import UInt8

from polymodal.envs.artefacts.signs import readable
from polymodal.envs.cases.found import detect, perception, read, samples
from polymodal.envs.clinic.table import Case
from polymodal.media import Image, Invalid, MediaError, Sample
from polymodal.media.part import name_of

LEAST, KINDS = 20, 2  # labelled pictures of a kind that a reader is trained on, and classes among them
RARE = 5  # pictures of a class below which a perception set's class is left out
SHORT, LONG = 64, 128  # pixels of the sides that pictures are reduced to
STRIP = (96, 512)  # pixels of a trace: it is read column by column
Size = tuple[int, int]  # width, height
SETS: Mapping[str, str] = {
    "scin_cases.csv": "lesion",
    "metadata.csv": "lesion",
    "ptbxl_database.csv": "trace",
}


@dataclass(frozen=True, slots=True)
class Labelled:
    """A picture whose class is known.

    Attributes:
        image: the picture.
        kind: of artefact.
        truth: its class.
        poor: whether it is a poor take; None where nobody said.
        group: what must not be split: a patient, a case, cases that share a picture.
        split: train, val, test or "".
        tag: the skin's tone, or the fold, where it is told.
    """

    image: Image
    kind: str
    truth: str
    poor: bool | None
    group: str
    split: str
    tag: str


def of_cases(path: Path) -> Iterator[Labelled]:
    """The pictures of a set of cases whose class is told, one at a time, not decoded. Raises as `read`."""
    if detect(path) != "cases":
        return
    for case in read(path):
        if isinstance(case, Case):
            for kind, takes in case.artefacts.items():
                for take in takes:
                    if take.image is not None and take.truth:
                        group, tag = case.group or case.id, case.tags.get("tone", "")
                        yield Labelled(take.image, kind, take.truth, take.poor, group, case.split, tag)


def of_set(path: Path) -> tuple[list[Labelled], list[Invalid], Counter[str]]:
    """The pictures of a perception set, its faults, and what was left out: rare classes, no class.

    Raises:
        ValueError: no perception set, or a column that is not there.
    """
    name, lost, out = perception(path), list[Invalid](), Counter[str]()
    if not name:
        raise ValueError(f"{path}: no perception set (SCIN, PTB-XL or PAD-UFES-20)")
    found = list[Labelled]()
    for one in samples(path):
        if isinstance(one, Invalid):
            lost.append(one)
            continue
        images = [part for part in one.parts.values() if isinstance(part, Image)]
        if one.target is None:
            out["without a class"] += len(images)
        found += [] if one.target is None else [_of_sample(one, image, SETS[name]) for image in images]
    many = Counter(one.truth for one in found)
    out["of a class with too few"] = sum(n for n in many.values() if n < RARE)
    return [one for one in found if many[one.truth] >= RARE], lost, out


def _of_sample(one: Sample, image: Image, kind: str) -> Labelled:
    tags = one.tags
    tag = str(tags.get("tone") or (f"fold {tags['fold']}" if "fold" in tags else ""))
    return Labelled(image, kind, str(one.target), None, one.group or one.id, str(tags.get("split", "")), tag)


def told(path: Path) -> dict[str, Counter[str]]:
    """By kind, how many pictures of the train split there are of each class."""
    counts: dict[str, Counter[str]] = {}
    for one in of_cases(path):
        if one.split == "train":
            counts.setdefault(one.kind, Counter())[one.truth] += 1
    return counts


def enough(classes: Mapping[Any, int]) -> bool:
    """Whether a reader can be trained on so many pictures a class."""
    return sum(classes.values()) >= LEAST and sum(n > 0 for n in classes.values()) >= KINDS


def dealt(some: Sequence[Labelled], *, seed: int) -> dict[str, list[Labelled]]:
    """Pictures on the sides train, val and test; no group stands on two sides that are drawn here.

    The sides are those that the data set names. Without a val side a fifth of train becomes it, by group;
    without any, a fifth of all is val and a fifth test.
    """
    sides: dict[str, list[Labelled]] = {"train": [], "val": [], "test": []}
    named = any(one.split == "train" for one in some)
    for one in some:
        if not named or one.split in sides:
            sides[one.split if named else "train"].append(one)
    for side in () if named else ("test",):
        sides["train"], sides[side] = _cut(sides["train"], len(some) / 5, seed=seed)
    if not sides["val"]:
        n = len(sides["train"] if named else some) / 5
        sides["train"], sides["val"] = _cut(sides["train"], n, seed=seed + 1)
    return sides


def _cut(some: list[Labelled], n: float, *, seed: int) -> tuple[list[Labelled], list[Labelled]]:
    """What stays, and whole groups of about n pictures; one group at least stays."""
    groups = sorted({one.group for one in some})
    order, many = np.random.default_rng(seed).permutation(len(groups)), Counter(one.group for one in some)
    taken, got = set[str](), 0
    for i in order[:-1]:
        if got + many[groups[i]] / 2 > n and got:
            break
        taken.add(groups[i])
        got += many[groups[i]]
    return [x for x in some if x.group not in taken], [x for x in some if x.group in taken]


def size_of(some: Sequence[Labelled]) -> Size:
    """The one size for pictures of a kind: of their median proportion, the longer side `LONG` at most."""
    found = []
    for one in some:
        try:
            width, height = one.image.size()
        except MediaError:
            continue
        found.append(width / height)
    aspect = float(np.median(found)) if found else 1.0
    if some[0].kind == "trace":
        return int(np.clip(STRIP[0] * aspect, STRIP[0], STRIP[1])), STRIP[0]
    side = int(np.clip(SHORT * max(aspect, 1 / aspect), SHORT, LONG))
    other = max(16, round(side / max(aspect, 1 / aspect)))
    return (side, other) if aspect >= 1 else (other, side)


def reduced(pixels: UInt8[np.ndarray, "h w 3"], size: Size) -> UInt8[np.ndarray, "h w 3"]:
    """The picture in another size."""
    return np.asarray(PIL.Image.fromarray(pixels).resize(size, PIL.Image.Resampling.BILINEAR))


def decoded(
    some: Sequence[Labelled], size: Size
) -> tuple[UInt8[np.ndarray, "n h w 3"], list[Labelled], list[Invalid]]:
    """Pictures in one size, those that could be read, and those that could not, with path and reason."""
    pixels, kept, lost = [], list[Labelled](), list[Invalid]()
    for one in some:
        try:
            whole = one.image.pixels()
        except MediaError as error:
            lost.append(Invalid(one.group, name_of(one.image.source), error.reason, str(error)))
            continue
        if not readable(whole):
            lost.append(
                Invalid(one.group, name_of(one.image.source), "nothing to see", "too small, or of one colour")
            )
            continue
        pixels.append(reduced(whole, size))
        kept.append(one)
    empty = np.zeros((0, size[1], size[0], 3), np.uint8)
    return np.stack(pixels) if pixels else empty, kept, lost
