"""What patches are taught to say: labels against the scene, the loss against a slow one, what learns."""

import numpy as np
import pytest
import torch

from polymodal.nn.decoder import Decoder, Seeing
from polymodal.nn.dual import Dual
from polymodal.systems import pockets
from polymodal.systems.alignment import naming
from polymodal.systems.alignment.naming import Namer, batch, batches, drawn, named
from polymodal.systems.alignment.voice import FAMILIES
from polymodal.training.lessons import Course, steps


def seeing():
    return Seeing.pocket(Dual.from_pretrained("pocket-clip"), Decoder.from_pretrained("pocket-lm"))


@pytest.mark.parametrize("index", range(12))
def test_the_patch_of_a_centre_says_what_is_there(index):
    scene = drawn(index, split="train", seed=0)
    names, covers = (x.numpy() for x in named(scene, 8))
    assert bool(scene.signs) == (index % 4 == 3)
    assert (names[:, 0] > 0).sum() == len(scene.objects) + len(scene.signs)
    for one in scene.objects:
        at = int(one.y * 8) * 8 + int(one.x * 8)
        said = [family[i] for family, i in zip(FAMILIES, names[at], strict=True) if i >= 0]
        assert said == ["object", one.size, one.texture, one.colour, one.shape]
        assert (covers[:, :4] == names[at, 1:5]).all(1).sum() >= (1 if one.size == "small" else 4)
    for one in scene.signs:
        at = int(one.y * 8) * 8 + int(one.x * 8)
        assert [names[at, 0], *names[at, 1:5], FAMILIES[5][names[at, 5]]] == [2, -1, -1, -1, -1, one.text]
    assert (names[names[:, 0] == 0, 1:] == -1).all()


def slow(namer, given):
    """The loss, patch by patch."""
    states = namer.vision_tower(given.pixels).detach()
    said = namer.multi_modal_projector(states).detach()
    told = namer.voice(torch.cat([given.names[..., :1], given.covers], -1)) if namer.wide else 0 * said
    bound = naming.NEAR if namer.wide else naming.SHORT
    total = bound * sum(float(p @ p) for p in (said - told).flatten(0, 1)) / said[..., 0].numel()
    for name, weights in (("names", [naming.GROUND, 1, 1]), ("covers", [1])):
        truth = getattr(given, name).flatten(0, 1)
        if name == "names" and namer.wide:
            truth = torch.cat([truth[:, :1], given.covers.flatten(0, 1)], 1)
        for i in range(truth.shape[1]):
            sum_, weight = 0.0, 0.0
            for p, state, label in zip(said.flatten(0, 1), states.flatten(0, 1), truth[:, i], strict=True):
                if label < 0:
                    continue
                words = namer.voice.family(i)
                said_so = naming.SHARP * (words - words.mean(0)) @ p
                scores = namer.probes[i](state) if name == "covers" else said_so
                heavy = weights[label] if name == "names" and i == 0 else 1
                sum_ -= heavy * float(scores.log_softmax(0)[label])
                weight += heavy
            total += (sum_ / weight if weight else 0.0) * (naming.COVERED if name == "covers" else 1)
    errors = [
        (p @ way - at) ** 2
        for row in said
        for p, place in zip(row, namer.voice.places, strict=True)
        for way, at in zip(namer.voice.ways, place, strict=True)
    ]
    return total + naming.PLACE * float(sum(errors)) / len(errors)


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("indices", [[0, 1, 2], [3], [0, 3]])
def test_the_loss_is_the_slow_one(indices, wide):
    net = seeing()
    namer = Namer(net)
    namer.wide = wide
    given = batch(net, [drawn(i, split="train", seed=0) for i in indices])
    with torch.no_grad():
        assert float(namer.loss(torch.tensor(indices))) == pytest.approx(slow(namer, given), rel=1e-4)


def test_whitened_states_have_one_length_and_the_decoder_is_left_alone():
    net = seeing()
    before = {name: x.clone() for name, x in net.language_model.state_dict().items()}
    old, states = net.multi_modal_projector.linear_1, None
    weight = old.weight.detach().clone()
    namer = Namer(net)
    with torch.no_grad():
        states = net.look(batch(net, [drawn(i, split="test", seed=0) for i in range(100)]).pixels)
        seen = torch.linalg.lstsq(weight, old(states.flatten(0, 1)).T).solution.T
    spread = torch.linalg.svdvals(seen) / len(seen) ** 0.5
    plain = torch.linalg.svdvals(states.flatten(0, 1) - states.flatten(0, 1).mean(0)) / len(seen) ** 0.5
    assert float(spread.max()) < 1.3
    assert float(spread.max() / spread.median()) < float(plain.max() / plain.median()) / 3
    made = steps(namer, batches(64, 8, seed=0), Course("names", 12, 8, 1e-3, 64), loss=Namer.loss, seed=0)
    tower = namer.vision_tower.vision_model.embeddings.patch_embedding.weight.detach().clone()
    losses = [step.loss for step in made]
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])
    assert not torch.equal(tower, net.vision_tower.vision_model.embeddings.patch_embedding.weight)
    for name, x in net.language_model.state_dict().items():
        assert torch.equal(x, before[name])


def test_louder_places_are_three_times_as_far_apart_and_words_stay():
    net = seeing()
    namer = Namer(net)
    pixels = batch(net, [drawn(0, split="train", seed=0)]).pixels
    with torch.no_grad():
        before = net.multi_modal_projector(net.look(pixels))[0]
        namer.louder()
        after = net.multi_modal_projector(net.look(pixels))[0]
    ways = namer.voice.ways
    assert torch.allclose(after @ ways.T, naming.LOUDER * before @ ways.T, atol=1e-4)
    across = torch.linalg.qr(ways.T)[0]
    rest = [x - x @ across @ across.T for x in (before, after)]
    assert torch.allclose(*rest, atol=1e-4)


def test_batches_are_drawn_when_looked_at_and_differ_by_epoch():
    epoch = batches(10, 4, seed=0)
    one, two = list(epoch(0)), list(epoch(1))
    assert [len(some) for some in one] == [4, 4]
    assert not torch.equal(torch.cat(one), torch.cat(two))
    assert torch.equal(torch.cat(one), torch.cat(list(batches(10, 4, seed=0)(0))))


@pytest.mark.parametrize("index", range(20))
def test_lists_name_the_objects_that_were_asked_for_and_no_other(index):
    one = pockets.told_of(6 * index + 1, "vlm", split="train", seed=0)
    assert 1 <= len(one.lessons) <= 7
    for asked, said in one.lessons:
        wanted = asked.removeprefix("list the ").removesuffix(".").replace("crosses", "cross").split()
        wanted = {word if word in WORDS else word.removesuffix("s") for word in wanted} - {"object"}
        real = [{o.size, o.texture, o.colour, o.shape} for o in one.scene.objects]
        told = [look.split() for look in said.split(", ")]
        assert sorted(map(sorted, told)) == sorted(sorted(look) for look in real if wanted <= look)
        assert all(set(look[: len(wanted)]) == wanted for look in told)


WORDS = {word for words in pockets.VALUES.values() for word in words}
