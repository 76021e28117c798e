"""Fusions of encoded parts: concatenation, weights, gates, cross-attention, late votes."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from polymodal.nn.encoders import Encoded, stack
from polymodal.nn.members import Spec, member


@dataclass(frozen=True, slots=True)
class Fused:
    """Parts made one: a vector and tokens a sample, and what each part weighed (0 where absent, sum 1)."""

    vector: Float[Tensor, "b d"]
    tokens: Float[Tensor, "b t d"]
    mask: Bool[Tensor, "b t"]
    weights: Float[Tensor, "b m"]


class Fusion(nn.Module):
    """Joins encoded parts; `names` (the order of `dims`) is the order of the columns of `present`.

    An absent part is one whose column in `present` is false, whose mask is empty, or which is not given:
    all three come out the same. `absent` is the probability that training drops a part, never all of them.

    Raises:
        ValueError: `absent` is not in [0, 1).
    """

    dim: int
    spec: Spec

    def __init__(self, dims: Mapping[str, int], absent: float = 0.0) -> None:
        super().__init__()
        if not 0.0 <= absent < 1.0:
            raise ValueError(f"absent is a probability in [0, 1), not {absent}")
        self.dims = dict(dims)
        self.names = tuple(dims)
        self.absent = absent

    def forward(self, encoded: Mapping[str, Encoded], present: Bool[Tensor, "b m"]) -> Fused:
        """Joins a batch; drops parts at random while training."""
        present = self.presence(encoded, present)
        return self.fuse(encoded, present)

    def fuse(self, encoded: Mapping[str, Encoded], present: Bool[Tensor, "b m"]) -> Fused:
        """The member's own way to join, given who is really there."""
        raise NotImplementedError

    def presence(self, encoded: Mapping[str, Encoded], present: Bool[Tensor, "b m"]) -> Bool[Tensor, "b m"]:
        """Who is given, has tokens, and survives modality dropout."""
        empty = present.new_zeros(present.shape[0])
        given = [encoded[name].mask.any(1) if name in encoded else empty for name in self.names]
        present = present & torch.stack(given, 1)
        return drop(present, self.absent) if self.training and self.absent else present

    def vectors(self, encoded: Mapping[str, Encoded], present: Bool[Tensor, "b m"]) -> dict[str, Tensor]:
        """Vectors "b d" by part, zeros where absent."""
        weight = next(self.parameters())
        out = {}
        for i, (name, dim) in enumerate(self.dims.items()):
            zero = weight.new_zeros(present.shape[0], dim)
            out[name] = (
                torch.where(present[:, i, None], encoded[name].vector, zero) if name in encoded else zero
            )
        return out


def drop(present: Bool[Tensor, "b m"], p: float) -> Bool[Tensor, "b m"]:
    """Keeps each part with probability 1 − p, redrawing samples that would lose all of theirs."""
    kept = present & (torch.rand(present.shape, device=present.device) >= p)
    while (again := present.any(1) & ~kept.any(1)).any():
        fresh = present & (torch.rand(present.shape, device=present.device) >= p)
        kept = torch.where(again[:, None], fresh, kept)
    return kept


def even(present: Bool[Tensor, "b m"], dtype: torch.dtype) -> Float[Tensor, "b m"]:
    """The same weight for every present part."""
    shares = present.to(dtype)
    return shares / shares.sum(1, keepdim=True).clamp(min=1)


def single(vector: Float[Tensor, "b d"], weights: Float[Tensor, "b m"]) -> Fused:
    """A fused vector as its own only token."""
    mask = torch.ones(vector.shape[0], 1, dtype=torch.bool, device=vector.device)
    return Fused(vector, vector[:, None], mask, weights)


@member
class Concat(Fusion):
    """u = Drop(ReLU(W [h_1; …; h_m] + b)), or the bare concatenation with `dense=False`.

    The dense layer is the method (arXiv 2505.04642): without it a linear head sees a sum of functions of
    one part each, and no such sum can express an exclusive-or. An absent part is a learned vector.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        dim: int = 32,
        dense: bool = True,
        layers: int = 1,
        dropout: float = 0.3,
        absent: float = 0.0,
    ) -> None:
        super().__init__(dims, absent)
        width = sum(dims.values())
        self.stand_ins = nn.ParameterDict({name: nn.Parameter(torch.zeros(d)) for name, d in dims.items()})
        self.layers = stack(width, dim, layers, dropout) if dense else nn.Sequential()
        self.dim = dim if dense else width

    def fuse(self, encoded: Mapping[str, Encoded], present: Bool[Tensor, "b m"]) -> Fused:
        """Concatenates vectors in the order of `names`."""
        vectors = self.vectors(encoded, present)
        filled = [
            torch.where(present[:, i, None], vectors[name], self.stand_ins[name])
            for i, name in enumerate(self.names)
        ]
        vector: Tensor = self.layers(torch.cat(filled, 1))
        return single(vector, even(present, vector.dtype))
