"""Which tensor is which, over families, spellings, fused layouts; what is kept and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.nn.weights.models import (
    DIM,
    FEW,
    HEADS,
    TEXT,
    State,
    cast,
    decoder,
    family,
    llava,
    loaded,
    renamed,
    saved,
    tower,
)

from polymodal.nn.weights import Plan, Recipe, WeightsError, merged, plan, read_checkpoint

OLD = "language_model.model."
HALF = Recipe(weights=(0.5,))


def applied(made: Plan) -> State:
    """The target's tensors with the plan's pieces put over its files' bytes."""
    from safetensors.torch import load

    files = {name: bytearray((made.folder / name).read_bytes()) for name in made.files}
    for file, offset, data, _ in merged(made):
        files[file][offset : offset + len(data)] = data
    return {name: t for data in files.values() for name, t in load(bytes(data)).items()}


def halves(made: Plan, own: State, other: State, prefix: str) -> None:
    """Holds every decoder tensor to the mean of both, all else to the target's bits."""
    got, before = applied(made), loaded(made.folder)
    assert got.keys() == before.keys()
    for name, value in got.items():
        key = "model." + name.removeprefix(prefix)
        if name.startswith(prefix) and "embed_tokens" not in name and key in other:
            torch.testing.assert_close(value, 0.5 * own[key] + 0.5 * other[key], atol=1e-6, rtol=1e-6)
        else:
            assert torch.equal(value, before[name]), name


@pytest.mark.parametrize(
    ("model_type", "prefix", "head"),
    [
        ("llava", OLD, "language_model.lm_head.weight"),
        ("llava", "model.language_model.", "lm_head.weight"),
        ("idefics2", "model.text_model.", "lm_head.weight"),
        ("idefics3", "model.text_model.", "lm_head.weight"),
        ("qwen2_vl", "model.", "lm_head.weight"),
        ("qwen2_vl", "model.language_model.", "lm_head.weight"),
        ("internvl_chat", OLD, "language_model.lm_head.weight"),
        ("never_heard_of", "brain.trunk.", "lm_head.weight"),
    ],
)
def test_decoder_is_found_under_each_spelling(
    tmp_path: Path, model_type: str, prefix: str, head: str
) -> None:
    _, own, other = family(head="lm_head.weight")
    text = renamed(renamed(own, "model.", prefix), "lm_head.weight", head)
    target = saved(
        tmp_path / "t", {**tower(), **text}, {"model_type": model_type, "text_config": TEXT}, shards=2
    )
    made = plan(target, [saved(tmp_path / "d", other)], HALF)
    assert len(made.merges) == 28
    assert {*made.merged_names()} | {*made.kept} == {*made.target.entries}
    assert not {*made.merged_names()} & {*made.kept}
    assert not made.refused
    halves(made, own, other, prefix)


@pytest.mark.parametrize("donor", ["odd.", ""])
def test_a_donor_under_another_prefix_is_mapped(tmp_path: Path, donor: str) -> None:
    _, own, other = family()
    target = llava(tmp_path / "t", renamed(own, "model.", OLD))
    strange = renamed(other, "model.", donor)
    config = TEXT | ({"model_type": "odd"} if donor else {})
    halves(plan(target, [saved(tmp_path / "d", strange, config)], HALF), own, other, OLD)


def test_no_prefix_or_two_are_listed(tmp_path: Path) -> None:
    _, own, other = family()
    target = saved(
        tmp_path / "t",
        {**renamed(own, "model.", "a."), **renamed(other, "model.", "b.")},
        {"model_type": "x"},
    )
    donor = saved(tmp_path / "d", other)
    with pytest.raises(WeightsError, match=r"several prefixes fit(.|\n)*a.layers.N, b.layers.N"):
        plan(target, [donor], HALF)
    less = saved(tmp_path / "less", {n: t for n, t in own.items() if "k_proj" not in n}, {"model_type": "x"})
    with pytest.raises(WeightsError, match=r"no prefix fits(.|\n)*model.layers.N"):
        plan(less, [donor], HALF)


