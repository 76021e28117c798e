"""Which entries of a delta stay: the largest, without a sort, or a share by a keyed hash."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, Int16
from torch import Tensor

BLOCK = 5 << 15  # values worked on at once: two threads wait for the interpreter at smaller ones
HIGH, LOW = 1 << 15, 1 << 16  # bins of the two passes over the 31 bits of a magnitude
MAGNITUDE = 0x7FFFFFFF
STEPS = 1 << 15  # of the chance that an entry stays
MULTIPLIERS = tuple(np.array([0x7FEB352D, 0x846CA68B, 0xC2B2AE35], np.uint32))


class Largest:
    """Finds the k-th largest magnitude of a delta in two passes over its blocks, exactly.

    The bits of a positive float grow with its value, so a histogram of the upper 15 of them finds the bin
    of the k-th, and one of the lower 16 finds the value.
    """

    def __init__(self, k: int) -> None:
        self.k, self.bin, self.above = k, -1, 0
        self.counts = torch.zeros(HIGH, dtype=torch.int64)

    def add(self, delta: Float[Tensor, " n"], bits: Int[Tensor, " n"]) -> None:
        """Counts one block; `bits` is a buffer of its size."""
        torch.bitwise_and(delta.view(torch.int32), MAGNITUDE, out=bits)
        if self.bin < 0:
            bits.bitwise_right_shift_(16)
            self.counts += torch.bincount(bits, minlength=HIGH)
        else:  # 0 below the bin, 1 … LOW inside, LOW + 1 above
            bits.sub_((self.bin << 16) - 1).clamp_(0, LOW + 1)
            self.counts += torch.bincount(bits, minlength=LOW + 2)

    def narrow(self) -> None:
        """Ends the first pass."""
        self.bin, self.above, _ = self._reach(self.counts, 0)
        self.counts = torch.zeros(LOW + 2, dtype=torch.int64)

    def cut(self) -> Cut:
        """Ends the second pass: the threshold, and how many entries that equal it may stay."""
        low, above, here = self._reach(self.counts[1:-1], self.above)
        return Cut((self.bin << 16) + low, self.k - above, here)

    def _reach(self, counts: Int[Tensor, " n"], above: int) -> tuple[int, int, int]:
        """The bin that the k-th falls into, counted from the top; entries above it; entries in it."""
        summed = counts.flip(0).cumsum(0)
        at = int(torch.searchsorted(summed, self.k - above))
        here = int(counts[len(counts) - 1 - at])
        return len(counts) - 1 - at, above + int(summed[at]) - here, here


@dataclass
class Cut:
    """Zeroes all but the largest entries, block after block from the first; equal ones: lowest index first.

    Args:
        bits: the k-th magnitude as an integer.
        left: entries of just this magnitude that may still stay.
        equal: entries of just this magnitude in all.
    """

    bits: int
    left: int
    equal: int

    def __post_init__(self) -> None:
        edges = np.array([max(0, self.bits - 1), self.bits], np.uint32).view(np.float32)
        self.below, self.value = float(edges[0]), float(edges[1])

    def trim(self, delta: Float[Tensor, " n"]) -> None:
        """Trims one block in place."""
        if self.bits == 0:  # the k-th is zero: nothing else is left to drop
            return
        if self.left >= self.equal:
            torch.hardshrink(delta, self.below, out=delta)
            return
        if self.left:
            same = (delta.abs() == self.value).nonzero()[:, 0]
            delta[same[self.left :]] = 0
            self.left = max(0, self.left - len(same))
            torch.hardshrink(delta, self.below, out=delta)
        else:
            torch.hardshrink(delta, self.value, out=delta)


class Chance:
    """Keeps each entry with the given chance; which ones depends on seed, model, tensor and index only.

    Three rounds of multiply and shift over the index of each pair of entries, keyed before each (the form of
    murmur3's and lowbias32's finalisers), so any chunk may be drawn on its own and in any order. Either half
    of the 32 bits is one entry's draw.

    Args:
        density: the chance, above 0 and up to 1; in steps of 1 / 32,768.
        model: what tells the model from others: its fingerprint.
        tensor: the tensor's family-independent name.
        seed: of the whole merge.

    Attributes:
        density: the chance that is drawn.
    """

    def __init__(self, density: float, model: str, tensor: str, *, seed: int) -> None:
        bar = max(1, round(density * STEPS))
        self.density, self.bar = bar / STEPS, np.int16(min(bar, STEPS - 1))
        self.key = hashlib.blake2b(f"{seed}\0{model}\0{tensor}".encode(), digest_size=32).digest()
        self.index = np.arange(BLOCK // 2 + 1, dtype=np.uint32)
        self.x, self.y = np.empty(BLOCK // 2 + 1, np.uint32), np.empty(BLOCK // 2 + 1, np.uint32)
        self.mask = torch.empty(BLOCK, dtype=torch.int32)

    def drop(self, delta: Float[Tensor, " n"], start: int) -> None:
        """Zeroes the entries of a block that are not kept; `start`, an even number, is its first's index."""
        if self.density == 1:
            return
        bits, n = delta.view(torch.int32), len(delta)
        torch.bitwise_and(bits, self.mask[:n].copy_(torch.from_numpy(self.draw(start, n))), out=bits)

    def draw(self, start: int, n: int) -> Int16[np.ndarray, " n"]:
        """All bits set with the chance of staying, else none; the buffer is used again."""
        pairs = (n + 1) // 2
        x, y = self.x[:pairs], self.y[:pairs]
        high, low = divmod(start // 2, 1 << 32)
        np.add(self.index[:pairs], np.uint32(low), out=x)
        for key, multiplier, shift in zip(self._keys(high), MULTIPLIERS, (15, 16, 15), strict=True):
            np.bitwise_xor(x, key, out=x)
            np.multiply(x, multiplier, out=x)
            np.right_shift(x, np.uint32(shift), out=y)
            np.bitwise_xor(x, y, out=x)
        halves = x.view(np.uint16)
        np.right_shift(halves, np.uint16(1), out=halves)
        signed = halves.view(np.int16)
        np.subtract(signed, self.bar, out=signed)
        np.right_shift(signed, np.int16(15), out=signed)
        return signed[:n]

    def _keys(self, high: int) -> Iterator[np.uint32]:
        key = (
            self.key
            if not high
            else hashlib.blake2b(self.key + high.to_bytes(8, "little"), digest_size=32).digest()
        )
        return (np.uint32(word) for word in np.frombuffer(key, np.dtype("<u4"))[:3])
