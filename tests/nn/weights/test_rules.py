"""Every method against the formulas, the hand-worked case, the identities, and PEFT's functions."""

import importlib.util
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from tests.nn.weights import slow
from torch import Tensor

from polymodal.nn.weights import METHODS, Recipe, blended
from polymodal.nn.weights.rules import arc

SHAPE = (37, 1913)  # more than one block, and no multiple of a vector


def near() -> tuple[Tensor, Tensor, Tensor]:
    base = torch.randn(SHAPE)
    return base, base + 0.1 * torch.randn(SHAPE), base + 0.1 * torch.randn(SHAPE)


def mixed(recipe: Recipe, target: Tensor, *donors: Tensor, base: Tensor | None = None) -> Tensor:
    ground = None if base is None else {"t": base}
    return blended(recipe, {"t": target}, [{"t": donor} for donor in donors], ground)["t"]


def peft() -> Any:
    """PEFT's own functions, without importing the nine seconds around them."""
    found = importlib.util.find_spec("peft")
    if found is None or not found.submodule_search_locations:
        pytest.skip("peft is not installed; CI installs it")
    path = Path(found.submodule_search_locations[0]) / "utils" / "merge_utils.py"
    spec = importlib.util.spec_from_file_location("merge_utils", path)
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_linear_and_task_arithmetic_are_their_formulas() -> None:
    base, a, b = near()
    torch.testing.assert_close(mixed(Recipe(weights=(0.7,)), a, b), 0.7 * a + 0.3 * b, atol=1e-6, rtol=1e-6)
    free = Recipe("task_arithmetic", (1.2, 0.5))
    want = base + 1.2 * (a - base) + 0.5 * (b - base)
    torch.testing.assert_close(mixed(free, a, b, base=base), want, atol=1e-6, rtol=1e-6)
    scaled = Recipe(weights=(0.5, 0.7))
    torch.testing.assert_close(mixed(scaled, a, b), 0.5 * a + 0.7 * b, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("method", ["ties_weight", "ties_count"])
@pytest.mark.parametrize("weights", [(0.9, 0.1), (1.6, 0.2), (0.5, 0.25, 0.25), (1.0, -0.4)])
def test_ties_is_its_formula(method: str, weights: tuple[float, ...]) -> None:
    base = torch.randn(SHAPE)
    models = [base + 0.1 * torch.randn(SHAPE) for _ in weights]
    if method == "ties_weight" and len(weights) == 3:  # coarse values, so that magnitudes tie
        models = [(m * 8).round() / 8 for m in models]
        base = (base * 8).round() / 8
    recipe = Recipe(method, weights, density=0.3)
    deltas = [(m - base).numpy() for m in models]
    want = base.numpy() + slow.ties(deltas, weights, 0.3, method.removeprefix("ties_"))
    np.testing.assert_allclose(mixed(recipe, *models, base=base).numpy(), want, atol=1e-6, rtol=1e-6)


def test_slerp_is_its_formula_and_a_line_where_nearly_parallel() -> None:
    a, b = torch.randn(SHAPE), torch.randn(SHAPE)
    got = mixed(Recipe("slerp", (0.3,)), a, b)
    np.testing.assert_allclose(got.numpy(), slow.slerp(a.numpy(), b.numpy(), 0.7), atol=1e-6, rtol=1e-5)
    close = a + 1e-4 * b
    line = mixed(Recipe("slerp", (0.3,)), a, close)
    np.testing.assert_allclose(line.numpy(), slow.slerp(a.numpy(), close.numpy(), 0.7), atol=1e-6, rtol=1e-5)
    assert arc(0.0, 0.0, 1.0, 0.5) is None


def test_hand_case() -> None:
    base, a, b = torch.zeros(4), torch.tensor([4.0, -1, 2, 0]), torch.tensor([-2.0, 3, 1, 0])
    by = {
        m: mixed(Recipe(m, (0.5, 0.5), density=0.5), a, b, base=base) for m in ("ties_count", "ties_weight")
    }
    assert by["ties_count"].tolist() == [2, 1.5, 1, 0]
    assert by["ties_weight"].tolist() == [4, 3, 2, 0]


def test_the_two_kinds_of_ties_differ() -> None:
    """Where one model alone votes, count leaves weight · delta, weight the whole delta."""
    base, a, b = torch.zeros(200_000), torch.randn(200_000), torch.randn(200_000)
    count, weight = (
        mixed(Recipe(m, (0.9, 0.1), density=0.2), a, b, base=base) for m in ("ties_count", "ties_weight")
    )
    cosine = torch.nn.functional.cosine_similarity(count, weight, dim=0)
    assert cosine == pytest.approx(1 / (0.82 * 2) ** 0.5, abs=0.01)  # (.9 + .1) / √(.9² + .1²) / √(1² + 1²)


@pytest.mark.parametrize("method", METHODS)
def test_weight_one_gives_the_target_to_the_bit(method: str) -> None:
    base, a, b = near()
    assert torch.equal(mixed(Recipe(method, (1.0,), swap=-1), a, b, base=base), a)


@pytest.mark.parametrize("method", ["linear", "task_arithmetic", "slerp", "layer_swap"])
def test_a_donor_equal_to_the_target_changes_no_bit(method: str) -> None:
    base, a, _ = near()
    assert torch.equal(mixed(Recipe(method, (0.3,)), a, a.clone(), base=base), a)


def test_base_is_irrelevant_where_weights_sum_to_one() -> None:
    base, a, b = near()
    recipe = Recipe("task_arithmetic", (0.8,))
    assert torch.equal(mixed(recipe, a, b, base=base), mixed(recipe, a, b, base=torch.randn(SHAPE)))
    assert torch.equal(mixed(recipe, a, b, base=base), mixed(Recipe(weights=(0.8,)), a, b))


def test_ties_of_equal_signs_and_density_one_is_the_weighted_mean() -> None:
    base = torch.zeros(SHAPE)
    a, b = torch.rand(SHAPE) + 0.1, torch.rand(SHAPE) + 0.1
    got = mixed(Recipe("ties_weight", (0.75, 0.25), density=1.0), a, b, base=base)
    torch.testing.assert_close(got, 0.75 * a + 0.25 * b, atol=1e-6, rtol=1e-6)


def test_dare_is_right_in_distribution() -> None:
    base, a, b = torch.zeros(400), torch.randn(400), torch.randn(400)
    density, weights, n = 0.3, (0.6, 0.4), 200
    draws = torch.stack(
        [mixed(Recipe("dare_linear", weights, density=density, seed=s), a, b, base=base) for s in range(n)]
    )
    want = 0.6 * a + 0.4 * b
    error = ((1 - density) / density * (0.36 * a**2 + 0.16 * b**2) / n).sqrt()
    z = (draws.mean(0) - want) / error
    assert (z.abs() < 3).float().mean() > 0.98
    assert z.pow(2).mean() == pytest.approx(1, abs=0.25)
    kept = torch.stack(
        [
            mixed(Recipe("dare_linear", (0.5, 0.0), density=density, seed=s), a, b, base=base) != 0
            for s in range(n)
        ]
    )
    assert kept.float().mean() == pytest.approx(density, abs=4 * (0.21 / kept.numel()) ** 0.5)


def test_dare_ties_with_nothing_dropped_is_ties_count_untrimmed() -> None:
    base, a, b = near()
    got, want = (
        mixed(Recipe(m, (0.6, 0.4), density=1.0), a, b, base=base) for m in ("dare_ties", "ties_count")
    )
    assert torch.equal(got, want)


def test_dare_masks_depend_on_the_seed_only() -> None:
    base, a, b = near()
    first, again, other = (mixed(Recipe("dare_ties", seed=s), a, b, base=base) for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_peft_task_arithmetic_ties_and_dare() -> None:
    theirs = peft()
    base, a, b = near()
    deltas, weights = [a - base, b - base], torch.tensor([1.6, 0.2])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "no pruning will be performed" at density 1
        want = {
            "task_arithmetic": theirs.task_arithmetic(deltas, weights),
            "ties_count": theirs.ties(deltas, weights, 0.2, "total"),
            "dare_linear": theirs.dare_linear(deltas, weights, 1.0),
            "dare_ties": theirs.dare_ties(deltas, weights, 1.0, "total"),
        }
    for method, delta in want.items():
        recipe = Recipe(method, (1.6, 0.2), density=1.0 if method.startswith("dare") else 0.2)
        torch.testing.assert_close(mixed(recipe, a, b, base=base), base + delta, atol=1e-6, rtol=1e-6)


def test_blended_keeps_what_no_partner_has_and_says_what_is_missing() -> None:
    target = {"layers.0.w": torch.ones(2), "own": torch.ones(3), "n": torch.ones(2, dtype=torch.int64)}
    donor = {"layers.0.w": torch.zeros(2), "own": torch.zeros(4), "n": torch.zeros(2, dtype=torch.int64)}
    made = blended(Recipe(weights=(0.5,)), target, [donor])
    assert made["layers.0.w"].tolist() == [0.5, 0.5]
    assert made["own"] is target["own"]
    assert made["n"] is target["n"]
    with pytest.raises(ValueError, match="base"):
        blended(Recipe("ties_count"), target, [donor])
