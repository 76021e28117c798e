"""From a ready table to tensors, in an order fixed by seed and epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int64, Shaped
from numpy.typing import NDArray
from torch import Tensor, nn

from polymodal.training.ready import Column, Ready, Rows

Output = Callable[[Any, "Batch"], Tensor]  # (module, batch) -> anything "b ...", or a scalar loss

_BLOCK = 32  # batches gathered at once where no padding is needed


@dataclass(frozen=True, slots=True)
class Batch:
    """What a step takes.

    Attributes:
        inputs: part -> Float "b t d", or Int "b t" ids; what stands where the mask is False means nothing.
        masks: part -> Bool "b t", False on padding and on all of an absent part.
        present: Bool "b m", parts in the table's order.
        target: Int64 " b" class ids (-1: none) or Float " b" scores (NaN: none).
        rows: Int64 " b" positions in the table.
    """

    inputs: dict[str, Shaped[Tensor, "b t ..."]]
    masks: dict[str, Bool[Tensor, "b t"]]
    present: Bool[Tensor, "b m"]
    target: Shaped[Tensor, " b"]
    rows: Int64[Tensor, " b"]

    def __len__(self) -> int:
        return len(self.rows)

    def to(self, device: torch.device | str, non_blocking: bool = True) -> Batch:
        """The same batch on a device; itself where it is there already."""
        if self.rows.device == torch.device(device):
            return self
        moved = {
            name: {part: x.to(device, non_blocking=non_blocking) for part, x in getattr(self, name).items()}
            for name in ("inputs", "masks")
        }
        present, target, rows = (
            x.to(device, non_blocking=non_blocking) for x in (self.present, self.target, self.rows)
        )
        return Batch(moved["inputs"], moved["masks"], present, target, rows)


def batches(
    table: Ready,
    rows: Rows,
    *,
    size: int,
    seed: int,
    epoch: int = 0,
    shuffle: bool = True,
    pool: int = 50,
) -> Iterator[Batch]:
    """Batches over the rows, each row once.

    Rows of equal length need no padding and are sliced. Else batches are cut from pools of `pool` batches
    sorted by length, so that long rows meet long rows, and then shuffled.

    Args:
        table: made by `Table.ready`.
        rows: which, in their order when `shuffle` is off; `Batch.rows` says who is where.
        size: rows a batch; the last may be smaller.
        seed: together with `epoch` fixes the order.
        epoch: counts passes over the data.
        shuffle: off for evaluation.
        pool: batches in a pool of similar lengths; 1 pads whatever meets.

    Raises:
        ValueError: size below 1.
    """
    if size < 1:
        raise ValueError(f"a batch needs at least one row, got size={size}")
    order = np.asarray(rows, np.int64)
    if shuffle:
        order = np.random.default_rng([seed, epoch]).permutation(order)
    if all(column.offsets is None for column in table.columns.values()):
        yield from _sliced(table, order, size)
        return
    for chosen in _bucketed(table, order, size, pool, np.random.default_rng([seed, epoch, 1])):
        yield _padded(table, chosen)


def _sliced(table: Ready, order: NDArray[np.int64], size: int) -> Iterator[Batch]:
    """No padding anywhere: gather a block of batches, hand out views."""
    for start in range(0, len(order), size * _BLOCK):
        chosen = order[start : start + size * _BLOCK]
        inputs, masks = {}, {}
        present = table.present[chosen]
        for j, (name, column) in enumerate(table.columns.items()):
            values = torch.from_numpy(column.values[column.index[chosen]])
            mask = torch.from_numpy(present[:, j, None]).expand(-1, values.shape[1])
            masks[name] = torch.split(mask, size)
            inputs[name] = torch.split(values, size)
        views = zip(
            torch.split(torch.from_numpy(present), size),
            torch.split(torch.from_numpy(table.target[chosen]), size),
            torch.split(torch.from_numpy(chosen), size),
            strict=True,
        )
        for i, (here, target, rows) in enumerate(views):
            yield Batch(
                {name: x[i] for name, x in inputs.items()},
                {name: mask[i] for name, mask in masks.items()},
                here,
                target,
                rows,
            )


def _bucketed(
    table: Ready, order: NDArray[np.int64], size: int, pool: int, rng: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    if pool <= 1:
        yield from (order[i : i + size] for i in range(0, len(order), size))
        return
    ragged = [(j, c) for j, c in enumerate(table.columns.values()) if c.offsets is not None]
    cost = sum(column.lengths(order) * table.present[order, j] for j, column in ragged)
    for start in range(0, len(order), size * pool):
        inside = slice(start, start + size * pool)
        near = order[inside][np.argsort(cost[inside], kind="stable")]
        cuts = [near[i : i + size] for i in range(0, len(near), size)]
        for i in rng.permutation(len(cuts)):
            yield cuts[i]


def _padded(table: Ready, rows: NDArray[np.int64]) -> Batch:
    present = table.present[rows]
    inputs, masks = {}, {}
    for j, (name, column) in enumerate(table.columns.items()):
        inputs[name], masks[name] = _pad(column, rows, present[:, j])
    return Batch(
        inputs,
        masks,
        torch.from_numpy(present),
        torch.from_numpy(table.target[rows]),
        torch.from_numpy(rows),
    )


def _pad(column: Column, rows: NDArray[np.int64], here: NDArray[np.bool_]) -> tuple[Tensor, Tensor]:
    lengths = column.lengths(rows) * here
    mask = np.arange(max(1, lengths.max()))[None] < lengths[:, None]
    values = np.zeros(
        (*mask.shape, *column.values.shape[1 if column.offsets is not None else 2 :]), column.values.dtype
    )
    values[mask] = column.take(rows[here])
    return torch.from_numpy(values), torch.from_numpy(mask)


@torch.no_grad()
def predict(
    module: nn.Module, table: Ready, rows: Rows, *, output: Output | None = None, size: int = 256
) -> NDArray[np.float32]:
    """What the module says of the rows, in their order.

    Args:
        module: on any device; run in eval mode and left in the mode it was in.
        table: as in `batches`.
        rows: which.
        output: of (module, batch) "b ..."; None calls the module with inputs, masks and present.
        size: rows a batch.

    Returns:
        Array "n ...".

    Raises:
        ValueError: no rows.
    """
    rows = np.asarray(rows, np.int64)
    if not len(rows):
        raise ValueError("no rows to predict")
    said, seen = [], []
    with _judging(module) as device:
        for batch in batches(table, rows, size=size, seed=0, shuffle=False):
            here = batch.to(device)
            out = module(here.inputs, here.masks, here.present) if output is None else output(module, here)
            said.append(out.float().cpu().numpy())
            seen.append(batch.rows.numpy())
    place = np.argsort(np.concatenate(seen), kind="stable")
    back = np.argsort(np.argsort(rows, kind="stable"), kind="stable")
    in_order: NDArray[np.float32] = np.concatenate(said)[place[back]]
    return in_order


@torch.no_grad()
def mean_loss(module: nn.Module, table: Ready, rows: Rows, loss: Output, *, size: int = 256) -> float:
    """The loss over the rows, each batch weighted by its size: the usual `evaluate`.

    Raises:
        ValueError: no rows.
    """
    total = 0.0
    with _judging(module) as device:
        for batch in batches(table, rows, size=size, seed=0, shuffle=False):
            total += float(loss(module, batch.to(device))) * len(batch)
    if not len(rows):
        raise ValueError("no rows to take a loss over")
    return total / len(rows)


@contextmanager
def _judging(module: nn.Module) -> Iterator[torch.device]:
    """Eval mode for a while; gives the module's device."""
    mode = module.training
    module.eval()
    try:
        yield next((p.device for p in module.parameters()), torch.device("cpu"))
    finally:
        module.train(mode)
