"""Merged tensors as pieces of bytes: read a block of each, mix in fp32, round once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from polymodal.nn.weights.headers import Checkpoint, View, WeightsError
from polymodal.nn.weights.mixer import Mixer, blocks, bounded
from polymodal.nn.weights.plan import Merge, Plan
from polymodal.nn.weights.sparse import BLOCK

CHUNK = 8 << 20
MOST = 8 * BLOCK  # bytes held of a piece at most, whatever the chunk: they stay in the cache
TYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
Block = Float[Tensor, " n"]


class Piece(NamedTuple):
    """Bytes for one place of one file; `data` is good until the next piece is asked for.

    A later piece for the same place replaces an earlier one. `note` says what is worth keeping about the
    tensor, such as that it was spared.
    """

    file: str
    offset: int
    data: memoryview
    note: str = ""


class Source:
    """A view of one model, read block by block into fp32."""

    def __init__(self, folder: Path, view: View) -> None:
        self.view = view
        self.handle = os.open(folder / view.entry.file, os.O_RDONLY)
        self.kind = TYPES[view.entry.dtype]
        self.room = torch.empty(BLOCK, dtype=self.kind)
        self.bytes = memoryview(self.room.view(torch.uint8).numpy())  # type: ignore[arg-type]
        self.block = self.room if self.kind == torch.float32 else torch.empty(BLOCK)

    def read(self, start: int, stop: int) -> Block:
        """Values `start` to `stop` of the view in fp32, in a buffer that the next call uses again.

        Raises:
            WeightsError: the file has become shorter.
        """
        raw = self.raw(start, stop)
        return raw if self.kind == torch.float32 else self.block[: stop - start].copy_(raw)

    def raw(self, start: int, stop: int) -> Block:
        """The same as the file has them."""
        at = 0
        for first, last in self.view.places(start, stop):
            if os.preadv(self.handle, [self.bytes[at : at + last - first]], first) != last - first:
                raise WeightsError(f"{self.view.entry.file} was cut off while it was read")
            at += last - first
        return self.room[: stop - start]

    def ahead(self, start: int, stop: int) -> None:
        """Tells the system what will be read next."""
        for first, last in self.view.places(start, min(stop, self.view.size)):
            os.posix_fadvise(self.handle, first, last - first, os.POSIX_FADV_WILLNEED)

    def close(self) -> None:
        """Lets go of the file."""
        os.close(self.handle)


def pieces(plan: Plan, merge: Merge, chunk: int = CHUNK) -> Iterator[Piece]:
    """One merged tensor, rounded to the target's type, in pieces of at most `chunk` bytes and 1.3 MB.

    Chunks of any size give the same bytes in all. Torch should run on one thread.

    Raises:
        WeightsError: a NaN or an infinity in a model or in the result, unless the recipe allows the tensor:
            then all of it is handed over again as the target has it.
    """
    view, kind = merge.view, TYPES[merge.view.entry.dtype]
    most = float(torch.finfo(kind).max)
    step = max(64, min(chunk, MOST) // view.width // 64 * 64)  # whole vectors
    room = torch.empty(min(step, view.size), dtype=kind)
    data = memoryview(room.view(torch.uint8).numpy())  # type: ignore[arg-type]
    sources = [Source(model.folder, one) for model, one in plan.read_by(merge)]
    try:
        names = ("target", *(donor.fingerprint for donor in plan.donors))
        models, base = (sources, None) if merge.base is None else (sources[:-1], sources[-1])
        mixer = Mixer(plan.recipe, merge.key, merge.weights, view.size, models, base, names)
        line = mixer.line if all(source.kind == kind for source in sources) else None
        for start in range(0, view.size, step):
            stop = min(view.size, start + step)
            for source in sources:
                source.ahead(stop, stop + step)
            for first, last in blocks(start, stop):
                out = room[first - start : last - start]
                if line is None:
                    mixed = mixer.mix(first, last)
                else:  # in one pass, which itself counts in fp32 and rounds once
                    target, donor = (source.raw(first, last) for source in sources)
                    mixed = torch.lerp(target, donor, line, out=out)
                if not bounded(mixed, most):
                    why = blame(merge, plan.read_by(merge), sources)
                    if not plan.recipe.allows(merge.name):
                        raise WeightsError(f"{why}. Keep the target's with --allow '{merge.name}'")
                    yield from _spared(merge, sources[0], step, why)
                    return
                if line is None:
                    out.copy_(mixed)
            yield from _placed(view, start, stop, data)
    finally:
        for source in sources:
            source.close()


def _placed(view: View, start: int, stop: int, data: memoryview, note: str = "") -> Iterator[Piece]:
    at = 0
    for first, last in view.places(start, stop):
        yield Piece(view.entry.file, first, data[at : at + last - first], note)
        at += last - first


def _spared(merge: Merge, target: Source, step: int, why: str) -> Iterator[Piece]:
    """The target's own bytes of a tensor."""
    size = min(step, BLOCK)
    for start in range(0, merge.view.size, size):
        stop = min(merge.view.size, start + size)
        target.read(start, stop)
        yield from _placed(merge.view, start, stop, target.bytes, f"kept from the target: {why}")


def blame(merge: Merge, read: Sequence[tuple[Checkpoint, View]], sources: Sequence[Source]) -> str:
    """Which model holds how many values that are no numbers; if none, the result grew out of its type."""
    for (model, view), source in zip(read, sources, strict=True):
        count = 0
        for start, stop in blocks(0, view.size):
            count += int((~torch.isfinite(source.read(start, stop))).sum())
        if count:
            return f"{merge.name}: {count} NaN or infinite of {view.size} values in {model.name}"
    return f"{merge.name}: the merged values are too large for {merge.view.entry.dtype}"


def merged(plan: Plan, chunk: int = CHUNK) -> Iterator[Piece]:
    """All pieces of a plan, one tensor after the other.

    Raises:
        WeightsError: the plan has refusals, or a model holds values that are no numbers.
    """
    plan.ready()
    for merge in plan.merges:
        yield from pieces(plan, merge, chunk)
