"""Parts of model_merging: centres of mass, spared activations, the weight that other questions choose."""

import numpy as np
import pytest
import torch

from polymodal.nn.decoder import Decoder
from polymodal.nn.decoder.knocked import attribution
from polymodal.systems.model_merging import data, method


def test_centre_of_mass_by_hand_and_its_interval():
    drops = np.array([[1.0] * 20, [0.0] * 20, [1.0] * 20])
    found = method.centre(drops, seed=0)
    assert (found.mean, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))
    rng = np.random.default_rng(0)
    first = np.stack([rng.random(200) < p for p in (0.8, 0.2, 0.0, 0.0)]).astype(float)
    last = first[::-1]
    one, two = method.centre(first, seed=0), method.centre(last, seed=0)
    assert one.mean == pytest.approx(np.average([0, 1 / 3], weights=first.mean(1)[:2]))
    assert one.low < one.mean < one.high < two.low
    assert method.centres_apart(first, last, seed=0).high < 0
    assert method.centres_apart(first, first, seed=0).mean == 0


def test_gains_by_knock_out_count_as_nothing_and_no_loss_has_no_centre():
    assert method.centre(np.array([[-1.0, -1.0], [1.0, 1.0]]), seed=0).mean == 1
    nothing = method.centre(np.zeros((3, 5)), seed=0)
    assert np.isnan(nothing.mean)
    assert nothing.reason == "no layer loses anything"
    assert np.isnan(method.centres_apart(np.zeros((3, 5)), np.ones((3, 5)), seed=0).mean)


def test_attribution_of_an_untouched_layer_is_exactly_nothing():
    base = Decoder.pocket(32, 3, 2, 48, 40, 16)
    net = Decoder.pocket(32, 3, 2, 48, 40, 16)
    with torch.no_grad():
        net.model.layers[2].mlp.down_proj.weight.mul_(9)
    ids = torch.arange(24).view(4, 6)

    def score():
        with torch.no_grad():
            return {"all": net(ids)[:, -1].mean(-1).double().numpy()}

    found = attribution(net, score, modes=["revert"], base=base)
    assert set(found) == {("revert", "self_attn", "all"), ("revert", "mlp", "all")}
    assert np.abs(found["revert", "self_attn", "all"]).max() == 0
    assert np.abs(found["revert", "mlp", "all"][:2]).max() == 0
    assert np.abs(found["revert", "mlp", "all"][2]).min() > 0


def test_a_protected_delta_changes_no_output_on_its_activations():
    stream = torch.Generator().manual_seed(0)
    inputs = torch.randn(200, 6, generator=stream) @ torch.randn(6, 40, generator=stream)
    delta = torch.randn(16, 40, generator=stream)
    whole = method.subspace(inputs, 1.0)
    assert torch.linalg.matrix_rank(whole) == 6
    assert (inputs @ method.protected(delta, whole).T).abs().max() < 1e-4
    some = method.subspace(inputs, 0.5)
    assert torch.linalg.matrix_rank(some) < 6
    assert torch.allclose(some @ some, some, atol=1e-5)
    assert not torch.allclose(method.protected(delta, whole), torch.zeros(16, 40))


def test_the_smallest_sure_change_is_chosen_and_none_where_none_is_sure():
    rng = np.random.default_rng(0)
    target = (rng.random(300) < 0.2).astype(float)
    better = np.maximum(target, rng.random(300) < 0.3)
    weight, gains = method.chosen({1.0: target, 0.9: target, 0.8: better, 0.5: better}, seed=0)
    assert weight == 0.8
    assert gains[0.9].mean == 0
    assert method.chosen({1.0: target, 0.5: 1 - target * 0}, seed=0, margin=0.9)[0] is None
    with pytest.raises(ValueError, match="weight 1"):
        method.chosen({0.5: target}, seed=0)


def test_a_toy_has_its_own_pairs_and_pictures_and_right_answers():
    one, two = data.Toy.planted(0.0, seed=0), data.Toy.planted(0.0, seed=1)
    assert len(one.seen) == 77
    assert len({tuple(pair) for pair in [*one.seen.tolist(), *one.held.tolist()]}) == 256
    assert not np.array_equal(one.seen, two.seen)
    ids, answers = data.sums(one.held[:5])
    assert np.array_equal(answers, one.held[:5].sum(1) % 16)
    assert np.array_equal(one.pictures(ids, np.random.default_rng(0)), one.prototypes[one.held[:5].ravel()])
    assert np.array_equal(data.names(np.arange(3))[1], np.arange(3))
