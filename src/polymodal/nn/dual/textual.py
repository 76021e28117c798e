"""Terms of the sequel (FG-CLIP 2, 2510.10921): texts told apart, and a moving margin."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, distributed

from polymodal.nn.dual.ranks import gathered, share, world

NEAREST, SAME = 10, 0.95


def apart_loss(
    texts: Float[Tensor, "b d"], scale: Float[Tensor, ""], nearest: int = NEAREST, same: float = SAME
) -> Float[Tensor, ""]:
    """−log 1 / Σ_m exp(σ t_i·t_m) over the `nearest` other texts of all ranks whose cosine is ≤ `same`.

    The mean over texts that have such a neighbour; 0 where none has.
    """
    (every,), start, _ = gathered(texts)
    row = torch.arange(len(texts), device=texts.device)
    cosines = texts @ every.T
    other = cosines.detach() <= same
    other[row, row + start] = False
    hidden = (scale * cosines).masked_fill(~other, -torch.inf)
    top = hidden.topk(min(nearest, len(every)), dim=1).values
    some = other.any(1)
    losses = top[some].logsumexp(1)
    _, _, total = gathered(losses.detach()[:, None])
    return (losses.sum() + 0 * cosines.sum()) * share(total)


def margin_loss(
    right: Float[Tensor, " r"],
    wrong: Float[Tensor, "r m"],
    mask: Bool[Tensor, "r m"],
    margin: Float[Tensor, ""],
) -> Float[Tensor, ""]:
    """max(0, S(I, T_neg) − S(I, T) + τ), the mean over all negatives of all ranks; τ as `margin` gives it."""
    lacks = (wrong - right[:, None] + margin.detach()).clamp(min=0)
    _, _, total = gathered(lacks.detach()[mask][:, None])
    return torch.where(mask, lacks, 0).sum() * share(total)


@torch.no_grad()
def margin(
    right: Float[Tensor, " r"], wrong: Float[Tensor, "r m"], mask: Bool[Tensor, "r m"]
) -> Float[Tensor, ""]:
    """The mean of S(I, T) − S(I, T_neg) over all ranks: the τ of the next step."""
    ahead = torch.where(mask, right[:, None] - wrong, 0)
    both = torch.stack([ahead.sum(), mask.sum().to(ahead.dtype)])
    if world() > 1:
        distributed.all_reduce(both)
    return both[0] / both[1].clamp(min=1)
