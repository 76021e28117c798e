"""A recipe applied to one tensor, block after block, wherever its values come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from polymodal.nn.weights.families import LAYER
from polymodal.nn.weights.recipe import BASED, Recipe
from polymodal.nn.weights.rules import arc, elected, straight, summed, weighted
from polymodal.nn.weights.sparse import BLOCK, Chance, Cut, Largest

Block = Float[Tensor, " n"]


@runtime_checkable
class Readable(Protocol):
    """Values of one tensor in order."""

    def read(self, start: int, stop: int) -> Block:
        """Values `start` to `stop` in fp32; not to be changed, good until the next call."""
        ...


class Mixer:
    """Applies the rule to blocks of one tensor, from the first to the last.

    Args:
        recipe: method, density, seed.
        key: the tensor's name in any family.
        weights: of the target and each donor.
        size: number of values.
        models: target and donors.
        base: what deltas are taken from, None where the method reads none.
        names: what tells each model from the others, for the masks of dare.
    """

    def __init__(
        self,
        recipe: Recipe,
        key: str,
        weights: Sequence[float],
        size: int,
        models: Sequence[Readable],
        base: Readable | None,
        names: Sequence[str],
    ) -> None:
        self.recipe, self.weights, self.size = recipe, tuple(weights), size
        self.models, self.base = models, base
        room = min(BLOCK, size)
        self.out, *self.spare = (torch.empty(room) for _ in range(4))
        self.deltas = [torch.empty(room) for _ in models] if recipe.sparse else []
        self.cuts: list[Cut] = []
        self.chances: list[Chance] = []
        self.arc: tuple[float, float] | None = None
        if recipe.method.startswith("dare"):
            self.chances = [Chance(recipe.density, name, key, seed=recipe.seed) for name in names]
            self.weights = tuple(weight / self.chances[0].density for weight in weights)
        elif recipe.sparse and recipe.density < 1:
            self.cuts = self._cuts()
        elif recipe.method == "slerp":
            self.arc = self._arc()

    @property
    def line(self) -> float | None:
        """The donor's weight, where the rule is a straight line between two models."""
        return None if self.arc or self.recipe.sparse or self.base is not None else straight(self.weights)

    def mix(self, start: int, stop: int) -> Block:
        """The merged values `start` to `stop`, in a buffer that the next call uses again."""
        out, (spare, *more) = self.out[: stop - start], [room[: stop - start] for room in self.spare]
        if self.recipe.sparse:
            return self._sparse(start, stop, out, [spare, *more])
        models = [model.read(start, stop) for model in self.models]
        if self.arc:
            return summed(models, self.arc, out)
        base = None if self.base is None else self.base.read(start, stop)
        return weighted(models, base, self.weights, out, spare)

    def _sparse(self, start: int, stop: int, out: Block, spare: list[Block]) -> Block:
        deltas, base = self._read(start, stop)
        for i, delta in enumerate(deltas):
            if self.chances:
                if not bounded(delta):  # one that is dropped would not be seen in the result
                    return delta
                self.chances[i].drop(delta, start)
            elif self.cuts:
                self.cuts[i].trim(delta)
        if self.recipe.method == "dare_linear":
            summed(deltas, self.weights, out)
        else:
            by = "weight" if self.recipe.method == "ties_weight" else "count"
            elected(deltas, self.weights, by, out, *spare)
        return out.add_(base)

    def _read(self, start: int, stop: int) -> tuple[list[Block], Block]:
        """Deltas of the target and each donor, and the base."""
        if self.base is None:
            raise ValueError(f"{self.recipe.method} needs a base")
        base, made = self.base.read(start, stop), []
        for model, room in zip(self.models, self.deltas, strict=True):
            made.append(torch.sub(model.read(start, stop), base, out=room[: stop - start]))
        return made, base

    def _cuts(self) -> list[Cut]:
        k = int(self.recipe.density * self.size)
        if k == 0:
            return [Cut(np.float32(np.inf).view(np.uint32).item(), 0, 1) for _ in self.models]
        found = [Largest(k) for _ in self.models]
        bits = torch.empty(min(BLOCK, self.size), dtype=torch.int32)
        for narrowed in (False, True):
            for start, stop in blocks(0, self.size):
                for largest, delta in zip(found, self._read(start, stop)[0], strict=True):
                    largest.add(delta, bits[: stop - start])
            if not narrowed:
                for largest in found:
                    largest.narrow()
        return [largest.cut() for largest in found]

    def _arc(self) -> tuple[float, float] | None:
        """One pass of sums: blocks in fp32, over them in fp64; they depend on no chunk and no thread."""
        sums = np.zeros(3)
        for start, stop in blocks(0, self.size):
            a, b = (model.read(start, stop) for model in self.models)
            sums += [float(torch.dot(x, y)) for x, y in ((a, b), (a, a), (b, b))]
        if not np.isfinite(sums).all():
            return None  # the pass of writing finds and names it
        dot, own, other = sums.tolist()
        return arc(dot, own, other, 1 - self.weights[0])


def blocks(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Ranges of at most BLOCK values."""
    for at in range(start, stop, BLOCK):
        yield at, min(stop, at + BLOCK)


def bounded(block: Block, most: float = float(np.finfo(np.float32).max)) -> bool:
    """Whether all values are numbers, of at most this magnitude."""
    low, high = torch.aminmax(block)
    return bool(low >= -most) and bool(high <= most)


class Held:
    """A tensor in memory as blocks of fp32."""

    def __init__(self, tensor: Shaped[Tensor, ...]) -> None:
        self.values = tensor.detach().reshape(-1).float()

    def read(self, start: int, stop: int) -> Block:
        """Values `start` to `stop`."""
        return self.values[start:stop]


def blended(
    recipe: Recipe,
    target: Mapping[str, Tensor],
    donors: Sequence[Mapping[str, Tensor]],
    base: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Merges state dicts in memory: what `merged` does to folders, for models that are held anyway.

    Args:
        recipe: how.
        target: its state dict; tensors that a donor lacks, or has in another shape, come back as they are.
        donors: theirs, under the target's names.
        base: its, where the method takes deltas from one.

    Raises:
        ValueError: the recipe does not fit the number of donors, or has no base.
    """
    recipe.warnings(len(donors))
    ground = base if recipe.method in BASED else None
    if recipe.method in BASED and base is None:
        raise ValueError(f"{recipe.method} needs a base")
    others = [*donors, *([ground] if ground is not None else [])]
    layers = {name: int(match["n"]) for name in target if (match := LAYER.fullmatch(name))}
    depth = max(layers.values(), default=0) + 1
    made = dict(target)
    for name, tensor in target.items():
        weights = recipe.weights_of(name, layers.get(name), depth, len(donors))
        fits = all(name in other and other[name].shape == tensor.shape for other in others)
        if not fits or not tensor.is_floating_point() or (weights[0] == 1 and not any(weights[1:])):
            continue
        held = [Held(model[name]) for model in (target, *others)]
        models, under = (held, None) if ground is None else (held[:-1], held[-1])
        names = ("target", *(f"donor {i}" for i in range(len(donors))))
        mixer = Mixer(recipe, name, weights, tensor.numel(), models, under, names)
        whole = [mixer.mix(start, stop).clone() for start, stop in blocks(0, tensor.numel())]
        made[name] = torch.cat(whole).reshape(tensor.shape).to(tensor.dtype) if whole else tensor
    return made