def fused(state: State, layers: int = 3) -> State:
    """Phi3's layout of the same decoder."""
    made = dict(state)
    for n in range(layers):
        at = f"model.layers.{n}."
        made[f"{at}self_attn.qkv_proj.weight"] = torch.cat(
            [made.pop(f"{at}self_attn.{part}_proj.weight") for part in "qkv"]
        )
        made[f"{at}mlp.gate_up_proj.weight"] = torch.cat(
            [made.pop(f"{at}mlp.{part}_proj.weight") for part in ("gate", "up")]
        )
    return made


def grouped(state: State, layers: int = 3) -> State:
    """InternLM2's layout: query heads of a group, then its key and value head."""
    made, each, dim = dict(state), HEADS // FEW, DIM // HEADS
    for n in range(layers):
        at = f"model.layers.{n}."
        q, k, v = (made.pop(f"{at}self_attn.{part}_proj.weight") for part in "qkv")
        parts = [q.reshape(FEW, each, dim, DIM), k.reshape(FEW, 1, dim, DIM), v.reshape(FEW, 1, dim, DIM)]
        made[f"{at}attention.wqkv.weight"] = torch.cat(parts, 1).reshape(-1, DIM)
        for theirs, ours in (
            ("attention.wo", "self_attn.o_proj"),
            ("feed_forward.w1", "mlp.gate_proj"),
            ("feed_forward.w3", "mlp.up_proj"),
            ("feed_forward.w2", "mlp.down_proj"),
            ("attention_norm", "input_layernorm"),
            ("ffn_norm", "post_attention_layernorm"),
        ):
            made[f"{at}{theirs}.weight"] = made.pop(f"{at}{ours}.weight")
    made["model.tok_embeddings.weight"] = made.pop("model.embed_tokens.weight")
    return renamed(made, "lm_head.", "output.")


@pytest.mark.parametrize(("layout", "model_type"), [(fused, "phi3"), (grouped, "internlm2")])
@pytest.mark.parametrize("swapped", [False, True])
def test_fused_layouts_are_views(tmp_path: Path, layout: Any, model_type: str, swapped: bool) -> None:
    _, own, other = family()
    config = TEXT | {"model_type": model_type}
    a, b = saved(tmp_path / "a", layout(own), config), saved(tmp_path / "b", other)
    want = {n: 0.5 * own[n] + 0.5 * other[n] for n in own if "embed" not in n and "lm_head" not in n}
    if swapped:
        got = applied(plan(b, [a], HALF))
    else:
        got = applied(plan(a, [b], HALF))
        want = {n: t for n, t in layout({**own, **want}).items() if "embed" not in n and "head" not in n}
    for name in [n for n in want if n != "output.weight" and n in got]:
        torch.testing.assert_close(got[name], want[name], atol=1e-6, rtol=1e-6)
    both = plan(a, [saved(tmp_path / "c", layout(other), config)], HALF)
    assert all(merge.view.is_whole for merge in both.merges)


def test_fused_rows_that_do_not_split_are_refused(tmp_path: Path) -> None:
    _, own, other = family()
    config = TEXT | {"model_type": "phi3", "num_key_value_heads": 1}
    with pytest.raises(WeightsError, match="do not split into 4 query"):
        plan(
            saved(tmp_path / "a", fused(own), config),
            [saved(tmp_path / "b", other)],
            Recipe(allow=("config.*",)),
        )


def test_cross_attention_layers_are_skipped_in_the_numbering(tmp_path: Path) -> None:
    _, own, other = family()
    target, places = {}, {0: 0, 1: 2, 2: 3}
    for name, value in own.items():
        words = name.split(".")
        if words[1] == "layers":
            words[2] = str(places[int(words[2])])
        target[".".join(words)] = value
    target |= {"model.layers.1.cross_attn.q_proj.weight": torch.randn(DIM, DIM)}
    text = renamed(target, "model.", OLD)
    config = {
        "model_type": "mllama",
        "text_config": TEXT | {"num_hidden_layers": 4, "cross_attention_layers": [1]},
    }
    made = plan(saved(tmp_path / "t", {**tower(), **text}, config), [saved(tmp_path / "d", other)], HALF)
    got = applied(made)
    torch.testing.assert_close(
        got[OLD + "layers.3.mlp.up_proj.weight"],
        0.5 * own["model.layers.2.mlp.up_proj.weight"] + 0.5 * other["model.layers.2.mlp.up_proj.weight"],
    )
    assert "cross-attention" in made.kept[OLD + "layers.1.cross_attn.q_proj.weight"]


