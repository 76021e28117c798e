"""Thresholds without a sort, and masks from a keyed count."""

import numpy as np
import pytest
import torch
from tests.nn.weights.slow import trim

from polymodal.nn.weights.sparse import BLOCK, Chance, Cut, Largest


def cut_of(values: torch.Tensor, k: int, block: int) -> Cut:
    found, bits = Largest(k), torch.empty(block, dtype=torch.int32)
    for narrowed in (False, True):
        for part in values.split(block):
            found.add(part, bits[: len(part)])
        if not narrowed:
            found.narrow()
    return found.cut()


@pytest.mark.parametrize("block", [64, 1000, 100_000])
@pytest.mark.parametrize("kind", ["normal", "coarse", "zeros", "tiny"])
def test_keeps_just_the_largest_lowest_index_first(kind: str, block: int) -> None:
    values = torch.randn(5000)
    if kind == "coarse":
        values = (values * 2).round() / 2
    elif kind == "zeros":
        values[torch.rand(5000) < 0.95] = 0
    elif kind == "tiny":
        values *= 1e-41  # subnormal
    for density in (0.0002, 0.1, 0.5, 0.9, 1.0):
        cut = cut_of(values, int(density * len(values)), block)
        kept = values.clone()
        for part in kept.split(block):
            cut.trim(part)
        np.testing.assert_array_equal(kept.numpy(), trim(values.numpy(), density))


def test_masks_do_not_depend_on_how_they_are_drawn() -> None:
    whole, parts = torch.ones(BLOCK), torch.ones(BLOCK)
    Chance(0.3, "m", "t", seed=1).drop(whole, 0)
    chance = Chance(0.3, "m", "t", seed=1)
    for start in (40_000, 0, 64, 1000):
        stop = {0: 64, 64: 1000, 1000: 40_000, 40_000: BLOCK}[start]
        chance.drop(parts[start:stop], start)
    assert torch.equal(whole, parts)
    assert float(whole.mean()) == pytest.approx(0.3, abs=0.01)


def test_masks_of_models_tensors_seeds_and_far_places_are_strangers() -> None:
    ways = [("m", "t", 1, 0), ("n", "t", 1, 0), ("m", "u", 1, 0), ("m", "t", 2, 0), ("m", "t", 1, 1 << 32)]
    masks = []
    for model, tensor, seed, start in ways:
        mask = torch.ones(BLOCK)
        Chance(0.5, model, tensor, seed=seed).drop(mask, start)
        masks.append(mask * 2 - 1)
    seen = torch.stack(masks) @ torch.stack(masks).T / BLOCK
    assert (seen - torch.eye(len(ways))).abs().max() < 5 / BLOCK**0.5


def test_neighbours_in_a_mask_are_strangers() -> None:
    mask = torch.ones(BLOCK)
    Chance(0.5, "m", "t", seed=3).drop(mask, 0)
    mask = mask * 2 - 1
    for lag in (1, 2, 3, 64, 4096):
        assert abs(float((mask[lag:] * mask[:-lag]).mean())) < 5 / BLOCK**0.5


def test_density_one_drops_nothing() -> None:
    values = torch.randn(100)
    kept = values.clone()
    Chance(1.0, "m", "t", seed=0).drop(kept, 0)
    assert torch.equal(values, kept)
