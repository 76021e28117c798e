"""Masked attention and the transformer block that text, pictures and fusion share."""

from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from polymodal.nn.encoders import keep


class Attention(nn.Module):
    """softmax(Q Kᵀ / √d) V over the keys the mask keeps (Vaswani et al. 2017); zero where it keeps none.

    Raises:
        ValueError: `heads` does not divide `dim`.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"{heads} heads do not divide {dim} columns")
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(dim, dim) for _ in range(4))

    def forward(
        self, query: Float[Tensor, "b q d"], keys: Float[Tensor, "b t d"], mask: Bool[Tensor, "b t"]
    ) -> Float[Tensor, "b q d"]:
        """Each query's mixture of the keys' values; `keys` must be clean (zero) where masked."""
        some = mask.any(1)
        allowed = (mask | ~some[:, None])[:, None, None, :]
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer, x in ((self.query, query), (self.key, keys), (self.value, keys))
        )
        mixed: Tensor = functional.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return keep(out, some[:, None].expand(-1, query.shape[1]))


class Block(nn.Module):
    """Pre-norm transformer block: x + attention, then x + feed-forward of four times the width."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = Attention(dim, heads)
        self.feed = nn.Sequential(
            nn.Linear(dim, 4 * dim), nn.GELU(), nn.Dropout(dropout), nn.Linear(4 * dim, dim)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "b t d"], mask: Bool[Tensor, "b t"]) -> Float[Tensor, "b t d"]:
        """One round of self-attention among the tokens the mask keeps."""
        y = keep(self.before(x), mask)
        x = x + self.dropout(self.attention(y, y, mask))
        out: Tensor = x + self.dropout(self.feed(self.between(x)))
        return out
