"""Fusions of encoded parts: concatenation, weights, gates, cross-attention, late votes."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from polymodal.nn.attention import Attention
from polymodal.nn.encoders import Encoded, keep, mean, stack
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
        ValueError: `absent` is not in [0, 1), or torch cannot keep a part of that name.
    """

    dim: int
    spec: Spec
    zero: Tensor

    def __init__(self, dims: Mapping[str, int], absent: float = 0.0) -> None:
        super().__init__()
        if not 0.0 <= absent < 1.0:
            raise ValueError(f"absent is a probability in [0, 1), not {absent}")
        for name in dims:
            if "." in name or hasattr(nn.ModuleDict(), name):
                raise ValueError(f"{name!r} cannot name a part")
        self.dims = dict(dims)
        self.names = tuple(dims)
        self.absent = absent
        self.register_buffer("zero", torch.zeros(()), persistent=False)

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
        out = {}
        for i, (name, dim) in enumerate(self.dims.items()):
            zeros = self.zero.expand(present.shape[0], dim)
            known = name in encoded
            out[name] = torch.where(present[:, i, None], encoded[name].vector, zeros) if known else zeros
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
        filled = []
        for i, name in enumerate(self.names):
            absent = self.stand_ins[name]
            given = encoded[name].vector if name in encoded else absent.expand(len(present), -1)
            filled.append(torch.where(present[:, i, None], given, absent))
        vector: Tensor = self.layers(torch.cat(filled, 1))
        return single(vector, even(present, vector.dtype))


def shares(scores: Float[Tensor, "b m *d"], present: Bool[Tensor, "b m"]) -> Float[Tensor, "b m *d"]:
    """Softmax of scores over the present parts; zeros where no part is."""
    here = present.reshape(*present.shape, *(1,) * (scores.ndim - 2))
    return scores.masked_fill(~here, torch.finfo(scores.dtype).min).softmax(1) * here


@member
class Weighted(Fusion):
    """Σ_m α_m V_m h_m, with α the softmax, over present parts, of one learned score a part.

    With `by="input"` a score is read off the part itself, α_m ∝ exp(w_m · h_m + c_m).

    Raises:
        ValueError: `by` is neither "part" nor "input".
    """

    def __init__(self, dims: Mapping[str, int], dim: int = 32, by: str = "part", absent: float = 0.0) -> None:
        super().__init__(dims, absent)
        if by not in ("part", "input"):
            raise ValueError(f"weights are by part or by input, not by {by!r}")
        self.dim = dim
        self.values = nn.ModuleDict({name: nn.Linear(d, dim) for name, d in dims.items()})
        self.prior = nn.Parameter(torch.zeros(len(dims)))
        readers = {name: nn.Linear(d, 1, bias=False) for name, d in dims.items()} if by == "input" else {}
        self.readers = nn.ModuleDict(readers)

    def fuse(self, encoded: Mapping[str, Encoded], present: Bool[Tensor, "b m"]) -> Fused:
        """Weighs linear values of the parts."""
        vectors = self.vectors(encoded, present)
        scores = self.prior.expand(present.shape)
        if len(self.readers):
            scores = scores + torch.cat([self.readers[name](vectors[name]) for name in self.names], 1)
        weights = shares(scores, present)
        values = torch.stack([self.values[name](vectors[name]) for name in self.names], 1)
        return single((weights[..., None] * values).sum(1), weights)


@member
class Gated(Fusion):
    """Σ_m α_m ⊙ tanh(V_m h_m), with α "m d" a softmax over present parts that sees all of them.

    The gated multimodal unit (Arevalo et al. 2017, equations 1 and 2) for any number of parts, one gate a
    column; `weights` are the gates' means over columns.
    """

    def __init__(self, dims: Mapping[str, int], dim: int = 32, absent: float = 0.0) -> None:
        super().__init__(dims, absent)
        self.dim = dim
        self.values = nn.ModuleDict({name: nn.Linear(d, dim) for name, d in dims.items()})
        self.gate = nn.Linear(sum(dims.values()), len(dims) * dim)

    def fuse(self, encoded: Mapping[str, Encoded], present: Bool[Tensor, "b m"]) -> Fused:
        """Gates each column of each part."""
        vectors = self.vectors(encoded, present)
        scores = self.gate(torch.cat([vectors[name] for name in self.names], 1))
        gates = shares(scores.unflatten(1, (len(self.names), self.dim)), present)
        values = torch.stack([self.values[name](vectors[name]).tanh() for name in self.names], 1)
        return single((gates * values).sum(1), gates.mean(2))


@member
class MixtureGate(Fusion):
    """Mixture of experts (Jacobs et al. 1991), one a part: Σ_m g_m(all parts) · Drop(ReLU(V_m h_m)).

    The gate has one hidden layer, so that which expert counts may depend on the parts together.
    """

    def __init__(
        self, dims: Mapping[str, int], dim: int = 32, dropout: float = 0.3, absent: float = 0.0
    ) -> None:
        super().__init__(dims, absent)
        self.dim = dim
        self.experts = nn.ModuleDict({name: stack(d, dim, 1, dropout) for name, d in dims.items()})
        self.gate = nn.Sequential(nn.Linear(sum(dims.values()), dim), nn.ReLU(), nn.Linear(dim, len(dims)))

    def fuse(self, encoded: Mapping[str, Encoded], present: Bool[Tensor, "b m"]) -> Fused:
        """Weighs the experts of the present parts."""
        vectors = self.vectors(encoded, present)
        weights = shares(self.gate(torch.cat([vectors[name] for name in self.names], 1)), present)
        values = torch.stack([self.experts[name](vectors[name]) for name in self.names], 1)
        return single((weights[..., None] * values).sum(1), weights)


