"""Rows of all ranks with their gradient, where torch.distributed runs."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, distributed


def world() -> int:
    """Processes that train together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def gathered(*blocks: Float[Tensor, "b _"]) -> tuple[tuple[Tensor, ...], int, int]:
    """Blocks of equally many rows, each with those of all ranks behind one another.

    Returns:
        The whole blocks, the place of this rank's first row in them, and the number of rows. Ranks may
        have different numbers of rows, none included, but all of them must call.
    """
    if world() == 1:
        return blocks, 0, len(blocks[0])
    mine = torch.tensor([len(blocks[0])], device=blocks[0].device)
    found = [torch.zeros_like(mine) for _ in range(world())]
    distributed.all_gather(found, mine)
    counts = [int(n) for n in found]
    rank = distributed.get_rank()
    whole = tuple(_Gather.apply(block, counts, rank) for block in blocks)  # type: ignore[no-untyped-call]
    return whole, sum(counts[:rank]), sum(counts)


def share(total: int) -> float:
    """Times a sum over this rank's rows: the mean over ranks is then the mean over all rows."""
    return world() / max(total, 1)


class _Gather(torch.autograd.Function):
    """all_gather whose backward adds up what every rank found about these rows."""

    @staticmethod
    def forward(ctx: Any, block: Tensor, counts: list[int], rank: int) -> Tensor:
        ctx.counts, ctx.rank = counts, rank
        padded = block.new_zeros(max(counts), block.shape[1])
        padded[: len(block)] = block
        found = [torch.empty_like(padded) for _ in counts]
        distributed.all_gather(found, padded)
        return torch.cat([rows[:n] for rows, n in zip(found, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Gradients of the inputs."""
        gradient = gradients[0].contiguous()
        distributed.all_reduce(gradient)
        start = sum(ctx.counts[: ctx.rank])
        return gradient[start : start + ctx.counts[ctx.rank]], None, None
