"""Losses that pull pairs together and others apart: InfoNCE, sigmoid, regions, negatives."""

from math import log

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from polymodal.nn.dual.ranks import gathered, share

START, MAX_SCALE, SAME = 1 / 0.07, 100.0, 0.95
Scalar = Float[Tensor, ""]


class Scale(nn.Module):
    """A learnable inverse temperature, exp(s) and at most 100; the paper starts it at 1 / .07."""

    def __init__(self, start: float = START) -> None:
        super().__init__()
        self.logit_scale = nn.Parameter(torch.tensor(log(start)))

    def forward(self) -> Scalar:
        """The scale now."""
        return self.logit_scale.exp().clamp(max=MAX_SCALE)


def info_nce(
    a: Float[Tensor, "b d"],
    b: Float[Tensor, "b d"],
    scale: Scalar,
    apart: Bool[Tensor, "b n"] | None = None,
) -> Scalar:
    """InfoNCE of matched rows, the mean of both directions: −log softmax(scale · a bᵀ) at the own pair.

    Over the rows of all ranks where torch.distributed runs: the mean of the ranks' values is the loss of
    the whole batch, and their averaged gradients are its gradient. `apart` is false where a row of all
    ranks must not count as a negative; an own pair always counts. No rows anywhere give 0.
    """
    (every_a, every_b), start, total = gathered(a, b)
    if not total:
        return (a.sum() + b.sum()) * 0
    ahead = scale * a @ every_b.T
    back = ahead.T if every_a is a else scale * b @ every_a.T
    own = torch.arange(len(a), device=a.device) + start
    if apart is not None:
        keep = apart.clone()
        keep[torch.arange(len(a), device=a.device), own] = True
        ahead, back = (x.masked_fill(~keep, -torch.inf) for x in (ahead, back))
    losses = [functional.cross_entropy(logits, own, reduction="sum") for logits in (ahead, back)]
    return (losses[0] + losses[1]) / 2 * share(total)


def sigmoid_loss(a: Float[Tensor, "b d"], b: Float[Tensor, "b d"], scale: Scalar, bias: Scalar) -> Scalar:
    """Every pair judged by itself: −Σ log σ(± (scale · a bᵀ + bias)) / b (SigLIP, 2303.15343), all ranks."""
    (_, every_b), start, total = gathered(a, b)
    logits = scale * a @ every_b.T + bias
    sign = -torch.ones_like(logits)
    row = torch.arange(len(a), device=a.device)
    sign[row, row + start] = 1
    return -functional.logsigmoid(sign * logits).sum() * share(total)


@torch.no_grad()
def sigmoid_start(a: Float[Tensor, "b d"], b: Float[Tensor, "b d"], scale: Scalar) -> Scalar:
    """The bias with which `sigmoid_loss` is as sure of a pair as InfoNCE: −mean log Σ e^{scale · a bᵀ}.

    For towers trained without a bias: at 0 nearly all pairs would pass for matches, and at SigLIP's −10 so
    would those of a CLIP, whose scaled cosines are about 20. Over all ranks; without rows not a number.
    """
    (_, every), _, _ = gathered(a, b)
    (mass,), _, _ = gathered((scale * a @ every.T).logsumexp(1, keepdim=True))
    return -mass.mean()


def regional_loss(
    regions: Float[Tensor, "r d"], phrases: Float[Tensor, "r d"], scale: Scalar, same: float = SAME
) -> Scalar:
    """InfoNCE of regions and their phrases (FG-CLIP, section 3.2); near-equal phrases are no negatives.

    Phrases whose cosine is above `same` describe one another's regions as well.
    """
    with torch.no_grad():
        (_, every), _, _ = gathered(regions, phrases)
        apart = phrases @ every.T <= same
    return info_nce(regions, phrases, scale, apart)


def hard_loss(
    regions: Float[Tensor, "r d"],
    phrases: Float[Tensor, "r d"],
    negatives: Float[Tensor, "r m d"],
    mask: Bool[Tensor, "r m"],
    scale: Scalar,
) -> Scalar:
    """−log[e^{σ r·p} / (e^{σ r·p} + Σ_m e^{σ r·n_m})], picture to text, over regions that have negatives.

    Any number of negatives a region: `mask` is true where one is. None at all gives 0.
    """
    right = scale * (regions * phrases).sum(-1)
    wrong = scale * torch.einsum("rd,rmd->rm", regions, negatives)
    logits = torch.cat(
        [right[:, None], wrong.masked_fill(~mask, -torch.inf)], 1
    )  # masked after scaling: 0 · ∞
    some = mask.any(1)
    losses = (logits.logsumexp(1) - logits[:, 0]) * some
    _, _, total = gathered(regions[some].detach())
    return losses.sum() * share(total)


def ragged(
    rows: Float[Tensor, "n d"], counts: Int[Tensor, " r"]
) -> tuple[Float[Tensor, "r m d"], Bool[Tensor, "r m"]]:
    """Rows in order, `counts` a region, as a padded block and the mask of what is real."""
    mask = torch.arange(int(counts.max()) if len(counts) else 0, device=rows.device) < counts[:, None]
    out = rows.new_zeros(*mask.shape, rows.shape[1])
    return out.masked_scatter(mask[..., None], rows), mask
