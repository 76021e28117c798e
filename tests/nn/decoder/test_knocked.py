"""Knock-outs: what they do inside, and that nothing is left of them afterwards."""

import contextlib
import copy

import pytest
import torch
from torch import nn

from polymodal.nn.decoder import Decoder
from polymodal.nn.decoder.knocked import MODULES, blocks, knocked, watched


@pytest.fixture
def net():
    return Decoder.pocket(32, 3, 2, 48, 40, 16).eval()


IDS = torch.arange(12).view(2, 6)


def test_blocks_are_the_decoders_and_never_a_towers(net):
    assert len(blocks(net)) == 3
    both = nn.ModuleDict({"vision_tower": Decoder.pocket(32, 5, 2, 48, 40, 16), "language_model": net})
    assert blocks(both) == blocks(net)
    with pytest.raises(ValueError, match="has no layers with self_attn and mlp"):
        blocks(nn.Linear(2, 2))


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("mode", ["mask", "uniform", "revert"])
def test_a_knock_out_changes_the_answer_inside_and_is_undone_even_after_an_error(net, module, mode):
    other = Decoder.pocket(32, 3, 2, 48, 40, 16, seed=1)
    before, weights = net(IDS), {name: x.clone() for name, x in net.state_dict().items()}
    with contextlib.suppress(KeyError), knocked(net, 1, module, mode, other):
        assert not torch.equal(net(IDS), before)
        raise KeyError
    assert torch.equal(net(IDS), before)
    assert all(torch.equal(x, weights[name]) for name, x in net.state_dict().items())


def test_masked_modules_add_nothing_uniform_ones_average_and_reverted_ones_are_the_bases(net):
    other = Decoder.pocket(32, 3, 2, 48, 40, 16, seed=1)
    twin = copy.deepcopy(net)
    for layer in range(3):
        blocks(twin)[layer].mlp.down_proj.weight.data.zero_()
    with knocked(net, 0, "mlp", "mask"), knocked(net, 1, "mlp", "mask"), knocked(net, 2, "mlp", "mask"):
        assert torch.equal(net(IDS), twin(IDS))
    with knocked(net, 2, "self_attn", "uniform"):
        assert torch.all(blocks(net)[2].self_attn.q_proj.weight == 1 / 32)
    with knocked(net, 2, "mlp", "uniform"):
        assert torch.allclose(blocks(net)[2].mlp.gate_proj.weight, torch.tensor(1 / 48))
    with knocked(net, 0, "self_attn", "revert", other):
        assert torch.equal(blocks(net)[0].self_attn.k_proj.weight, blocks(other)[0].self_attn.k_proj.weight)


def test_an_unchanged_module_reverts_to_the_very_same_answers(net):
    twin = copy.deepcopy(net)
    before = net(IDS)
    with knocked(net, 1, "mlp", "revert", twin):
        assert torch.equal(net(IDS), before)


def test_wrong_words_are_named(net):
    with pytest.raises(ValueError, match="modes mask, uniform, revert"), knocked(net, 0, "mlp", "drop"):
        pass
    with pytest.raises(ValueError, match="revert needs the base"), knocked(net, 0, "mlp", "revert"):
        pass


def test_watched_inputs_give_the_modules_outputs_at_the_positions_asked_for(net):
    real = torch.zeros(2, 6, dtype=torch.bool)
    real[0, 2] = real[1, 5] = True
    with torch.no_grad(), watched(net, real) as seen:
        net(IDS)
    assert set(seen) == {
        f"{layer}.{name}_proj"
        for layer in range(3)
        for name in (*(f"self_attn.{p}" for p in "qkvo"), "mlp.gate", "mlp.up", "mlp.down")
    }
    assert seen["0.mlp.down_proj"][0].shape == (2, 48)
    with torch.no_grad():
        net(IDS)
    assert len(seen["0.mlp.down_proj"]) == 1
