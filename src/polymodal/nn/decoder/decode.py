"""Replies from a decoder: token after token with a cache, and the chances of given answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from polymodal.nn.decoder.layers import Cache

if TYPE_CHECKING:
    from polymodal.nn.decoder.language import Decoder


@dataclass(slots=True)
class Made:
    """One row's reply.

    Attributes:
        first: log-probabilities "k" of its first token, before temperature and nucleus.
        ids: its tokens, without the one that ended it.
        ended: whether it ended by itself.
    """

    first: Tensor
    ids: list[int] = field(default_factory=list)
    ended: bool = False


@torch.no_grad()
def continued(
    decoder: Decoder,
    embeds: Float[Tensor, "b t d"],
    mask: Bool[Tensor, "b t"] | None = None,
    *,
    tokens: int = 24,
    end: int | None = None,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
) -> list[Made]:
    """Continues prompts that end together (padded on the left), all rows at once; an ended row leaves.

    Args:
        decoder: what continues.
        embeds: the prompts.
        mask: true where a position is real.
        tokens: of a reply, at most; fewer where the context is full.
        end: the token that ends a reply.
        temperature: 0 is greedy.
        top_p: nucleus.
        seed: of the draws; row i draws from a stream of (seed, i), whatever the other rows do.
    """
    shape, (rows, length) = decoder.shape, embeds.shape[:2]
    room = min(tokens, shape.context - length)
    if not rows or room < 1:
        raise ValueError(
            f"{rows} prompts of {length} tokens: the context of {shape.context} leaves no room for a reply"
        )
    cache = Cache(shape, rows, length + room, embeds)
    scores = decoder(embeds=embeds, mask=mask, cache=cache, last=True)[:, -1].float()
    made = [Made(row) for row in scores.log_softmax(-1).cpu()]
    streams = [np.random.default_rng((seed, i)) for i in range(rows)] if temperature else []
    live = list(range(rows))
    for step in range(room):
        if temperature:
            chance = torch.tensor([streams[i].random() for i in live], device=scores.device)
            taken = drawn(scores, chance, temperature, top_p).tolist()
        else:
            taken = scores.argmax(-1).tolist()
        for i, token in zip(live, taken, strict=True):
            made[i].ended = token == end
            made[i].ids += [] if made[i].ended else [token]
        stay = [place for place, i in enumerate(live) if not made[i].ended]
        if not stay or step == room - 1:
            break
        if len(stay) < len(live):
            live = [live[place] for place in stay]
            cache = cache.pick(torch.tensor(stay, device=embeds.device))
        ids = torch.tensor([made[i].ids[-1:] for i in live], device=embeds.device)
        scores = decoder(ids, cache=cache)[:, -1].float()
    return made


def drawn(
    scores: Float[Tensor, "b k"], chance: Float[Tensor, " b"], temperature: float, top_p: float
) -> Tensor:
    """Tokens "b" at these heights (0 to 1) of the summed probabilities of the nucleus, likeliest first."""
    best = (scores / temperature).softmax(-1).sort(dim=-1, descending=True, stable=True)
    below = best.values.cumsum(-1)
    kept = best.values * (below - best.values < top_p)  # the likeliest always
    sums = kept.cumsum(-1)
    place = (sums <= chance[:, None].to(sums) * sums[:, -1:]).sum(-1, keepdim=True)
    place = place.clamp(max=(kept > 0).sum(-1, keepdim=True) - 1)
    return best.indices.gather(-1, place)[:, 0]


@torch.no_grad()
def scored(
    decoder: Decoder,
    embeds: Float[Tensor, "b t d"],
    mask: Bool[Tensor, "b t"] | None,
    choices: Sequence[Sequence[Sequence[int]]],
) -> Float[Tensor, "b c"]:
    """Log-probabilities of each row's answers, summed over their tokens; −inf where a row has fewer answers.

    The prompts are read once and their cache is shared by their answers.

    Raises:
        ValueError: not one list of answers a row, an answer without a token, no room for one.
    """
    rows, length = embeds.shape[:2]
    flat = [list(answer) for answers in choices for answer in answers]
    if len(choices) != rows or not flat or not all(flat):
        raise ValueError(f"{rows} prompts need as many lists of answers of at least a token each")
    longest = max(map(len, flat))
    device = embeds.device
    cache = Cache(decoder.shape, rows, length + longest, embeds)
    start = decoder(embeds=embeds, mask=mask, cache=cache, last=True)[:, -1:]
    owner = torch.tensor([i for i, answers in enumerate(choices) for _ in answers], device=device)
    ids = torch.tensor([answer + [0] * (longest - len(answer)) for answer in flat], device=device)
    logits = start[owner]
    if longest > 1:
        logits = torch.cat([logits, decoder(ids[:, :-1], cache=cache.pick(owner))], 1)
    each = logits.float().log_softmax(-1).gather(-1, ids[..., None])[..., 0]
    real = torch.arange(longest, device=device) < torch.tensor([[len(a)] for a in flat], device=device)
    sums = (each * real).sum(1)
    out = torch.full((rows, max(map(len, choices))), -torch.inf, device=device)
    place = torch.tensor([j for answers in choices for j in range(len(answers))], device=device)
    out[owner, place] = sums
    return out