def test_tied_heads_and_buffers_are_understood(tmp_path: Path) -> None:
    _, own, other = family(head=None)
    own["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    other["model.rotary_emb.inv_freq"] = torch.ones(4)
    made = plan(saved(tmp_path / "t", own), [saved(tmp_path / "d", other)], HALF)
    assert made.kept["model.layers.0.self_attn.rotary_emb.inv_freq"] == "buffer"
    assert made.kept["model.embed_tokens.weight"] == "token embedding"
    assert len(made.merges) == 28


def test_other_vocabulary_is_fine(tmp_path: Path) -> None:
    _, own, other = family()
    other["model.embed_tokens.weight"] = torch.randn(33, DIM)
    other["lm_head.weight"] = torch.randn(33, DIM)
    made = plan(saved(tmp_path / "t", own), [saved(tmp_path / "d", other)], HALF)
    assert not made.refused
    halves(made, own, {n: t for n, t in other.items() if "lm_head" not in n}, "model.")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"rope_theta": 5e5}, r"config.rope_theta: 10000.0 in .*, 500000.0 in"),
        ({"rope_parameters": {"rope_theta": 5e5}}, r"config.rope_theta: 10000.0 in .*, 500000.0 in"),
        ({"rms_norm_eps": 1e-5}, "config.rms_norm_eps"),
        ({"num_attention_heads": 2, "num_key_value_heads": 1}, "config.num_attention_heads: 4"),
        ({"hidden_act": "gelu"}, "config.hidden_act"),
    ],
)
def test_disagreeing_settings_are_refused(tmp_path: Path, words: dict[str, Any], says: str) -> None:
    _, own, other = family()
    a, b = saved(tmp_path / "a", own), saved(tmp_path / "b", other, TEXT | words)
    with pytest.raises(WeightsError, match=says) as error:
        plan(a, [b], HALF).ready()
    assert str(error.value).count("hidden_size 16") == 2
    allowed = plan(a, [b], Recipe(weights=(0.5,), allow=("config.*",)))
    assert any(note.startswith("allowed: config.") for note in allowed.notes)
    allowed.ready()


def test_depth_width_and_missing_partners_are_refused(tmp_path: Path) -> None:
    _, own, other = family()
    a = saved(tmp_path / "a", own)
    deep = plan(a, [saved(tmp_path / "deep", decoder(3, layers=4), TEXT | {"num_hidden_layers": 4})], HALF)
    assert deep.refused["config.num_hidden_layers"].startswith("3 in")
    assert "no partner in the target" in deep.refused["model.layers.3.mlp.up_proj.weight"]
    with pytest.raises(
        WeightsError, match=r"10 refusals; nothing was written(.|\n)*and 5 more(.|\n)*--allow"
    ):
        deep.ready()
    other["model.layers.1.mlp.up_proj.weight"] = torch.randn(5, DIM)
    del other["model.layers.2.mlp.up_proj.weight"]
    made = plan(a, [saved(tmp_path / "b", other)], HALF)
    assert made.refused["model.layers.1.mlp.up_proj.weight"].startswith("shape [24, 16], but [5, 16]")
    assert "no partner" in made.refused["model.layers.2.mlp.up_proj.weight"]
    kept = plan(a, [made.donors[0]], Recipe(weights=(0.5,), allow=("*.up_proj.*",)))
    assert kept.kept["model.layers.1.mlp.up_proj.weight"].startswith("allowed: shape")
    assert len(kept.merges) == 26


