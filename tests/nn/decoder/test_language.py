"""The decoder: equal to transformers' Llama both ways, its loss, its folder."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.nn.decoder import tiny
from torch.nn import functional

from polymodal.nn.decoder import Decoder, asked, lesson, taught


@pytest.fixture(scope="module")
def net() -> Decoder:
    return tiny.decoder()


@pytest.fixture(scope="module")
def home(net: Decoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.written(net.files(), tmp_path_factory.mktemp("lm"))


@pytest.fixture(scope="module")
def llama(home: Path) -> Any:
    from transformers import LlamaForCausalLM

    return LlamaForCausalLM.from_pretrained(home, dtype=torch.float32).eval()


def test_the_pocket_size_is_the_one_of_the_page() -> None:
    assert sum(weight.numel() for weight in Decoder.pocket().parameters()) == 1_942_560


def test_logits_are_those_of_transformers(net: Decoder, llama: Any) -> None:
    ids = torch.randint(4, len(net.words), (3, 40))
    with torch.no_grad():
        theirs = llama(ids).logits
        torch.testing.assert_close(net(ids), theirs, atol=1e-4, rtol=0)
    assert theirs.std() > 0.5  # else everything would be equal


def test_logits_are_those_of_transformers_with_padding_on_the_left(net: Decoder, llama: Any) -> None:
    ids, mask = asked(net.words, tiny.QUESTIONS)
    places = (mask.cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        theirs = llama(ids, attention_mask=mask.long(), position_ids=places).logits
        torch.testing.assert_close(net(ids, mask)[mask], theirs[mask], atol=1e-4, rtol=0)


def test_what_transformers_saves_loads_here(llama: Any, net: Decoder, tmp_path: Path) -> None:
    llama.save_pretrained(tmp_path)
    other = Decoder.from_pretrained(tmp_path)
    ids = torch.randint(4, len(net.words), (2, 9))
    with torch.no_grad():
        torch.testing.assert_close(other(ids), llama(ids).logits, atol=1e-4, rtol=0)
    assert other.words is None
    with pytest.raises(ValueError, match="takes and gives ids only"):
        other.generate(ids)


def test_a_folder_gives_the_same_decoder(net: Decoder, home: Path) -> None:
    other = Decoder.from_pretrained(home)
    assert other.shape == net.shape
    assert not other.training
    for name, weight in net.state_dict().items():
        assert other.state_dict()[name].dtype == torch.float32
        assert torch.equal(other.state_dict()[name], weight), name
    assert other.files() == net.files()
    assert load_file(home / "model.safetensors")["model.norm.weight"].dtype == torch.float16


def test_pieces_of_layers_have_names_for_knocking_out(net: Decoder) -> None:
    ids = torch.randint(4, len(net.words), (2, 9))
    for name in ("model.layers.0.self_attn", "model.layers.1.mlp"):
        handle = net.get_submodule(name).register_forward_hook(lambda _, __, out: torch.zeros_like(out))
        with torch.no_grad():
            without = net(ids)
        handle.remove()
        assert not torch.allclose(without, net(ids)), name


def test_a_fresh_decoder_is_drawn_by_its_seed_and_knows_nothing() -> None:
    one, same, other = (Decoder.pocket(24, 2, 3, 40, 64, 32, seed=seed) for seed in (0, 0, 1))
    ids = torch.randint(0, 64, (4, 16))
    assert torch.equal(one(ids), same(ids))
    assert not torch.equal(one(ids), other(ids))
    # What was just said is likelier than the rest: one matrix reads and says.
    scores, new = one(ids)[:, :-1], ids[:, 1:] != ids[:, :-1]
    told = scores.gather(-1, ids[:, 1:, None])[..., 0][new]
    assert abs(told.mean().item() - scores.mean().item()) < 4 * scores.std().item() / len(told) ** 0.5
    assert scores.gather(-1, ids[:, :-1, None]).mean() > scores.mean() + 2 * scores.std()


def test_only_answers_are_taught(net: Decoder) -> None:
    ids, counted = lesson(net.words, ["what is 3 + 4", "which colour is the star?"], ["7", "red"])
    logits = net(ids)
    by_hand = [
        functional.cross_entropy(logits[row, place - 1], ids[row, place])
        for row in range(2)
        for place in range(ids.shape[1])
        if counted[row, place]
    ]
    assert len(by_hand) == 4  # each answer and its end
    torch.testing.assert_close(taught(logits, ids, counted), torch.stack(by_hand).mean())


def test_it_learns_and_the_gradient_reaches_every_weight() -> None:
    net = Decoder.pocket(24, 2, 3, 40, 64, 32)
    ids = torch.randint(0, 64, (8, 16))
    counted = torch.ones_like(ids, dtype=torch.bool)
    optimiser = torch.optim.AdamW(net.parameters(), 1e-2)
    losses = []
    for _ in range(30):
        loss = taught(net(ids), ids, counted)
        loss.backward()
        losses.append(loss.item())
        assert all(weight.grad is not None and weight.grad.any() for weight in net.parameters())
        optimiser.step()
        optimiser.zero_grad()
    assert losses[-1] < losses[0] / 2


def test_nothing_to_read_and_too_much_to_read_are_errors(net: Decoder) -> None:
    with pytest.raises(ValueError, match="neither was given"):
        net()
    with pytest.raises(ValueError, match="97 tokens, but the context holds 96"):
        net(torch.zeros(1, 97, dtype=torch.long))
    with pytest.raises(ValueError, match="heads cannot share"):
        Decoder.pocket(25, 1, 3)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"model_type": "mistral"}, "model_type is 'mistral', and this loads 'llama'"),
        ({"num_key_value_heads": 1}, "num_key_value_heads=1"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings=False"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "rope_parameters"),
        ({"num_hidden_layers": 3}, "model.layers.2.self_attn.q_proj.weight is missing.* and 4 more"),
        ({"num_hidden_layers": 1}, "model.layers.1.input_layernorm.weight is unknown"),
        ({"intermediate_size": 41}, r"gate_proj.weight is \(40, 24\), not \(41, 24\)"),
    ],
)
def test_a_folder_that_is_something_else_is_named(
    home: Path, tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    for file in home.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((home / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(ValueError, match=says):
        Decoder.from_pretrained(tmp_path)


def test_missing_and_broken_files_are_named(home: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no config\.json"):
        Decoder.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_bytes((home / "config.json").read_bytes())
    with pytest.raises(FileNotFoundError, match=r"no model\.safetensors"):
        Decoder.from_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes((home / "model.safetensors").read_bytes()[:1000])
    with pytest.raises(ValueError, match="cannot be read"):
        Decoder.from_pretrained(tmp_path)
    with pytest.raises(FileNotFoundError, match="no pocket model 'pocket-none'"):
        Decoder.from_pretrained("pocket-none")


def test_a_stored_head_and_rotation_are_understood(home: Path, tmp_path: Path, net: Decoder) -> None:
    (tmp_path / "config.json").write_bytes((home / "config.json").read_bytes())
    weights = load_file(home / "model.safetensors")
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()
    weights["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    save_file(weights, tmp_path / "model.safetensors")
    ids = torch.randint(4, len(net.words), (2, 9))
    assert torch.equal(Decoder.from_pretrained(tmp_path)(ids), net(ids))
