"""Terms over one dual encoder: pictures, regions, negatives; the sequel's; a kept start."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import parse_qsl

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from polymodal.nn.dual import (
    Dual,
    Scale,
    apart_loss,
    hard_loss,
    info_nce,
    margin,
    margin_loss,
    ragged,
    regional_loss,
    regions,
    sigmoid_loss,
    sigmoid_start,
)
from polymodal.systems.alignment.feeding import Batch, in_turn
from polymodal.systems.alignment.pictures import Picture
from polymodal.systems.alignment.scoring import PREFIX

LOSSES = {"v1": {"preserve": 0.0}, "v2": {"preserve": 0.0, "text": 0.1, "margin": 0.4}}
KNOWN = 100_000  # vectors of texts that a frozen tower has given


@dataclass(frozen=True, slots=True)
class Terms:
    """What is trained, and what is broken on purpose.

    Attributes:
        regional: weight of the regional term.
        hard: weight of the hard-negative term.
        captions: `both` of a picture, `turns`: every second picture its long one, the others a short one
            (half the price); `short`: the short ones alone; `halves`: those of them that
            `turns` reads.
        boxes: whether the boxes of a picture change places (a control).
        donors: whether negatives come from other regions of the batch (a control).
        apart: whether a phrase is pushed off its negatives by the words alone, with the weight of `hard`:
            else words that pictures cannot tell apart yet get one vector, and then no picture ever can.
        regions: of a picture at most, drawn anew each time.
        negatives: of a region at most.
        preserve: weight of a term that keeps vectors of whole pictures where the start has them.
        sequel: whether captions are taught by the sigmoid loss in place of InfoNCE (FG-CLIP 2).
        text: weight of its term that tells phrases apart by words alone.
        margin: weight of its term that asks for the margin over negatives that the step before had.
    """

    regional: float = 0.0
    hard: float = 0.0
    captions: str = "both"
    boxes: bool = False
    donors: bool = False
    apart: bool = False
    regions: int = 4
    negatives: int = 10
    preserve: float = 0.0
    sequel: bool = False
    text: float = 0.0
    margin: float = 0.0

    @classmethod
    def of(cls, loss: str) -> Self:
        """What `v1?captions=turns&preserve=.1` or `v2?text=.1&margin=.4` says, beside `regional` and `hard`.

        Raises:
            ValueError: a loss or a field that is not known, or a value that it cannot have.
        """
        name, _, query = loss.partition("?")
        if name not in LOSSES:
            raise ValueError(f"loss={name!r} is not known; known: {', '.join(LOSSES)}")
        given: dict[str, Any] = dict(parse_qsl(query))
        made: dict[str, Any] = {"captions": given.pop("captions", "both"), **LOSSES[name]}
        if unknown := given.keys() - made.keys():
            known = ", ".join(sorted(made))
            raise ValueError(f"loss={name} has no {sorted(unknown)[0]!r}; known: {known}")
        if made["captions"] not in ("both", "turns"):
            raise ValueError(f"captions={made['captions']!r} is not known; known: both, turns")
        return cls(sequel=name == "v2", **made | {key: float(value) for key, value in given.items()})


def gather(dual: Dual, terms: Terms, pictures: Sequence[Picture], draw: Sequence[int]) -> Batch:
    """Pictures as one batch.

    Args:
        dual: prepares pixels and ids.
        terms: which texts are wanted, and what is to be shuffled.
        pictures: each with at least one caption or region.
        draw: seed of the draws.
    """
    rng = np.random.default_rng(list(draw))
    turns = terms.captions in ("turns", "halves")
    longs = [i for i, p in enumerate(pictures) if p.long and not (turns and i % 2 and p.short)]
    shorts = [i for i, p in enumerate(pictures) if p.short and not (turns and i in longs)]
    longs = longs if terms.captions in ("both", "turns") else []
    said = [PREFIX + pictures[i].short[int(rng.integers(len(pictures[i].short)))] for i in shorts]
    boxes: list[Sequence[float]] = []
    index: list[int] = []
    phrases: list[str] = []
    false: list[list[str]] = []
    local = terms.regional, terms.text, terms.hard, terms.margin
    for i, picture in enumerate(pictures if any(local) else ()):
        drawn = rng.permutation(len(picture.regions))[: terms.regions].tolist()
        places = drawn[1:] + drawn[:1] if terms.boxes else drawn
        for mine, place in zip(drawn, places, strict=True):
            region = picture.regions[mine]
            boxes.append(picture.regions[place].box)
            index.append(i)
            phrases.append(region.phrase)
            false.append(in_turn(region.hard(), terms.negatives if any(local[2:]) else 0, rng))
    if terms.donors and len(false) > 1:
        turn = 1 + int(rng.integers(len(false) - 1))
        false = false[turn:] + false[:turn]
    flat = [text for texts in false for text in texts]
    words = [pictures[i].long for i in longs]
    none = torch.zeros(0, 1, dtype=torch.long)
    return Batch(
        dual.prepare([one.image.pixels() for one in pictures]),
        dual.tokenise(words, long=True) if words else none,
        torch.tensor(longs, dtype=torch.long),
        dual.tokenise(said) if said else none,
        torch.tensor(shorts, dtype=torch.long),
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(index, dtype=torch.long),
        torch.tensor([len(texts) for texts in false], dtype=torch.long),
        dual.tokenise([*phrases, *flat]) if phrases else none,
    )


class Aligner(nn.Module):
    """A dual encoder and the temperatures of its region terms, which start from its own.

    With the sequel's loss also `bias` of the sigmoid where the encoder has none (not a number before the
    first step, which sets it) and `ahead`, the mean margin over negatives in the step before.
    """

    ahead: Tensor

    def __init__(self, dual: Dual, sequel: bool = False) -> None:
        super().__init__()
        self.dual, self.sequel = dual, sequel
        start = float(dual.scale.detach())
        self.regional, self.hard = Scale(start), Scale(start)
        if sequel:
            self.register_buffer("ahead", torch.zeros(()))
            lacks = float(dual.bias.detach()) == 0
            self.bias = nn.Parameter(torch.tensor(torch.nan)) if lacks else None
        self.known: dict[tuple[int, ...], Tensor] = {}

    def matched(self, a: Float[Tensor, "b d"], b: Float[Tensor, "b d"]) -> Float[Tensor, ""]:
        """The loss of pictures and their captions: InfoNCE, or the sequel's sigmoid loss."""
        if not self.sequel:
            return info_nce(a, b, self.dual.scale)
        if self.bias is None:
            return sigmoid_loss(a, b, self.dual.scale, self.dual.bias)
        if self.bias.isnan():
            self.bias.data.copy_(sigmoid_start(a, b, self.dual.scale))
        return sigmoid_loss(a, b, self.dual.scale, self.bias)

    def phrases(self, ids: Int[Tensor, "n t"]) -> Float[Tensor, "n d"]:
        """Vectors of texts; those of a frozen text tower are remembered."""
        if any(x.requires_grad for name, x in self.dual.net.named_parameters() if "text_" in name):
            return self.dual.text(ids)
        rows = [tuple(row) for row in ids.tolist()]
        new = [i for i, row in enumerate(rows) if row not in self.known]
        if len(self.known) + len(new) > KNOWN:
            self.known.clear()
            new = list(range(len(rows)))
        if new:
            with torch.no_grad():
                self.known.update(zip((rows[i] for i in new), self.dual.text(ids[new]), strict=True))
        return torch.stack([self.known[row] for row in rows])


