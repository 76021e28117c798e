"""Pieces of bytes: the same for every chunk, kept bits kept, numbers that are none refused or spared."""

from pathlib import Path

import pytest
import torch
from tests.nn.weights.models import cast, family, llava, loaded, renamed, same, saved
from tests.nn.weights.test_alignment import applied

from polymodal.nn.weights import METHODS, Plan, Recipe, WeightsError, blended, merged, pieces, plan

OLD = "language_model.model."


def bytes_of(made: Plan, chunk: int) -> dict[tuple[str, int], int]:
    """Every byte that would be written, by place."""
    found = {}
    for file, offset, data, _ in merged(made, chunk):
        found |= {(file, offset + i): value for i, value in enumerate(bytes(data))}
    return found


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_chunks_change_no_byte(tmp_path: Path, method: str, dtype: torch.dtype) -> None:
    base, own, other = (cast(state, dtype) for state in family())
    folders = [saved(tmp_path / n, s, shards=2) for n, s in (("a", own), ("b", other), ("base", base))]
    made = plan(folders[0], folders[1:2], Recipe(method, (0.6,), density=0.37, swap=0), base=folders[2])
    large = bytes_of(made, 8 << 20)
    assert bytes_of(made, 256) == bytes_of(made, 1000) == large
    assert len(large) == sum(merge.view.size * merge.view.width for merge in made.merges)


@pytest.mark.parametrize("method", [m for m in METHODS if not m.startswith("dare")])
def test_folders_and_memory_give_the_same(tmp_path: Path, method: str) -> None:
    base, own, other = (cast(state, torch.bfloat16) for state in family())
    folders = [saved(tmp_path / n, s) for n, s in (("a", own), ("b", other), ("base", base))]
    recipe = Recipe(method, (0.6,), density=0.37, swap=0)
    got = applied(plan(folders[0], folders[1:2], recipe, base=folders[2]))
    for name, value in blended(recipe, own, [other], base).items():
        assert same(got[name], own[name] if "embed" in name or "lm_head" in name else value), name


@pytest.mark.parametrize("method", METHODS)
def test_weight_one_writes_nothing_and_half_keeps_the_rest(tmp_path: Path, method: str) -> None:
    base, own, other = family()
    target = llava(tmp_path / "a", renamed(own, "model.", OLD), shards=3)
    donor, under = saved(tmp_path / "b", other), saved(tmp_path / "base", base)
    one = plan(target, [donor], Recipe(method, (1.0,), swap=0), base=under)
    assert not list(merged(one))
    assert set(one.kept) == set(one.target.entries)
    before, after = loaded(target), applied(plan(target, [donor], Recipe(method, (0.5,), swap=0), base=under))
    changed = {name for name in before if not same(before[name], after[name])}
    assert changed
    assert all(name.startswith(OLD) and "embed" not in name for name in changed)


def test_numbers_that_are_none_are_counted_and_named(tmp_path: Path) -> None:
    base, own, other = family()
    name = "model.layers.1.mlp.up_proj.weight"
    other[name][3, :4] = torch.tensor([float("nan"), float("inf"), 1, float("nan")])
    folders = [saved(tmp_path / n, s) for n, s in (("a", own), ("b", other), ("base", base))]
    for method in METHODS:
        made = plan(folders[0], folders[1:2], Recipe(method, (0.5,), swap=-1), base=folders[2])
        with pytest.raises(
            WeightsError, match=f"{name}: 3 NaN or infinite of 384 values in .*b.*--allow '{name}'"
        ):
            list(merged(made))
        spared = plan(
            folders[0], folders[1:2], Recipe(method, (0.5,), swap=-1, allow=("*up_proj*",)), base=folders[2]
        )
        assert same(applied(spared)[name], own[name])
        merge = next(merge for merge in spared.merges if merge.name == name)
        assert "kept from the target" in list(pieces(spared, merge, 256))[-1].note


def test_results_too_large_for_the_type_are_refused(tmp_path: Path) -> None:
    _, own, other = family()
    name = "model.norm.weight"
    own[name][0], other[name][0] = 60_000, -60_000
    a, b = (saved(tmp_path / n, cast(s, torch.float16)) for n, s in (("a", own), ("b", other)))
    with pytest.raises(WeightsError, match="too large for F16"):
        list(merged(plan(a, [b], Recipe(weights=(1.6,)))))


def test_a_plan_with_refusals_gives_no_piece(tmp_path: Path) -> None:
    _, own, other = family()
    del other["model.layers.1.mlp.up_proj.weight"]
    made = plan(saved(tmp_path / "a", own), [saved(tmp_path / "b", other)], Recipe())
    with pytest.raises(WeightsError, match="nothing was written"):
        next(merged(made))
    with pytest.raises(WeightsError, match="nothing was written"):
        made.jobs(1024)


def test_a_file_cut_off_meanwhile_is_noticed(tmp_path: Path) -> None:
    _, own, other = family()
    a, b = saved(tmp_path / "a", own), saved(tmp_path / "b", other)
    made = plan(a, [b], Recipe())
    (b / "model.safetensors").write_bytes((b / "model.safetensors").read_bytes()[:2000])
    with pytest.raises(WeightsError, match="cut off while it was read"):
        list(merged(made))