def test_numbers_that_cannot_be_summed_are_refused(tmp_path: Path) -> None:
    _, own, other = family()
    other["model.norm.weight"] = torch.ones(DIM, dtype=torch.int8)
    made = plan(saved(tmp_path / "a", own), [saved(tmp_path / "b", other)], HALF)
    assert "type I8" in made.refused["model.norm.weight"]


def test_base_is_asked_for_paired_and_left_unread(tmp_path: Path) -> None:
    base, own, other = family()
    a, b = saved(tmp_path / "a", own), saved(tmp_path / "b", other)
    with pytest.raises(ValueError, match="--base MODEL"):
        plan(a, [b], Recipe("ties_count"))
    under = saved(tmp_path / "base", base)
    made = plan(a, [b], Recipe("ties_count"), base=under)
    assert all(merge.base is not None for merge in made.merges)
    assert "linear never reads the base" in plan(a, [b], HALF, base=under).notes
    wrong = saved(tmp_path / "wrong", {n: t for n, t in base.items() if "k_proj" not in n})
    assert (
        "no partner"
        in plan(a, [b], Recipe("ties_count"), base=wrong).refused["model.layers.0.self_attn.k_proj.weight"]
    )


def test_rules_by_name_and_one_that_matches_nothing(tmp_path: Path) -> None:
    _, own, other = family()
    a, b = saved(tmp_path / "a", own), saved(tmp_path / "b", other)
    made = plan(a, [b], Recipe(weights=(0.5,), rules=(("*.layers.[01].*", 1.0), ("*.mlp.*", 0.8))))
    assert made.kept["model.layers.0.mlp.up_proj.weight"] == "weight 1 on the target"
    weights = {merge.name: merge.weights for merge in made.merges}
    assert weights["model.layers.2.mlp.up_proj.weight"] == pytest.approx((0.8, 0.2))
    assert weights["model.norm.weight"] == (0.5, 0.5)
    with pytest.raises(ValueError, match=r"the rule \*.mpl.\*=0.8 matches no tensor"):
        plan(a, [b], Recipe(rules=(("*.mpl.*", 0.8),)))
    with pytest.raises(ValueError, match="matches no tensor"):
        plan(a, [b], Recipe(rules=(("lm_head*", 0.8),)))


def test_donors_are_put_in_an_order_of_their_own(tmp_path: Path) -> None:
    _, own, other = family()
    third = {n: t + 0.1 * d for (n, t), d in zip(own.items(), decoder(7).values(), strict=True)}
    a, b, c = (saved(tmp_path / n, s) for n, s in (("a", own), ("b", other), ("c", third)))
    one = plan(a, [b, c], Recipe(weights=(0.5, 0.4, 0.1)))
    two = plan(a, [c, b], Recipe(weights=(0.5, 0.1, 0.4)))
    assert [p.data.tobytes() for p in merged(one)] == [p.data.tobytes() for p in merged(two)]
    with pytest.raises(ValueError, match="given twice"):
        plan(a, [b, read_checkpoint(b)], Recipe(weights=(0.5, 0.1, 0.4)))


def test_two_vision_language_models(tmp_path: Path) -> None:
    _, own, other = family()
    a = llava(tmp_path / "a", renamed(own, "model.", OLD))
    b = llava(tmp_path / "b", renamed(other, "model.", "model.language_model."))
    made = plan(a, [b], HALF)
    halves(made, own, other, OLD)
    assert any("not read from" in note for note in made.notes)


def test_sixteen_bit_mixes_are_summed_in_thirty_two(tmp_path: Path) -> None:
    _, own, other = family()
    a = saved(tmp_path / "a", cast(own, torch.bfloat16))
    b = saved(tmp_path / "b", cast(other, torch.float16))
    name = "model.layers.0.mlp.up_proj.weight"
    got = applied(plan(a, [b], HALF))[name]
    x, y = own[name].bfloat16().float(), other[name].half().float()
    assert torch.equal(got, (x + 0.5 * (y - x)).bfloat16())
