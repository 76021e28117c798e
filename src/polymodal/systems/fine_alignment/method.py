"""Three terms over one dual encoder: whole pictures, regions, hard negatives; negatives without a model."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, Protocol, Self

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from polymodal.nn.dual import Dual, Scale, hard_loss, info_nce, ragged, regional_loss, regions
from polymodal.systems.pictures import Option, Picture, distinct
from polymodal.systems.scoring import PREFIX

BETAS, DECAY = (0.9, 0.98), 1e-3  # of AdamW
LEXICON = {
    "colour": "red green blue yellow purple orange cyan white black brown grey pink",
    "material": "wooden metal plastic glass stone leather cotton paper",
    "pattern": "plain striped dotted checked floral",
    "size": "tiny small medium large huge",
    "count": "one two three four five six",
    "transparency": "transparent translucent opaque",
    "place": "left right top bottom",
}  # words of a line may stand for one another
KIND = {word: kind for kind, line in LEXICON.items() for word in line.split()}


@dataclass(frozen=True, slots=True)
class Terms:
    """What is trained, and what is broken on purpose.

    Attributes:
        regional: weight of the regional term.
        hard: weight of the hard-negative term.
        captions: `both` of a picture, `turns`: every second picture its long one, the others a short one
            (half the price), or `short` alone.
        boxes: whether the boxes of a picture change places (a control).
        donors: whether negatives come from other regions of the batch (a control).
    """

    regional: float = 0.0
    hard: float = 0.0
    captions: str = "both"
    boxes: bool = False
    donors: bool = False


@dataclass(frozen=True, slots=True)
class Fitting:
    """How long to train, and how much a step.

    Attributes:
        steps: in all.
        batch: pictures.
        lr: largest learning rate.
        regions: of a picture at most, drawn anew each time.
        negatives: of a region at most.
        every: steps between evaluations.
    """

    steps: int
    batch: int = 64
    lr: float = 1e-3
    regions: int = 4
    negatives: int = 10
    every: int = 100


class Feed(Protocol):
    """Pictures by number, and an order of them for each epoch."""

    @property
    def at(self) -> Callable[[int], Picture]:
        """The picture of a number."""

    def epoch(self, number: int, batch: int, *, seed: int) -> Iterable[list[int]]:
        """Numbers of the pictures of each batch."""


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


def gather(
    dual: Dual, pictures: Sequence[Picture], terms: Terms, most: int, negatives: int, *, seed: Sequence[int]
) -> Batch:
    """Pictures as one batch.

    Args:
        dual: prepares pixels and ids.
        pictures: each with at least one caption or region.
        terms: which texts are wanted, and what is to be shuffled.
        most: regions of a picture at most.
        negatives: of a region at most.
        seed: of the draws.
    """
    rng = np.random.default_rng(list(seed))
    turns = terms.captions == "turns"
    longs = [i for i, p in enumerate(pictures) if p.long and not (turns and i % 2 and p.short)]
    longs = [] if terms.captions == "short" else longs
    shorts = [i for i, p in enumerate(pictures) if p.short and not (turns and i in longs)]
    said = [PREFIX + pictures[i].short[int(rng.integers(len(pictures[i].short)))] for i in shorts]
    boxes: list[Sequence[float]] = []
    index: list[int] = []
    phrases: list[str] = []
    false: list[list[str]] = []
    for i, picture in enumerate(pictures if terms.regional or terms.hard else ()):
        drawn = rng.permutation(len(picture.regions))[:most].tolist()
        places = drawn[1:] + drawn[:1] if terms.boxes else drawn
        for mine, place in zip(drawn, places, strict=True):
            region = picture.regions[mine]
            boxes.append(picture.regions[place].box)
            index.append(i)
            phrases.append(region.phrase)
            false.append(in_turn(region.hard(), negatives if terms.hard else 0, rng))
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


@dataclass(frozen=True, slots=True)
class Deal:
    """A batch to come: nothing is drawn or read before it is sent to a device, so that it can be skipped."""

    make: Callable[[], Batch]

    def to(self, device: Any) -> Batch:
        """Make it."""
        return self.make().to(device)


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


def objective(terms: Terms) -> Callable[[Aligner, Batch], Tensor]:
    """L = L_global + regional · L_regional + hard · L_hard (FG-CLIP, section 3.2).

    L_global is InfoNCE with the long and with the short captions, each over the pictures that have one; a
    batch without a term's texts leaves that term out.
    """

    def loss(module: Aligner, batch: Batch) -> Tensor:
        dual = module.dual
        local = len(batch.index) > 0
        whole, maps = dual.views(batch.pixels) if local else (dual.image(batch.pixels), None)
        total = whole.new_zeros(())
        if len(batch.longs) > 1:
            total = total + info_nce(whole[batch.longs], dual.text(batch.long, long=True), dual.scale)
        if len(batch.shorts) > 1:
            total = total + info_nce(whole[batch.shorts], dual.text(batch.short), dual.scale)
        if maps is not None:
            found = regions(maps, batch.boxes, batch.index)
            phrases, flat = dual.text(batch.texts).split([len(found), int(batch.counts.sum())])
            if terms.regional:
                total = total + terms.regional * regional_loss(found, phrases, module.regional())
            if terms.hard and len(flat):
                block, mask = ragged(flat, batch.counts)
                total = total + terms.hard * hard_loss(found, phrases, block, mask, module.hard())
        return total

    return loss


def swapped(phrase: str, n: int, others: Iterable[str] = (), *, seed: int) -> tuple[Option, ...]:
    """Negatives of a real phrase: one word of `LEXICON` exchanged for another of its kind.

    Args:
        phrase: what is true of a region.
        n: at most so many; a phrase without such a word has none.
        others: phrases that are true elsewhere in the picture, and so are no negatives.
        seed: of the draw.
    """
    words, made = re.findall(r"\w+|\W+", phrase), []
    for i, word in enumerate(words):
        kind = KIND.get(word.lower())
        for other in LEXICON[kind].split() if kind else ():
            if other != word.lower():
                made.append(Option("".join([*words[:i], other, *words[i + 1 :]]), str(kind)))
    known = {option.text for option in distinct("", map(Option, others))}
    kept = [option for option in distinct(phrase, made) if option.text not in known]
    order = np.random.default_rng(seed).permutation(len(kept))[:n]
    return tuple(kept[i] for i in sorted(order))


def trained(
    module: Aligner,
    feed: Feed,
    terms: Terms,
    fitting: Fitting,
    *,
    seed: int,
    last: bool = True,
    state: Mapping[str, Any] | None = None,
    until: int = 0,
    evaluate: Callable[[], float] | None = None,
) -> dict[str, Any]:
    """Train in place.

    Args:
        module: what to train.
        feed: where pictures come from.
        terms: what to train by.
        fitting: how long, and how much a step.
        seed: of the order, of what is drawn of a picture, of dropout.
        last: whether the rate falls by half a cosine; else it stays, for a stage that others follow.
        state: of an earlier call that stopped before the end; the numbers are those of an unbroken one.
        until: the step to stop at; 0 for the end.
        evaluate: gives a number to make small, every `fitting.every` steps.

    Returns:
        `state` to go on from, `weights` (the best by `evaluate`, else the last), both arrays by name, and
        `curve`: rows of step, loss, val.
    """
    from polymodal.training.loop import fit

    def batches(epoch: int) -> Iterator[Deal]:
        for i, chosen in enumerate(feed.epoch(epoch, fitting.batch, seed=seed)):
            yield Deal(partial(deal, chosen, (seed, epoch, i)))

    def deal(chosen: Sequence[int], draw: Sequence[int]) -> Batch:
        rows = [feed.at(k) for k in chosen]
        return gather(module.dual, rows, terms, fitting.regions, fitting.negatives, seed=draw)

    loop = fit(
        module, batches, objective(terms), seed=seed, steps=fitting.steps, every=fitting.every,
        optimizer=torch.optim.AdamW(module.parameters(), fitting.lr, betas=BETAS, weight_decay=DECAY, fused=True),
        schedule="cosine" if last else "constant", warmup=min(50, max(1, fitting.steps // 4)),
        evaluate=evaluate, state=None if state is None else loaded(state),
    )  # fmt: skip
    curve: list[dict[str, Any]] = []
    end = until or fitting.steps
    for step in loop:
        if step.n % 10 == 0 or step.n == end:
            curve.append({"step": step.n, "loss": step.loss, "val": step.val})
        if step.n == end:
            kept = {name: x.numpy() for name, x in step.state().items()}
            break
    loop.close()
    weights = {name: x.detach().numpy().copy() for name, x in module.state_dict().items()}
    return {"state": kept, "weights": weights, "curve": curve}


def loaded(arrays: Mapping[str, Any]) -> dict[str, Tensor]:
    """Arrays as tensors."""
    return {name: torch.from_numpy(np.array(x)) for name, x in arrays.items()}
