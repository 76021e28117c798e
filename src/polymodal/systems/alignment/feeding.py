"""Pictures dealt in batches, and a training that can stop and go on to the same numbers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from polymodal.systems.alignment.pictures import Option, Picture

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor, nn

BETAS, DECAY = (0.9, 0.98), 1e-3  # of AdamW


@dataclass(frozen=True, slots=True)
class Source:
    """Pictures to train on, by number: generated or read.

    Attributes:
        n: how many there are.
        at: the picture of a number.
    """

    n: int
    at: Callable[[int], Picture]

    def epoch(self, number: int, batch: int, *, seed: int) -> Iterator[list[int]]:
        """Numbers of pictures in an order of (seed, epoch), whole batches only; nothing is drawn or read."""
        order = np.random.default_rng([seed, number]).permutation(self.n).tolist()
        size = min(batch, self.n)
        return (order[at : at + size] for at in range(0, self.n - size + 1, size))


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


def in_turn(options: Sequence[Option], n: int, rng: np.random.Generator) -> list[str]:
    """At most n texts by chance, changed attributes in turn: a rare one is seen as often as others."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for i in rng.permutation(len(options)) if n else ():
        kinds[options[i].changed].append(options[i].text)
    rows = sorted(kinds.values(), key=len)
    turns = [row[turn] for turn in range(max(map(len, rows), default=0)) for row in rows if turn < len(row)]
    return turns[:n]


@dataclass(frozen=True, slots=True)
class Fitting:
    """How long to train.

    Attributes:
        steps: in all.
        batch: pictures a step.
        lr: largest learning rate.
        every: steps between evaluations.
        last: whether the rate falls by half a cosine; else it stays, for a stage that others follow.
    """

    steps: int
    batch: int = 64
    lr: float = 1e-3
    every: int = 100
    last: bool = True


@dataclass(frozen=True, slots=True)
class Deal:
    """A batch to come: nothing is drawn or read before it is sent to a device, so that it can be skipped."""

    make: Callable[[], Any]

    def to(self, device: Any) -> Any:
        """Make it."""
        return self.make().to(device)


def trained(
    module: nn.Module,
    loss: Callable[[Any, Any], Tensor],
    feed: Source,
    gather: Callable[[Sequence[Picture], Sequence[int]], Any],
    fitting: Fitting,
    *,
    seed: int,
    state: Mapping[str, Any] | None = None,
    until: int = 0,
    evaluate: Callable[[], float] | None = None,
) -> dict[str, Any]:
    """Train in place.

    Args:
        module: what to train.
        loss: of (module, batch).
        feed: where pictures come from.
        gather: makes a batch of pictures and a seed.
        fitting: how long.
        seed: of the order, of what is drawn of a picture, of dropout.
        state: of an earlier call that stopped before the end; the numbers are those of an unbroken one.
        until: the step to stop at; 0 for the end.
        evaluate: gives a number to make small, every `fitting.every` steps.

    Returns:
        `state` to go on from, `weights` (the best by `evaluate`, else the last), both arrays by name, and
        `curve`: rows of step, loss, val.
    """
    import torch

    from polymodal.training.loop import fit

    def deal(chosen: Sequence[int], draw: Sequence[int]) -> Any:
        return gather([feed.at(k) for k in chosen], draw)

    def batches(epoch: int) -> Iterator[Deal]:
        for i, chosen in enumerate(feed.epoch(epoch, fitting.batch, seed=seed)):
            yield Deal(partial(deal, chosen, (seed, epoch, i)))

    adam = torch.optim.AdamW(module.parameters(), fitting.lr, betas=BETAS, weight_decay=DECAY, fused=True)
    loop = fit(
        module, batches, loss, seed=seed, steps=fitting.steps, every=fitting.every, optimizer=adam,
        schedule="cosine" if fitting.last else "constant", warmup=min(50, max(1, fitting.steps // 4)),
        evaluate=evaluate, state=None if state is None else loaded(state),
    )  # fmt: skip
    curve: list[dict[str, Any]] = []
    kept: dict[str, Any] = {}
    end = until or fitting.steps
    for step in loop:
        if step.n % 10 == 0 or step.n == end:
            curve.append({"step": step.n, "loss": step.loss, "val": step.val})
        if step.n == end:
            kept = {name: x.numpy() for name, x in step.state().items()}
            break
    loop.close()
    weights = {name: x.detach().cpu().numpy().copy() for name, x in module.state_dict().items()}
    return {"state": kept, "weights": weights, "curve": curve}


def loaded(arrays: Mapping[str, Any]) -> dict[str, Tensor]:
    """Arrays as tensors."""
    import torch

    return {name: torch.from_numpy(np.array(x)) for name, x in arrays.items()}
