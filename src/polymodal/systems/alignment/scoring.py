"""What a dual encoder says of pictures, captions and regions, and where it sees a phrase."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int

from polymodal.media import Image
from polymodal.nn.dual import Dual, regions
from polymodal.systems.alignment.pictures import Picture

PREFIX = "a photo of "  # in front of short captions
TEMPLATES = ("a {}", "a photo of a {}")  # of class names; a class is the mean of its texts
RED = (230, 30, 30)
T = TypeVar("T")


def grouped(rows: Sequence[T], n: int) -> Iterator[Sequence[T]]:
    """Rows in order, n at a time."""
    return (rows[at : at + n] for at in range(0, len(rows), n))


@dataclass
class Scored:
    """What an encoder says of pictures; rows in order.

    Attributes:
        images: a unit vector a picture.
        longs: of the long captions; `long_of` is the picture of each.
        shorts: of the short captions; `short_of` likewise.
        own: of each region with its phrase, in the order of pictures.
        rivals: by set of options, each region's scores with them (empty where it lacks the set).
        classes: scores of each region with the class texts.
    """

    images: Float[np.ndarray, "b d"]
    longs: Float[np.ndarray, "l d"]
    long_of: Int[np.ndarray, " l"]
    shorts: Float[np.ndarray, "s d"]
    short_of: Int[np.ndarray, " s"]
    own: Float[np.ndarray, " r"]
    rivals: dict[str, list[Float[np.ndarray, " _"]]] = field(default_factory=dict)
    classes: Float[np.ndarray, "r k"] | None = None


@torch.no_grad()
def embedded(dual: Dual, texts: Sequence[str], long: bool = False) -> Float[np.ndarray, "n d"]:
    """A unit vector a text; texts of one length go together."""
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    out = np.zeros((len(texts), dual.dim), np.float32)
    for rows in grouped(order, 256):
        ids = dual.tokenise([texts[i] for i in rows], long=long)
        out[list(rows)] = dual.text(ids, long=long).cpu().numpy()
    return out


@torch.no_grad()
def scored(dual: Dual, pictures: Sequence[Picture], classes: Sequence[str] = ()) -> Scored:
    """Each picture is read once, each different text once.

    Args:
        dual: in eval mode.
        pictures: any.
        classes: names that regions may have.
    """
    long_of = [i for i, one in enumerate(pictures) if one.long]
    pairs = [(i, PREFIX + text) for i, one in enumerate(pictures) for text in one.short]
    wanted = {r.phrase for one in pictures for r in one.regions}
    wanted |= {o.text for one in pictures for r in one.regions for kept in r.options.values() for o in kept}
    place = {text: i for i, text in enumerate(sorted(wanted))}
    texts = embedded(dual, list(place))
    images, found = [], []
    for group in grouped(pictures, 64):
        whole, maps = dual.views(dual.prepare([one.image.pixels() for one in group]))
        images.append(whole.cpu().numpy())
        where = [(k, region.box) for k, one in enumerate(group) for region in one.regions]
        if where:
            boxes = torch.tensor([box for _, box in where], dtype=torch.float32, device=maps.device)
            index = torch.tensor([k for k, _ in where], device=maps.device)
            found.append(regions(maps, boxes, index).cpu().numpy())
    local = np.concatenate(found) if found else np.zeros((0, dual.dim), np.float32)
    flat = [region for one in pictures for region in one.regions]
    own = np.array([r @ texts[place[region.phrase]] for r, region in zip(local, flat, strict=True)])
    sets = sorted({name for region in flat for name in region.options})
    rivals = {
        name: [
            texts[[place[o.text] for o in region.options.get(name, ())]].reshape(-1, dual.dim) @ r
            for r, region in zip(local, flat, strict=True)
        ]
        for name in sets
    }
    return Scored(
        np.concatenate(images), embedded(dual, [pictures[i].long for i in long_of], dual_long(dual)),
        np.array(long_of, int), embedded(dual, [text for _, text in pairs]),
        np.array([i for i, _ in pairs], int), own, rivals,
        local @ class_texts(dual, classes).T if classes else None,
    )  # fmt: skip


def dual_long(dual: Dual) -> bool:
    """Whether the model has a path for long texts; one that was never stretched cuts them instead."""
    try:
        dual.tokenise(["a"], long=True)
    except ValueError:
        return False
    return True


def class_texts(dual: Dual, classes: Sequence[str]) -> Float[np.ndarray, "k d"]:
    """A unit vector a class: the mean over `TEMPLATES`, as zero-shot tables do it."""
    each = [embedded(dual, [template.format(name) for name in classes]) for template in TEMPLATES]
    mean = np.mean(each, axis=0)
    return np.asarray(mean / np.linalg.norm(mean, axis=1, keepdims=True))


@torch.no_grad()
def heat(dual: Dual, image: Image, phrase: str) -> Image:
    """A picture with the cosine of each patch and the phrase laid over it in red, least to most."""
    pixels = image.pixels()
    maps = dual.dense(dual.prepare([pixels]))[0].cpu().numpy()
    warm = maps @ embedded(dual, [phrase])[0]
    warm = (warm - warm.min()) / max(float(np.ptp(warm)), 1e-9)
    rows, cols = (np.arange(n) * m // n for n, m in zip(pixels.shape[:2], warm.shape, strict=True))
    share = 0.7 * warm[rows][:, cols, None]
    return Image((pixels * (1 - share) + share * np.array(RED)).round().astype(np.uint8))