@member
class Late(Fusion):
    """Each part votes alone, V_m h_m + b_m; votes are averaged with learned weights over present parts.

    Under a linear head this is the weighted mean of the parts' own logits. `stacked` learns a linear layer
    over all votes and who is present instead (Wolpert 1992).
    """

    def __init__(
        self, dims: Mapping[str, int], dim: int = 32, stacked: bool = False, absent: float = 0.0
    ) -> None:
        super().__init__(dims, absent)
        self.dim = dim
        self.votes = nn.ModuleDict({name: nn.Linear(d, dim) for name, d in dims.items()})
        self.prior = nn.Parameter(torch.zeros(len(dims)))
        self.stacker = nn.Linear(len(dims) * (dim + 1), dim) if stacked else None

    def fuse(self, encoded: Mapping[str, Encoded], present: Bool[Tensor, "b m"]) -> Fused:
        """Counts the votes."""
        vectors = self.vectors(encoded, present)
        votes = torch.stack([self.votes[name](vectors[name]) for name in self.names], 1)
        if self.stacker is None:
            weights = shares(self.prior.expand(present.shape), present)
            return single((weights[..., None] * votes).sum(1), weights)
        here = present[..., None].to(votes.dtype)
        vector = self.stacker(torch.cat([votes * here, here], 2).flatten(1))
        return single(vector, even(present, vector.dtype))


@member
class CrossAttention(Fusion):
    """The anchor's tokens ask, the other parts' tokens answer: LN(q + Σ_m g_m a_m), feed-forward, LN.

    The gate g_m = σ(w [q; a_m]), one a token, is 0 for an absent part and 1 with `gate=False`. An
    absent anchor is one learned token. The vector is the mean over the anchor's tokens; `weights` are the
    anchor's 1 and the mean gates of the others, made to sum to 1.

    Raises:
        ValueError: the anchor is none of the parts.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        anchor: str,
        dim: int = 32,
        heads: int = 4,
        gate: bool = True,
        dropout: float = 0.3,
        absent: float = 0.0,
    ) -> None:
        super().__init__(dims, absent)
        if anchor not in dims:
            raise ValueError(f"anchor {anchor!r} is none of the parts {', '.join(dims)}")
        self.dim, self.anchor = dim, anchor
        others = [name for name in dims if name != anchor]
        self.project = nn.ModuleDict({name: nn.Linear(d, dim) for name, d in dims.items()})
        self.attend = nn.ModuleDict({name: Attention(dim, heads) for name in others})
        self.gates = nn.ModuleDict({name: nn.Linear(2 * dim, 1) for name in others if gate})
        self.start = nn.Parameter(torch.randn(dim) * 0.02)
        self.between, self.after = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.feed = nn.Sequential(stack(dim, 2 * dim, 1, dropout), nn.Linear(2 * dim, dim))

    def fuse(self, encoded: Mapping[str, Encoded], present: Bool[Tensor, "b m"]) -> Fused:
        """Attends from the anchor to every other part."""
        query, mask = self._query(encoded, present)
        x, weights = query, []
        for i, name in enumerate(self.names):
            here = present[:, i]
            if name == self.anchor or name not in encoded:
                weights.append(here.to(x.dtype))
                continue
            asked = encoded[name].mask & here[:, None]
            answer = self.attend[name](query, self.project[name](keep(encoded[name].tokens, asked)), asked)
            gate = torch.ones_like(answer[..., :1])
            if name in self.gates:
                gate = self.gates[name](torch.cat([query, answer], 2)).sigmoid()
            gate = gate * here[:, None, None]
            x = x + gate * answer
            weights.append(mean(gate, mask)[:, 0])
        x = self.between(x)
        tokens = keep(self.after(x + self.feed(x)), mask)
        raw = torch.stack(weights, 1)
        total = raw.sum(1, keepdim=True).clamp(min=torch.finfo(x.dtype).tiny)
        return Fused(mean(tokens, mask), tokens, mask, raw / total)

    def _query(
        self, encoded: Mapping[str, Encoded], present: Bool[Tensor, "b m"]
    ) -> tuple[Float[Tensor, "b t d"], Bool[Tensor, "b t"]]:
        """The anchor's tokens, with the learned one in front place where it is absent."""
        if self.anchor not in encoded:
            lone = torch.ones(present.shape[0], 1, dtype=torch.bool, device=present.device)
            return self.start.expand(present.shape[0], 1, -1), lone
        here = present[:, self.names.index(self.anchor), None]
        part = encoded[self.anchor]
        mask = part.mask & here
        query = keep(self.project[self.anchor](keep(part.tokens, mask)), mask)
        first = torch.arange(mask.shape[1], device=mask.device) == 0
        lone = first & ~here
        return torch.where(lone[..., None], self.start, query), mask | lone
