"""Positions for long texts: 77 become 248 (Long-CLIP, 2403.15378, section 3.2)."""

import torch
from jaxtyping import Float
from torch import Tensor

KEPT, TIMES = 20, 4


def stretched(table: Float[Tensor, "t d"]) -> Float[Tensor, "s d"]:
    """A table of 4 t − 60 positions.

    The first 20 are copied; old j ≥ 20 goes to 20 + 4 (j − 20), with three linear steps to old j + 1; the
    last three go on at quarters of the last slope. 77 give 248, 64 give 196.

    Raises:
        ValueError: fewer than 22 positions, which leave no slope.
    """
    if len(table) < KEPT + 2:
        raise ValueError(f"{len(table)} positions cannot be stretched: {KEPT + 2} or more are needed")
    tail = table[KEPT:]
    slopes = torch.cat([tail[1:] - tail[:-1], tail[-1:] - tail[-2:-1]])
    quarters = torch.arange(TIMES, dtype=table.dtype, device=table.device) / TIMES
    steps = tail[:, None] + quarters[:, None] * slopes[:, None]
    return torch.cat([table[:KEPT], steps.flatten(0, 1)])
