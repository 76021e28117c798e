"""Encoders of pictures and frames from scratch: convolved patches, a small transformer."""

from collections.abc import Sequence
from math import prod

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from polymodal.nn.attention import Block
from polymodal.nn.encoders import Encoded, Encoder, keep, mean
from polymodal.nn.members import member


@member
class Patches(Encoder):
    """Two strided convolutions, pooled to grid × grid regions a frame, each marked with its place.

    Input rows are flattened frames "b t (c h w)"; a picture is t = 1. Tokens are "b (t n) d"; the vector is
    one linear layer over a frame's regions side by side, averaged over real frames.
    """

    def __init__(self, shape: Sequence[int], dim: int, grid: int = 2, dropout: float = 0.3) -> None:
        super().__init__()
        self.shape, self.width, self.dim = tuple(shape), prod(shape), dim
        self.convolve = nn.Sequential(
            nn.Conv2d(self.shape[0], dim // 2, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(dim // 2, dim, 3, 2, 1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(grid),
        )
        self.place = nn.Parameter(torch.randn(grid**2, dim) * 0.02)
        self.whole = nn.Sequential(nn.Linear(grid**2 * dim, dim), nn.ReLU(), nn.Dropout(dropout))

    def forward(self, x: Float[Tensor, "b t _"], mask: Bool[Tensor, "b t"]) -> Encoded:
        """Encodes each frame alone."""
        frames = keep(x, mask).reshape(-1, *self.shape)
        regions = self.convolve(frames).flatten(2).transpose(1, 2) + self.place
        vector = mean(self.whole(regions.flatten(1)).reshape(*mask.shape, self.dim), mask)
        return _by_frame(regions, mask, vector)


@member
class ImageTransformer(Encoder):
    """Vision transformer (Dosovitskiy et al. 2021): linear patches, learned places, pre-norm blocks.

    Input rows are flattened frames "b t (c h w)"; attention stays within a frame. Tokens are "b (t n) d";
    the vector is their mean over real frames.

    Raises:
        ValueError: the patch does not divide height and width.
    """

    def __init__(
        self,
        shape: Sequence[int],
        dim: int = 64,
        patch: int = 4,
        depth: int = 2,
        heads: int = 4,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        c, h, w = shape
        if h % patch or w % patch:
            raise ValueError(f"patches of {patch} do not tile {h} by {w} pixels")
        self.shape, self.width, self.dim = (c, h, w), c * h * w, dim
        self.embed = nn.Conv2d(c, dim, patch, patch)
        self.place = nn.Parameter(torch.randn((h // patch) * (w // patch), dim) * 0.02)
        self.blocks = nn.ModuleList(Block(dim, heads, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Float[Tensor, "b t _"], mask: Bool[Tensor, "b t"]) -> Encoded:
        """Encodes each frame alone."""
        frames = keep(x, mask).reshape(-1, *self.shape)
        regions = self.embed(frames).flatten(2).transpose(1, 2) + self.place
        real = mask.flatten()[:, None].expand(regions.shape[:2])
        for block in self.blocks:
            regions = block(regions, real)
        regions = self.norm(regions)
        return _by_frame(regions, mask, mean(regions.mean(1).reshape(*mask.shape, self.dim), mask))


def _by_frame(
    regions: Float[Tensor, "_ n d"], mask: Bool[Tensor, "b t"], vector: Float[Tensor, "b d"]
) -> Encoded:
    n = regions.shape[1]
    tokens = regions.reshape(mask.shape[0], -1, regions.shape[2])
    mask = mask.repeat_interleave(n, dim=1)
    return Encoded(keep(tokens, mask), mask, vector)
