"""Three terms over one dual encoder: pictures, regions, hard negatives."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, fields
from typing import Any, Self
from urllib.parse import parse_qsl

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from polymodal.nn.dual import Dual, Scale, hard_loss, info_nce, ragged, regional_loss, regions
from polymodal.systems.alignment.pictures import Option, Picture
from polymodal.systems.alignment.scoring import PREFIX

LOSSES: dict[str, dict[str, Any]] = {"v1": {"preserve": 0.0}}
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

    @classmethod
    def of(cls, loss: str) -> Self:
        """What `v1?captions=turns&preserve=.1` says.

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
        return cls(**made | {key: float(value) for key, value in given.items()})


@dataclass(frozen=True, slots=True)
class Batch:
    """Pictures, their captions, some of their regions with what is said of them.

    Attributes:
        pixels: of b pictures.
        long: ids of the long captions there are.
        longs: the picture of each.
        short: ids of the short captions there are.
        shorts: the picture of each.
        boxes: of r regions.
        index: the picture of each.
        counts: negatives of each region.
        texts: ids of phrases, then of negatives in order.
    """

    pixels: Float[Tensor, "b c h w"]
    long: Int[Tensor, "l t"]
    longs: Int[Tensor, " l"]
    short: Int[Tensor, "s t"]
    shorts: Int[Tensor, " s"]
    boxes: Float[Tensor, "r 4"]
    index: Int[Tensor, " r"]
    counts: Int[Tensor, " r"]
    texts: Int[Tensor, "n t"]

    def to(self, device: Any) -> Self:
        """The batch on another device."""
        return type(self)(*(getattr(self, one.name).to(device) for one in fields(self)))


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
    for i, picture in enumerate(pictures if terms.regional or terms.hard else ()):
        drawn = rng.permutation(len(picture.regions))[: terms.regions].tolist()
        places = drawn[1:] + drawn[:1] if terms.boxes else drawn
        for mine, place in zip(drawn, places, strict=True):
            region = picture.regions[mine]
            boxes.append(picture.regions[place].box)
            index.append(i)
            phrases.append(region.phrase)
            false.append(in_turn(region.hard(), terms.negatives if terms.hard else 0, rng))
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


def in_turn(options: Sequence[Option], n: int, rng: np.random.Generator) -> list[str]:
    """At most n texts by chance, changed attributes in turn: a rare one is seen as often as others."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for i in rng.permutation(len(options)) if n else ():
        kinds[options[i].changed].append(options[i].text)
    rows = sorted(kinds.values(), key=len)
    turns = [row[turn] for turn in range(max(map(len, rows), default=0)) for row in rows if turn < len(row)]
    return turns[:n]


class Aligner(nn.Module):
    """A dual encoder and the temperatures of its region terms, which start from its own."""

    def __init__(self, dual: Dual) -> None:
        super().__init__()
        self.dual = dual
        start = float(dual.scale.detach())
        self.regional, self.hard = Scale(start), Scale(start)
        self.known: dict[tuple[int, ...], Tensor] = {}

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

    L_global is InfoNCE with the long and with the short captions, each over the pictures that have one; a
    batch without a term's texts leaves that term out. L_preserve is the mean of 1 − cosine of each picture's
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
            total = total + info_nce(whole[batch.longs], dual.text(batch.long, long=True), dual.scale)
        if len(batch.shorts) > 1:
            total = total + info_nce(whole[batch.shorts], dual.text(batch.short), dual.scale)
        if maps is not None:
            found = regions(maps, batch.boxes, batch.index)
            texts = module.phrases(batch.texts)
            phrases, flat = texts[: len(found)], texts[len(found) :]
            if terms.regional:
                total = total + terms.regional * regional_loss(found, phrases, module.regional())
            if terms.hard and len(flat):
                block, mask = ragged(flat, batch.counts)
                total = total + terms.hard * hard_loss(found, phrases, block, mask, module.hard())
                if terms.apart:
                    scale = module.hard().detach()  # it would grow: a phrase is always nearest to itself
                    total = total + terms.hard * hard_loss(phrases, phrases, block, mask, scale)
        return total

    return loss
