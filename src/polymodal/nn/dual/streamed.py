"""InfoNCE of large batches: the matrix of logits is never whole, its blocks are made twice."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from polymodal.nn.dual.ranks import gathered, share

BLOCK = 512


def streamed(
    a: Float[Tensor, "b d"], b: Float[Tensor, "b d"], scale: Float[Tensor, ""], block: int = BLOCK
) -> Float[Tensor, ""]:
    """`info_nce` in memory of `block` rows of logits; the same value and gradient, over all ranks.

    Row and column log-sum-exp are streamed in the forward pass. The backward pass makes each block again
    and takes dL/da = (scale / 2 n) (P_row + P_col − 2 · identity) b, where P_row and P_col are the softmax
    of the logits along rows and columns. Gradients of gradients are not known.
    """
    (every_a, every_b), start, total = gathered(a, b)
    if not total:
        return (a.sum() + b.sum()) * 0
    if every_a is a:
        loss: Tensor = _Both.apply(a, b, scale, block)  # type: ignore[no-untyped-call]
    else:
        loss = _Rows.apply(a, every_b, scale, block, start)  # type: ignore[no-untyped-call]
        loss = loss + _Rows.apply(b, every_a, scale, block, start)  # type: ignore[no-untyped-call]
    return loss / 2 * share(total)


class _Both(torch.autograd.Function):
    """Σ of both directions' −log softmax at the own pairs."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, scale: Tensor, block: int) -> Tensor:
        rows = a.new_empty(len(a))
        top, mass = a.new_full((len(b),), -torch.inf), a.new_zeros(len(b))
        for start in range(0, len(a), block):
            logits = (a[start : start + block] * scale) @ b.T
            rows[start : start + block] = logits.logsumexp(1)
            new = torch.maximum(top, logits.amax(0))
            mass = mass * (top - new).exp() + logits.sub_(new).exp_().sum(0)
            top = new
        columns = top + mass.log()
        ctx.save_for_backward(a, b, scale, rows, columns)
        ctx.block = block
        return rows.sum() + columns.sum() - 2 * scale * (a * b).sum()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Gradients of the inputs."""
        a, b, scale, rows, columns = ctx.saved_tensors
        to_a, to_b = -2 * b, -2 * a
        for start in range(0, len(a), ctx.block):
            part = slice(start, start + ctx.block)
            logits = (a[part] * scale) @ b.T
            weights = (logits - rows[part, None]).exp_()
            weights += logits.sub_(columns).exp_()
            to_a[part].addmm_(weights, b)
            to_b.addmm_(weights.T, a[part])
        given = gradients[0]
        return to_a * (scale * given), to_b * (scale * given), (a * to_a).sum() * given, None


class _Rows(torch.autograd.Function):
    """Σ of −log softmax of this rank's rows against all ranks' columns, at the own pairs."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, every: Tensor, scale: Tensor, block: int, first: int) -> Tensor:
        parts = [((x * scale) @ every.T).logsumexp(1) for x in torch.split(a, block)]
        rows = torch.cat(parts)
        ctx.save_for_backward(a, every, scale, rows)
        ctx.block, ctx.first = block, first
        return rows.sum() - scale * (a * every[first : first + len(a)]).sum()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        """Gradients of the inputs."""
        a, every, scale, rows = ctx.saved_tensors
        own = slice(ctx.first, ctx.first + len(a))
        to_a, to_every = -every[own], torch.zeros_like(every)
        to_every[own] -= a
        for start in range(0, len(a), ctx.block):
            part = slice(start, start + ctx.block)
            weights = ((a[part] * scale) @ every.T).sub_(rows[part, None]).exp_()
            to_a[part].addmm_(weights, every)
            to_every.addmm_(weights.T, a[part])
        given = gradients[0]
        to_scale = (a * to_a).sum() * given
        return to_a * (scale * given), to_every * (scale * given), to_scale, None, None
