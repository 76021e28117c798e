"""Encoders of pictures and frames."""

import pytest
import torch

from polymodal.nn import ImageTransformer, Patches
from polymodal.testing import check_encoder


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 16, 12)])
def test_contracts(shape: tuple[int, int, int]) -> None:
    check_encoder(lambda: Patches(shape, 8), t=3)
    check_encoder(lambda: ImageTransformer(shape, 8, patch=4, depth=1, heads=2), t=3)


def test_regions_and_widths() -> None:
    whole = torch.ones(2, 3, dtype=torch.bool)
    patches = Patches((3, 32, 32), 16, grid=4)
    assert patches.width == 3 * 32 * 32
    assert patches(torch.randn(2, 3, patches.width), whole).tokens.shape == (2, 3 * 16, 16)
    vision = ImageTransformer((3, 32, 32), 16, patch=8, depth=1)
    assert vision(torch.randn(2, 3, vision.width), whole).tokens.shape == (2, 3 * 16, 16)


def test_place_matters() -> None:
    """A picture and its mirror image are told apart."""
    x = torch.rand(1, 1, 8, 8)
    there = torch.ones(1, 1, dtype=torch.bool)
    for encoder in (Patches((1, 8, 8), 8).eval(), ImageTransformer((1, 8, 8), 8, heads=2).eval()):
        a = encoder(x.reshape(1, 1, 64), there).vector
        b = encoder(x.flip(3).reshape(1, 1, 64), there).vector
        assert (a - b).abs().max() > 1e-4


def test_patches_must_tile() -> None:
    with pytest.raises(ValueError, match="patches of 4 do not tile 10 by 8 pixels"):
        ImageTransformer((1, 10, 8), 8, patch=4)