def frozen(dual: Dual) -> Dual:
    """A copy that stays as it is."""
    return Dual(deepcopy(dual.net), dual.tokens).freeze().eval()


def objective(terms: Terms, start: Dual | None = None) -> Callable[[Aligner, Batch], Tensor]:
    """L = L_global + regional · L_regional + hard · L_hard (FG-CLIP, section 3.2) + preserve · L_preserve.

    L_global is of the long and of the short captions (`Aligner.matched`), each over the pictures that have
    one; a batch without a term's texts leaves that term out. The sequel adds text · `apart_loss` of the
    phrases and margin · `margin_loss` of the cosines. L_preserve is the mean of 1 − cosine of each picture's
    vector to what `start`, where given, says of it.
    """

    def loss(module: Aligner, batch: Batch) -> Tensor:
        dual = module.dual
        local = len(batch.index) > 0
        whole, maps = dual.views(batch.pixels) if local else (dual.image(batch.pixels), None)
        total = whole.new_zeros(())
        if start is not None and terms.preserve:
            with torch.no_grad():
                was = start.to(batch.pixels.device).image(batch.pixels)
            total = total + terms.preserve * (1 - (whole * was).sum(-1)).mean()
        if len(batch.longs) > 1:
            total = total + module.matched(whole[batch.longs], dual.text(batch.long, long=True))
        if len(batch.shorts) > 1:
            total = total + module.matched(whole[batch.shorts], dual.text(batch.short))
        if maps is not None:
            found = regions(maps, batch.boxes, batch.index)
            texts = module.phrases(batch.texts)
            phrases, flat = texts[: len(found)], texts[len(found) :]
            if terms.regional:
                total = total + terms.regional * regional_loss(found, phrases, module.regional())
            scale = module.hard().detach()  # of words alone: they would move it, and say nothing of pictures
            if terms.text:
                total = total + terms.text * apart_loss(phrases, scale)
            block, mask = ragged(flat, batch.counts)
            if terms.hard and len(flat):
                total = total + terms.hard * hard_loss(found, phrases, block, mask, module.hard())
                if terms.apart:
                    total = total + terms.hard * hard_loss(phrases, phrases, block, mask, scale)
            if terms.margin and len(flat):
                right, wrong = (found * phrases).sum(-1), torch.einsum("rd,rmd->rm", found, block)
                total = total + terms.margin * margin_loss(right, wrong, mask, module.ahead)
                module.ahead.copy_(margin(right, wrong, mask))
        return total

    return loss
