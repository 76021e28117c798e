"""What patches say: sums of words and a place; heads that find words; a decoder whose pictures are told."""

import numpy as np
import pytest
import torch

from polymodal.nn.decoder import Decoder, prompt
from polymodal.systems import pockets
from polymodal.systems.alignment import voice
from polymodal.systems.alignment.naming import drawn, named
from polymodal.systems.alignment.voice import FAMILIES, SPREAD, Reader, Voice, embedded, look_up
from polymodal.systems.pockets import names_of
from polymodal.training.lessons import Block, lost


def fresh(seed=0):
    return Decoder.pocket(words=pockets.tokens(), seed=seed)


def test_a_patch_says_the_sum_of_its_words_a_column_further_and_where_it_lies():
    net = fresh()
    words, spoken = net.words, Voice(net, 8)
    names = torch.full((1, 64, 6), -1)
    names[0, 10] = torch.tensor([1, 1, 0, 2, 3, -1])
    said = [family[i] for family, i in zip(FAMILIES, names[0, 10].tolist(), strict=True) if i >= 0]
    total = torch.stack([net.model.embed_tokens.weight[words.ids(word)[0]] for word in said]).sum(0)
    total = torch.cat([total[-1:], total[:-1]])
    out = spoken(names)
    across, down = SPREAD * (2 * 2.5 / 8 - 1), SPREAD * (2 * 1.5 / 8 - 1)  # third column, second row
    place = across * spoken.ways[0] + down * spoken.ways[1]
    assert torch.allclose(out[0, 10], total + place, atol=1e-6)
    assert torch.allclose(out[0, 0], -SPREAD * 7 / 8 * spoken.ways.sum(0), atol=1e-6)


def test_a_word_of_several_tokens_is_refused(monkeypatch):
    monkeypatch.setattr(voice, "FAMILIES", (("picture", "flying saucer", "sign"), *FAMILIES[1:]))
    with pytest.raises(ValueError, match="not one token each: flying saucer"):
        Voice(fresh(), 8)


@pytest.mark.parametrize("layer", voice.LAYERS)
def test_a_head_looks_from_a_word_to_the_patches_that_say_it_and_brings_what_else_they_say(layer):
    net = fresh()
    look_up(net)
    scene = next(s for s in (drawn(i, split="train", seed=1) for i in range(50)) if len(s.objects) == 4)
    looks = torch.from_numpy(names_of(scene))[None]
    ids = torch.tensor([prompt.question(net.words, "which?", 64)])
    reader, part = Reader(net), net.model.layers[layer].self_attn
    patches = reader.embed(looks, ids)[0, 1:65]
    normed = torch.nn.functional.rms_norm(patches, patches.shape[-1:])
    for name, family in (("colour", 3), ("shape", 4), ("texture", 2)):
        for one in {getattr(thing, name) for thing in scene.objects}:
            word = torch.nn.functional.rms_norm(embedded(net, [one])[0], (net.shape.dim,))
            scores = (part.k_proj(normed)[:, :32] @ part.q_proj(word)[:32]).detach() / 32**0.5
            says = looks[0, :, family] == FAMILIES[family].index(one)
            assert scores[says].mean() - scores[~says].mean() > 3
    value = (part.v_proj(normed)[:, :32] @ part.o_proj.weight[:, :32].T).detach()
    for family in (2, 3, 4):
        scores = value @ embedded(net, FAMILIES[family]).T
        said = looks[0, :, family].long()
        right = (
            torch.nn.functional.one_hot(said.clamp(min=0), len(FAMILIES[family])).bool()
            & (said >= 0)[:, None]
        )
        others = ~right & (said >= 0)[:, None]
        assert scores[right].mean() > scores[others].mean() + scores[others].std() / 2


def test_rows_with_and_without_a_told_picture_go_together_and_each_as_alone():
    net = fresh()
    reader = Reader(net)
    rows = pockets.drawn("lm", range(6), net, split="train", seed=0)
    assert [row.look is None for row in rows] == [True, False] * 3
    for row in rows:
        assert (row.ids == net.words.image).sum() == (0 if row.look is None else 64)
    weight = [row.counted.sum() for row in rows]
    with torch.no_grad():
        alone = [float(lost(reader, Block.of([row]))) for row in rows]
        assert float(lost(reader, Block.of(rows))) == pytest.approx(
            np.average(alone, weights=weight), rel=1e-5
        )
        text = [row for row in rows if row.look is None]
        assert float(lost(reader, Block.of(text))) == pytest.approx(
            float(lost(net, Block.of(text))), rel=1e-6
        )


def test_names_of_a_scene_are_what_a_reader_is_told():
    scene = drawn(3, split="train", seed=0)
    names, covers = named(scene, 8)
    told = torch.from_numpy(names_of(scene))
    assert torch.equal(told[:, 0].long(), names[:, 0])
    assert torch.equal(told[:, 1:].long(), covers)
