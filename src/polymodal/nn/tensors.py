"""Tensor fusions: the outer product of all parts, whole or by low-rank factors."""

from collections.abc import Mapping
from math import prod

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from polymodal.nn.encoders import Encoded, stack
from polymodal.nn.fusion import Fused, Fusion, even, single
from polymodal.nn.members import member


def led(vector: Float[Tensor, "b d"]) -> Float[Tensor, "b _"]:
    """[1; h]: the constant keeps the lower-order products, and all the others' when h is absent."""
    return torch.cat([torch.ones_like(vector[:, :1]), vector], 1)


@member
class Outer(Fusion):
    """Tensor fusion, z = [1; h_1] ⊗ … ⊗ [1; h_m] (Zadeh et al. 2017, equation 3), then a dense head.

    An absent part is zeros behind its constant 1. `dense=False` gives z itself, Π(d_m + 1) columns.
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
        width = prod(d + 1 for d in dims.values())
        self.layers = stack(width, dim, layers, dropout) if dense else nn.Sequential()
        self.dim = dim if dense else width

    def fuse(self, encoded: Mapping[str, Encoded], present: Bool[Tensor, "b m"]) -> Fused:
        """Multiplies the parts out, the first varying slowest."""
        vectors = self.vectors(encoded, present)
        z = led(vectors[self.names[0]])
        for name in self.names[1:]:
            z = torch.einsum("bi,bj->bij", z, led(vectors[name])).flatten(1)
        vector: Tensor = self.layers(z)
        return single(vector, even(present, vector.dtype))


@member
class LowRank(Fusion):
    """Low-rank tensor fusion, y = Σ_{r ≤ R} w_r Π_m ([1; h_m] · F_m^r) + b (Liu et al. 2018, equation 8).

    Equal to `Outer(dense=False)` under a linear layer when the rank suffices, at a cost linear in the parts.
    """

    def __init__(self, dims: Mapping[str, int], dim: int = 32, rank: int = 4, absent: float = 0.0) -> None:
        super().__init__(dims, absent)
        self.dim, self.rank = dim, rank
        factors = {name: nn.Parameter(_factor(rank, d, dim)) for name, d in dims.items()}
        self.factors = nn.ParameterDict(factors)
        self.weight = nn.Parameter(torch.randn(rank) / float(rank**0.5))
        self.bias = nn.Parameter(torch.zeros(dim))

    def fuse(self, encoded: Mapping[str, Encoded], present: Bool[Tensor, "b m"]) -> Fused:
        """Multiplies factor by factor, never building the tensor."""
        vectors = self.vectors(encoded, present)
        product = self.zero + 1
        for name in self.names:
            product = product * torch.einsum("bi,rik->rbk", led(vectors[name]), self.factors[name])
        vector = torch.einsum("r,rbk->bk", self.weight, product) + self.bias
        return single(vector, even(present, vector.dtype))


def _factor(rank: int, d: int, dim: int) -> Float[Tensor, "r i k"]:
    """Starts each product near 1 plus small terms, so that every order of interaction has a gradient."""
    factor: Tensor = torch.randn(rank, d + 1, dim) / float((d + 1) ** 0.5)
    factor[:, 0] = 1.0
    return factor
