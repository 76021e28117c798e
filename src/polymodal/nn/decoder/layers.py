"""The layers of a Llama: RMS norm, rotated attention with a cache, gated feed-forward."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class Shape:
    """How large a decoder is.

    Attributes:
        dim: width of the residual stream.
        layers: how many.
        heads: of `dim / heads` columns each, an even number.
        hidden: width of the gated feed-forward.
        vocabulary: tokens known.
        context: tokens of prompt and reply together, at most.
        eps: of the norms.
        theta: base of the rotation's wave lengths.

    Raises:
        ValueError: heads that do not share the width evenly.
    """

    dim: int = 160
    layers: int = 6
    heads: int = 5
    hidden: int = 432
    vocabulary: int = 512
    context: int = 192
    eps: float = 1e-6
    theta: float = 10_000.0

    def __post_init__(self) -> None:
        if self.dim % (2 * self.heads):
            raise ValueError(
                f"{self.heads} heads cannot share a width of {self.dim}: it is a multiple of 2 x heads"
            )


class Cache:
    """Keys and values of all tokens so far, one slab a layer, and which of them are real.

    Args:
        shape: of the decoder.
        rows: sequences that go on together.
        room: tokens that fit.
        like: a tensor of the dtype and device to keep them in.
    """

    def __init__(self, shape: Shape, rows: int, room: int, like: Tensor) -> None:
        slab = (2, rows, shape.heads, room, shape.dim // shape.heads)
        self.slabs = [like.new_empty(slab) for _ in range(shape.layers)]
        self.real = torch.ones(rows, room, dtype=torch.bool, device=like.device)
        self.n = 0

    def add(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Writes the new tokens' keys and values "b heads t d" of a layer; gives those of all tokens."""
        slab, end = self.slabs[layer], self.n + keys.shape[2]
        slab[0, :, :, self.n : end], slab[1, :, :, self.n : end] = keys, values
        return slab[0, :, :, :end], slab[1, :, :, :end]

    def pick(self, rows: Int[Tensor, " r"]) -> Cache:
        """A cache of these rows, in this order, each as often as it is named."""
        picked = object.__new__(Cache)
        picked.slabs = [slab[:, rows] for slab in self.slabs]
        picked.real, picked.n = self.real[rows], self.n
        return picked


class Norm(nn.Module):
    """x / sqrt(mean(x²) + eps), times a weight a column."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(dim)), eps

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        """Normed rows."""
        return functional.rms_norm(x, self.weight.shape, self.weight, self.eps)


class Attention(nn.Module):
    """Causal attention among tokens; where they stand turns queries and keys (RoPE, half by half)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (
            nn.Linear(shape.dim, shape.dim, bias=False) for _ in range(4)
        )

    def forward(
        self,
        x: Float[Tensor, "b t d"],
        turn: Float[Tensor, "2 t e"],
        allowed: Bool[Tensor, "b 1 t n"] | None,
        cache: Cache | None,
        layer: int,
    ) -> Float[Tensor, "b t d"]:
        """One round; without `allowed` every token sees itself and those before it."""
        q, k, v = (
            part(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k = turned(q, turn), turned(k, turn)
        if cache is not None:
            k, v = cache.add(layer, k, v)
        causal = allowed is None and q.shape[2] > 1
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=allowed, is_causal=causal)
        out: Tensor = self.o_proj(mixed.transpose(1, 2).flatten(2))
        return out


class Feed(nn.Module):
    """SwiGLU: down(silu(gate(x)) · up(x))."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.gate_proj, self.up_proj = (nn.Linear(dim, hidden, bias=False) for _ in range(2))
        self.down_proj = nn.Linear(hidden, dim, bias=False)

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        """Each token by itself."""
        out: Tensor = self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


class Layer(nn.Module):
    """x + attention, then x + feed-forward, each behind its norm."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.self_attn, self.mlp = Attention(shape), Feed(shape.dim, shape.hidden)
        self.input_layernorm, self.post_attention_layernorm = (Norm(shape.dim, shape.eps) for _ in range(2))

    def forward(
        self,
        x: Float[Tensor, "b t d"],
        turn: Float[Tensor, "2 t e"],
        allowed: Bool[Tensor, "b 1 t n"] | None,
        cache: Cache | None,
        layer: int,
    ) -> Float[Tensor, "b t d"]:
        """The stream after this layer."""
        x = x + self.self_attn(self.input_layernorm(x), turn, allowed, cache, layer)
        out: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return out


class Stack(nn.Module):
    """Embedding, layers and last norm, under the names of transformers' LlamaModel."""

    turns: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Embedding(shape.vocabulary, shape.dim)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = Norm(shape.dim, shape.eps)
        self.register_buffer("turns", turns(shape), persistent=False)

    def forward(
        self,
        x: Float[Tensor, "b t d"],
        mask: Bool[Tensor, "b t"] | None = None,
        cache: Cache | None = None,
    ) -> Float[Tensor, "b t d"]:
        """Normed states of the last layer.

        Places are counted from the row's start, padding included: only distances matter to the rotation.

        Raises:
            ValueError: more tokens than the context holds.
        """
        start = 0 if cache is None else cache.n
        end = start + x.shape[1]
        if end > self.shape.context:
            raise ValueError(f"{end} tokens, but the context holds {self.shape.context}: shorten the text")
        if cache is not None and mask is not None:
            cache.real[:, start:end] = mask
        real = mask if cache is None else cache.real[:, :end]
        allowed = None  # the quickest way, where every token may see all before it
        if (start and x.shape[1] > 1) or (real is not None and not real.all()):
            allowed = _allowed(real, x.shape[0], start, end, x.device)
        turn = self.turns[:, start:end]
        for i, layer in enumerate(self.layers):
            x = layer(x, turn, allowed, cache, i)
        if cache is not None:
            cache.n = end
        out: Tensor = self.norm(x)
        return out


def turns(shape: Shape) -> Float[Tensor, "2 t e"]:
    """Cosines and sines of each place's rotation; column i and i + e/2 turn together."""
    width = shape.dim // shape.heads
    speed = shape.theta ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angle = torch.arange(shape.context, dtype=torch.float64)[:, None] * speed
    angle = torch.cat([angle, angle], 1)
    return torch.stack([angle.cos(), angle.sin()]).float()


def turned(x: Float[Tensor, "b h t e"], turn: Float[Tensor, "2 t e"]) -> Float[Tensor, "b h t e"]:
    """Rotated heads."""
    left, right = x.chunk(2, -1)
    cos, sin = turn.to(x.dtype)
    out: Tensor = x * cos + torch.cat([-right, left], -1) * sin
    return out


def _allowed(
    real: Bool[Tensor, "b n"] | None, rows: int, start: int, end: int, device: torch.device
) -> Bool[Tensor, "b 1 t n"]:
    """Which tokens see which: those before them that are real, and always themselves."""
    here = torch.arange(start, end, device=device)[:, None]
    there = torch.arange(end, device=device)
    before = (there < here)[None].expand(rows, -1, -1)
    if real is not None:
        before = before & real[:, None]
    return (before | (there == here))[:, None]
