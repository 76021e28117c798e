"""The arithmetic of merging on blocks of fp32."""

from __future__ import annotations

from collections.abc import Sequence
from math import acos, sin, sqrt

import torch
from jaxtyping import Float
from torch import Tensor

Block = Float[Tensor, " n"]
ONE = 1e-9  # weights whose sum is this near to 1 sum to 1
STRAIGHT = 0.9995  # cosines above this: slerp is the straight line (mergekit's bound)
SIGN, UNIT = -0x80000000, 0x3F800000  # the sign bit of an fp32; the bits of 1.0


def weighted(
    models: Sequence[Block], base: Block | None, weights: Sequence[float], out: Block, spare: Block
) -> Block:
    """Target + Σ weight · delta: linear and task arithmetic.

    With weights that sum to 1 the base cancels, so deltas are taken from the target: a donor equal to the
    target then changes no bit, nor does a weight of 1 on the target.

    Args:
        models: the target's block, then each donor's.
        base: what deltas are taken from; None: from the target where the weights sum to 1, else from zero.
        weights: one a model.
        out: where the result goes; none of the inputs.
        spare: a buffer.
    """
    target, *donors = models
    own, *others = weights
    if (line := straight(weights)) is not None:
        return torch.lerp(target, donors[0], line, out=out)
    if abs(own + sum(others) - 1) < ONE:
        out.zero_()
        for donor, weight in zip(donors, others, strict=True):
            out.add_(torch.sub(donor, target, out=spare).mul_(weight))
        return out.add_(target)
    if base is None:
        torch.mul(target, own - 1, out=out)
    else:
        torch.sub(target, base, out=out).mul_(own - 1)
    for donor, weight in zip(donors, others, strict=True):
        if base is None:
            out.add_(torch.mul(donor, weight, out=spare))
        else:
            out.add_(torch.sub(donor, base, out=spare).mul_(weight))
    return out.add_(target)


def straight(weights: Sequence[float]) -> float | None:
    """The second model's weight, where two are on a line; None elsewhere."""
    return weights[1] if len(weights) == 2 and abs(sum(weights) - 1) < ONE else None


def summed(parts: Sequence[Block], weights: Sequence[float], out: Block) -> Block:
    """Σ weight · part: deltas of dare_linear, after the drop; models of slerp."""
    torch.mul(parts[0], weights[0], out=out)
    for part, weight in zip(parts[1:], weights[1:], strict=True):
        out.add_(part, alpha=weight)
    return out


def elected(
    deltas: Sequence[Block],
    weights: Sequence[float],
    by: str,
    out: Block,
    sign: Block,
    spare: Block,
    among: Block,
) -> Block:
    """Mean over the deltas that agree with the elected sign, entry by entry.

    Args:
        deltas: trimmed deltas, one a model; with `by="weight"` they are multiplied by their weights in place.
        weights: one a model.
        by: "count": sign of the plain sum, divided by how many agree (PEFT). "weight": sign of the weighted
            sum, divided by the sum of agreeing weights (mergekit). A sum of zero counts as positive.
        out: where the result goes.
        sign: a buffer; so are `spare` and `among`.
        spare: a buffer.
        among: a buffer.
    """
    if by == "weight":
        for delta, weight in zip(deltas, weights, strict=True):
            delta.mul_(weight)
    torch.add(deltas[0], deltas[1], out=sign)
    for delta in deltas[2:]:
        sign.add_(delta)
    bits = sign.add_(0.0).view(torch.int32)  # adding 0 turns −0 into 0
    bits.bitwise_and_(SIGN).bitwise_or_(UNIT)
    out.zero_()
    among.zero_()
    for delta, weight in zip(deltas, weights, strict=True):
        torch.sign(delta, out=spare).mul_(sign).clamp_min_(0)
        if by == "weight":
            delta.mul_(spare)
            among.add_(spare.mul_(weight))
        else:
            delta.mul_(spare).mul_(weight)
            among.add_(spare)
        out.add_(delta)
    least = 1.0 if by == "count" else min((weight for weight in weights if weight > 0), default=1.0)
    if by == "weight" and any(weight < 0 for weight in weights):
        among.masked_fill_(among == 0, 1)  # sums of mixed signs may be small, and must not be lifted
    else:
        among.clamp_min_(least)  # none agree: the sum is 0, over anything but 0
    return out.div_(among)


def arc(dot: float, first: float, second: float, t: float) -> tuple[float, float] | None:
    """Slerp's weights of two tensors from their product and squared norms; None: take the straight line.

    Args:
        dot: Σ xy.
        first: Σ x².
        second: Σ y².
        t: way from the first to the second, 0 to 1.
    """
    norms = sqrt(first) * sqrt(second)
    cosine = max(-1.0, min(1.0, dot / norms)) if norms > 0 else 1.0
    if abs(cosine) > STRAIGHT:
        return None
    angle = acos(cosine)
    return sin((1 - t) * angle) / sin(angle), sin(t * angle) / sin(angle)
