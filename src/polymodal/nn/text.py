"""Text from scratch: hashed n-grams as a vector, and a transformer that reads bytes."""

import unicodedata
import zlib
from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from polymodal.nn.attention import Block
from polymodal.nn.encoders import Encoded, Encoder, pooled
from polymodal.nn.members import member


def ngrams(
    text: str, dim: int = 1024, chars: tuple[int, int] = (2, 4), words: tuple[int, int] = (1, 2)
) -> Float[np.ndarray, " d"]:
    """Counts of character and word n-grams, hashed with sign to `dim` columns, log-damped, of unit length.

    Feature hashing (Weinberger et al. 2009): inner products are right on average whatever collides.
    Characters are counted within words with a space at either end; text is case-folded and NFKC first.
    """
    counts: dict[str, int] = {}
    for gram in _grams(text, chars, words):
        counts[gram] = counts.get(gram, 0) + 1
    out = np.zeros(dim, np.float64)
    for gram, n in counts.items():
        code = zlib.crc32(gram.encode())
        out[(code >> 1) % dim] += np.log1p(n) if code & 1 else -np.log1p(n)
    length = float(np.linalg.norm(out))
    return (out / length if length else out).astype(np.float32)


def _grams(text: str, chars: tuple[int, int], words: tuple[int, int]) -> Iterator[str]:
    """Every n-gram, marked by kind so that a word and the same characters differ."""
    tokens = unicodedata.normalize("NFKC", text).casefold().split()
    for n in range(words[0], words[1] + 1):
        yield from ("w" + " ".join(tokens[i : i + n]) for i in range(len(tokens) - n + 1))
    for token in tokens:
        padded = f" {token} "
        for n in range(chars[0], chars[1] + 1):
            yield from ("c" + padded[i : i + n] for i in range(len(padded) - n + 1))


def letters(text: str, limit: int = 512) -> Int[np.ndarray, " t"]:
    """The first `limit` UTF-8 bytes of a text, each plus one: what `Letters` reads (0 is padding)."""
    return np.frombuffer(text.encode()[:limit], np.uint8).astype(np.int64) + 1


@member
class Letters(Encoder):
    """Byte-level transformer: embedded bytes, learned places, pre-norm blocks, masked mean.

    Reads ids from `letters`, "b t" or as one column "b t 1"; what is longer than `limit` is cut.
    """

    def __init__(
        self, dim: int = 64, depth: int = 2, heads: int = 4, limit: int = 512, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.width, self.dim, self.limit = 1, dim, limit
        self.embed = nn.Embedding(257, dim)
        self.place = nn.Parameter(torch.randn(limit, dim) * 0.02)
        self.blocks = nn.ModuleList(Block(dim, heads, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Shaped[Tensor, "b t *_"], mask: Bool[Tensor, "b t"]) -> Encoded:
        """Encodes the bytes the mask keeps."""
        x, mask = x[:, : self.limit], mask[:, : self.limit]
        ids = torch.where(mask, x.reshape(mask.shape), 0).long().clamp(0, 256)
        tokens = self.embed(ids) + self.place[: ids.shape[1]]
        for block in self.blocks:
            tokens = block(tokens, mask)
        return pooled(self.norm(tokens), mask)
