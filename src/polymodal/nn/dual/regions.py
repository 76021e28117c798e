"""Boxes and what a dense map holds inside them: RoIAlign with one bin, in plain torch."""

from math import isfinite

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

PIXELS = 1.5  # a normalised box never reaches so far


def roi_align(
    maps: Float[Tensor, "b h w d"], boxes: Float[Tensor, "r 4"], index: Int[Tensor, " r"]
) -> Float[Tensor, "r d"]:
    """The mean of each box [x1, y1, x2, y2], normalised, in map `index`: RoIAlign 1 × 1 (1703.06870).

    Aligned: cell centres lie at half cells. Sampling is adaptive: as many evenly spaced points a side as
    the box is cells wide, rounded up. Samples past the outer centres take the edge's value. Sums are
    separable, so a box costs one weight a row and one a column. Not of unit length.
    """
    h, w = maps.shape[1:3]
    x = _weights(boxes[:, 0] * w, boxes[:, 2] * w, w)
    y = _weights(boxes[:, 1] * h, boxes[:, 3] * h, h)
    weights = y[:, :, None] * x[:, None, :]
    counts = torch.bincount(index, minlength=len(maps))
    order = index.argsort(stable=True)
    place = torch.empty_like(index)  # of a box among those of its map: one product a map serves them all
    place[order] = torch.arange(len(index), device=index.device) - (counts.cumsum(0) - counts)[index[order]]
    spread = weights.new_zeros(len(maps), int(counts.max()), h * w)
    spread[index, place] = weights.flatten(1)
    return torch.bmm(spread, maps.flatten(1, 2))[index, place]


def _weights(low: Float[Tensor, " r"], high: Float[Tensor, " r"], n: int) -> Float[Tensor, "r n"]:
    """How much each of n cells counts along one axis: linear interpolation, averaged over the samples."""
    length = high - low
    counts = length.ceil().clamp(1, None)
    steps = torch.arange(int(counts.max()) if len(counts) else 0, device=low.device)
    places = low[:, None] + (steps + 0.5) * (length / counts)[:, None] - 0.5
    real = (steps < counts[:, None]).to(low.dtype) / counts[:, None]
    places = places.clamp(0, n - 1)
    cells = torch.arange(n, device=low.device)
    hats = (1 - (places[..., None] - cells).abs()).clamp(min=0)
    return torch.einsum("rs,rsn->rn", real, hats)


def regions(
    maps: Float[Tensor, "b h w d"], boxes: Float[Tensor, "r 4"], index: Int[Tensor, " r"]
) -> Float[Tensor, "r d"]:
    """A unit vector a box."""
    return functional.normalize(roi_align(maps, boxes, index), dim=-1)


def corners(boxes: Float[Tensor, "r 4"]) -> Float[Tensor, "r 4"]:
    """[x, y, width, height] as [x1, y1, x2, y2]."""
    return torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)


def normalised(boxes: Float[Tensor, "r 4"], height: int, width: int) -> Float[Tensor, "r 4"]:
    """Boxes in pixels as shares of a picture of that size."""
    return boxes / boxes.new_tensor([width, height, width, height])


def faults(boxes: Float[Tensor, "r 4"]) -> list[str]:
    """What is wrong with each box [x1, y1, x2, y2] that should be normalised; "" where it can be used.

    A box is used, clipped, when at least half of it lies inside the picture.
    """
    inside = boxes.clamp(0, 1)
    found = []
    for box, part, kept in zip(boxes.tolist(), _area(inside).tolist(), _area(boxes).tolist(), strict=True):
        x1, y1, x2, y2 = box
        if not all(map(isfinite, box)):
            found.append(f"box {box} has a value that is not a number")
        elif max(box) > PIXELS:
            found.append(f"box {box} is in pixels: divide by the picture's width and height")
        elif x2 < x1 or y2 < y1:
            found.append(f"box {box} is inverted: it needs x1 < x2 and y1 < y2")
        elif not kept:
            found.append(f"box {box} has no area")
        else:
            found.append(f"box {box} lies outside the picture" if part < kept / 2 else "")
    return found


def clipped(boxes: Float[Tensor, "r 4"]) -> tuple[Float[Tensor, "k 4"], Bool[Tensor, " r"]]:
    """The boxes without `faults`, cut at the picture's edge, and which of those given they are."""
    good = torch.tensor([not fault for fault in faults(boxes)], dtype=torch.bool, device=boxes.device)
    return boxes[good].clamp(0, 1), good


def _area(boxes: Float[Tensor, "r 4"]) -> Float[Tensor, " r"]:
    return (boxes[:, 2:] - boxes[:, :2]).prod(1)
