"""Scenes as pictures, negatives that are false, batches, the three terms, resumed training."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from polymodal.envs.scenes import COLOURS
from polymodal.media import Image
from polymodal.nn.dual import Dual, hard_loss, info_nce, ragged, regional_loss, regions
from polymodal.nn.pocket import Tokens, shelf
from polymodal.systems.alignment.feeding import Deal, Fitting, Source, trained
from polymodal.systems.alignment.pictures import Option, Picture
from polymodal.systems.alignment.scoring import embedded, heat, scored
from polymodal.systems.fine_alignment import data, method

WORLD = data.World(n=40, test=6, val=4, signs=2, fewest=2, most=4)


@pytest.fixture(scope="module")
def dual():
    tokens = Tokens.from_folder(shelf.HOME / "pocket-clip")
    return Dual.pocket(tokens, dim=32, layers=2, heads=2, size=48, seed=1).stretched()


@pytest.fixture(scope="module")
def rows():
    return [WORLD.picture(i, "train0") for i in range(8)]


def test_a_world_from_text():
    assert data.World.of("scenes?n=5&signs=1", size=64) == data.World(n=5, signs=1, size=64)
    with pytest.raises(ValueError, match="no 'planets'"):
        data.World.of("scenes?planets=3")


def test_pictures_of_scenes(rows):
    assert rows[0].image.pixels().shape == (48, 48, 3)
    assert not [r for r in rows[0].regions if r.stratum == "sign"]  # every second scene has signs
    assert [r for r in rows[1].regions if r.stratum == "sign"]
    for picture in rows:
        assert picture.long
        assert len(picture.short) == 1
        true = {r.phrase for r in picture.regions}
        for region in picture.regions:
            texts = [option.text for option in region.hard()]
            assert len(texts) == len(set(texts)) == (10 if region.stratum == "sign" else 11)
            assert not true & set(texts)
            assert all("+" not in option.changed for option in region.hard())
    assert rows[0] != WORLD.picture(0, "train1")
    assert WORLD.picture(0, "train0").image.digest() == rows[0].image.digest()


def test_scored_scenes_have_all_sets_and_others_phrases():
    test = data.shown(WORLD, "test")
    assert len(test) == 6
    assert len(data.shown(WORLD, "val")) == 4
    region = test[0].regions[0]
    assert {k: len(v) for k, v in region.options.items()} == {
        "hard": 10,
        "medium": 10,
        "easy": 10,
        "trivial": 5,
    }
    assert {len(o.changed.split("+")) for o in region.options["easy"]} == {3}
    own = {r.phrase for r in test[0].regions}
    assert not own & {o.text for o in region.options["trivial"]}


def test_grey_scenes_have_no_colour_and_held_pairs_stay_out():
    grey = replace(WORLD, grey=1).picture(0, "test").image.pixels()
    assert (grey == grey[..., :1]).all()
    held = replace(WORLD, hold=1)
    pairs = held.pairs()
    assert len(pairs) == 8
    seen = {(o.shape, o.colour) for i in range(60) for o in held.scene(i, "train0").objects}
    assert not seen & pairs
    assert all((s.shape, s.colour) in pairs for s in (held.scene(i, "held").objects[0] for i in range(5)))
    assert {colour for _, colour in seen} == set(COLOURS)


def test_tokenizer_texts_know_every_caption_word():
    tokens = Tokens.from_folder(shelf.HOME / "pocket-clip")
    assert len(tokens) == 512
    said = " ".join(text for text in data.texts(5, 2))
    words = {word.strip(".,?:") for word in said.split()}
    spelt = [word for word in words if word and len(tokens.ids(word)) > 2]
    assert not spelt


def test_a_batch(dual, rows):
    terms = method.Terms(0.1, 0.5, regions=2, negatives=3)
    batch = method.gather(dual, terms, rows, (0, 0))
    assert batch.pixels.shape == (8, 3, 48, 48)
    assert len(batch.longs) == len(batch.shorts) == 8
    assert len(batch.index) == 16
    assert batch.counts.tolist() == [3] * 16
    assert len(batch.texts) == 16 + 48
    again = method.gather(dual, terms, rows, (0, 0))
    assert torch.equal(batch.texts, again.texts)
    assert not torch.equal(batch.texts, method.gather(dual, terms, rows, (0, 1)).texts)
    turns = method.gather(dual, replace(terms, captions="turns"), rows, (0, 0))
    assert sorted(turns.longs.tolist() + turns.shorts.tolist()) == list(range(8))
    assert not len(method.gather(dual, replace(terms, captions="short"), rows, (0, 0)).longs)
    halves = method.gather(dual, replace(terms, captions="halves"), rows, (0, 0))
    assert halves.shorts.tolist() == turns.shorts.tolist()
    assert not len(halves.longs)
    assert not len(method.gather(dual, method.Terms(), rows, (0, 0)).index)
    assert Deal(lambda: batch).to("cpu").pixels is batch.pixels


def test_a_locked_text_tower_gives_the_same_vectors_once(dual, rows):
    batch = method.gather(dual, method.Terms(0.1, 0.5), rows, (0, 0))
    free, locked = method.Aligner(dual), method.Aligner(Dual(deepcopy(dual.net), dual.tokens).freeze("text"))
    first = locked.phrases(batch.texts)
    assert torch.allclose(first, free.phrases(batch.texts), atol=1e-6)
    assert torch.equal(first, locked.phrases(batch.texts))
    assert free.known == {}
    assert 0 < len(locked.known) <= len(batch.texts)
    loss = method.objective(method.Terms(0.1, 0.5))(locked, batch)
    loss.backward()
    grads = {name: x.grad is not None for name, x in locked.dual.net.named_parameters()}
    assert grads["visual_projection.weight"]
    assert not any(there for name, there in grads.items() if name.startswith("text_"))


def test_phrases_are_pushed_off_their_negatives_by_words_alone(dual, rows):
    module, terms = method.Aligner(dual), method.Terms(0.1, 0.5)
    batch = method.gather(dual, terms, rows, (0, 0))
    plain = method.objective(terms)(module, batch)
    more = method.objective(replace(terms, apart=True))(module, batch)
    texts = dual.text(batch.texts)
    phrases, flat = texts[: len(batch.index)], texts[len(batch.index) :]
    block, mask = ragged(flat, batch.counts)
    pushed = hard_loss(phrases, phrases, block, mask, module.hard())
    assert float((more - plain).detach()) == pytest.approx(0.5 * float(pushed.detach()), rel=1e-4)
    module.hard.zero_grad()
    (more - plain).backward()
    assert all(abs(float(x.grad or 0)) < 1e-5 for x in module.hard.parameters())


def test_controls_break_what_they_say(dual, rows):
    terms = method.Terms(0.1, 0.5, regions=2, negatives=3)
    plain = method.gather(dual, terms, rows, (0, 0))
    moved = method.gather(dual, replace(terms, boxes=True), rows, (0, 0))
    assert torch.equal(plain.texts, moved.texts)
    pairs = zip(plain.boxes.reshape(-1, 2, 4), moved.boxes.reshape(-1, 2, 4), strict=True)
    assert all(torch.equal(a.flip(0), b) for a, b in pairs)
    donated = method.gather(dual, replace(terms, donors=True), rows, (0, 0))
    assert torch.equal(plain.texts[:16], donated.texts[:16])
    assert not torch.equal(plain.texts[16:], donated.texts[16:])
    mine, theirs = ({tuple(row) for row in b.texts[16:].tolist()} for b in (plain, donated))
    assert mine == theirs


def test_attributes_take_turns():
    options = [Option(f"c{i}", "colour") for i in range(7)] + [Option("s", "size")]
    for seed in range(5):
        found = method.in_turn(options, 3, np.random.default_rng(seed))
        assert "s" in found
        assert len(set(found)) == 3
    assert method.in_turn(options, 20, np.random.default_rng(0)).__len__() == 8
    assert method.in_turn(options, 0, np.random.default_rng(0)) == []


def test_the_objective_is_its_three_terms_by_hand(dual, rows):
    terms = method.Terms(0.1, 0.5, regions=2, negatives=3)
    module = method.Aligner(dual)
    batch = method.gather(dual, terms, rows, (0, 0))
    with torch.no_grad():
        found = method.objective(terms)(module, batch)
        v, maps = dual.image(batch.pixels), dual.dense(batch.pixels)
        whole = info_nce(v, dual.text(batch.long, long=True), dual.scale)
        whole = whole + info_nce(v, dual.text(batch.short), dual.scale)
        r = regions(maps, batch.boxes, batch.index)
        p, n = dual.text(batch.texts[:16]), dual.text(batch.texts[16:]).reshape(16, 3, -1)
        local = regional_loss(r, p, module.regional())
        hard = hard_loss(r, p, n, torch.ones(16, 3, dtype=torch.bool), module.hard())
    assert float(found) == pytest.approx(float(whole + 0.1 * local + 0.5 * hard), abs=1e-5)


def test_a_loss_from_text():
    assert method.Terms.of("v1") == method.Terms()
    said = method.Terms.of("v1?captions=turns&preserve=.1")
    assert said == method.Terms(captions="turns", preserve=0.1)
    assert method.Terms.of("v2?margin=.5") == method.Terms(sequel=True, text=0.1, margin=0.5)
    for loss, message in (
        ("v7", "known: v1, v2"),
        ("v1?margin=1", "no 'margin'; known: captions, preserve"),
        ("v2?keep=1", "no 'keep'; known: captions, margin, preserve, text"),
        ("v1?captions=none", "known: both, turns"),
        ("v1?preserve=much", "much"),
    ):
        with pytest.raises(ValueError, match=message):
            method.Terms.of(loss)


def test_a_preserved_start_by_hand(dual, rows):
    terms = method.Terms(0.1, 0.5, preserve=2.0)
    batch = method.gather(dual, terms, rows, (0, 0))
    module, start = method.Aligner(Dual(deepcopy(dual.net), dual.tokens)), method.frozen(dual)
    plain = method.objective(replace(terms, preserve=0.0), start)
    same = method.objective(terms, start)(module, batch) - plain(module, batch)
    assert float(same.detach()) == pytest.approx(0, abs=1e-5)
    with torch.no_grad():
        module.dual.net.visual_projection.weight += 0.05 * torch.randn_like(dual.net.visual_projection.weight)
        now, was = module.dual.image(batch.pixels), start.image(batch.pixels)
    expected = sum(1 - float(a @ b) for a, b in zip(now, was, strict=True)) / len(now)
    found = method.objective(terms, start)(module, batch) - plain(module, batch)
    assert expected > 1e-4
    assert float(found.detach()) == pytest.approx(2 * expected, rel=1e-3)
    found.backward()
    assert all(x.grad is None for x in start.parameters())
    assert torch.equal(method.objective(terms)(module, batch), plain(module, batch))  # no start


def test_the_sequel_s_objective_by_hand_over_two_steps(dual, rows):
    terms = replace(method.Terms.of("v2"), regional=0.1, hard=0.5, regions=2, negatives=3)
    module = method.Aligner(dual, sequel=True)
    batch = method.gather(dual, terms, rows, (0, 0))
    with torch.no_grad():
        v, maps = dual.image(batch.pixels), dual.dense(batch.pixels)
        captions = dual.text(batch.long, long=True), dual.text(batch.short)
        bias = -(dual.scale * v @ captions[0].T).logsumexp(1).mean()  # of the first pairs that it meets
        whole = sum(slow_sigmoid(dual.scale * v @ t.T + bias) for t in captions)
        r, p = regions(maps, batch.boxes, batch.index), dual.text(batch.texts[:16])
        n = dual.text(batch.texts[16:]).reshape(16, 3, -1)
        local = regional_loss(r, p, module.regional())
        hard = hard_loss(r, p, n, torch.ones(16, 3, dtype=torch.bool), module.hard())
        apart = slow_apart(p, float(module.hard()))
        lead = torch.stack([r[k] @ p[k] - r[k] @ n[k, m] for k in range(16) for m in range(3)])
        expected = whole + 0.1 * local + 0.5 * hard + 0.1 * apart
        for ahead in (torch.tensor(0.0), lead.mean()):  # no step before; then that step's margin
            found = method.objective(terms)(module, batch)
            by_hand = expected + 0.4 * (ahead - lead).clamp(min=0).mean()
            assert float(found) == pytest.approx(float(by_hand), rel=1e-4)
    assert float(module.bias.detach()) == pytest.approx(float(bias), abs=1e-5)
    assert {"bias", "ahead"} < module.state_dict().keys()
    assert not {"bias", "ahead"} & method.Aligner(dual).state_dict().keys()


def slow_sigmoid(logits):
    n = len(logits)
    return sum(
        (1 + (-logits[i, j] * (1 if i == j else -1)).exp()).log() for i in range(n) for j in range(n)
    ) / n  # fmt: skip


def slow_apart(texts, scale):
    """The mean of log Σ e^{σ cosine} over the ten nearest, none nearer than .95, where there are any."""
    each = []
    for i, one in enumerate(texts):
        near = sorted(float(one @ t) for k, t in enumerate(texts) if k != i and float(one @ t) <= 0.95)
        if near:
            each.append(np.log(np.exp(scale * np.array(near[-10:])).sum()))
    return float(np.mean(each)) if each else 0.0


def test_a_model_with_a_bias_keeps_its_own(dual):
    class Biased(Dual):
        bias = torch.tensor(-3.0)

    module = method.Aligner(Biased(dual.net, dual.tokens), sequel=True)
    assert module.bias is None
    a, b = (torch.nn.functional.normalize(torch.randn(4, 5), dim=-1) for _ in range(2))
    with torch.no_grad():
        expected = slow_sigmoid(dual.scale * a @ b.T - 3)
        assert float(module.matched(a, b)) == pytest.approx(float(expected), rel=1e-4)


def test_terms_without_their_texts_are_left_out(dual):
    bare = [Picture(str(i), str(i), Image(np.full((48, 48, 3), i, np.uint8)), short=("x",)) for i in range(3)]
    batch = method.gather(dual, method.Terms(0.1, 0.5), bare, (0,))
    loss = method.objective(method.Terms(0.1, 0.5))(method.Aligner(dual), batch)
    assert torch.isfinite(loss)
    assert float(loss.detach()) > 0


def test_both_paths_agree_on_short_texts_before_training(dual):
    texts = ["a photo of a red star", "the small dotted blue ring in the middle"]
    assert np.allclose(embedded(dual, texts), embedded(dual, texts, long=True), atol=1e-6)
    long = ["a red star. " * 40]
    assert not np.allclose(embedded(dual, long), embedded(dual, long, long=True), atol=1e-3)


def test_a_training_that_stops_goes_on_to_the_same_numbers():
    tokens = Tokens.from_folder(shelf.HOME / "pocket-clip")
    terms = method.Terms(0.1, 0.5, regions=1, negatives=2)
    feed = data.drawn(WORLD, seed=0)

    def net():
        return method.Aligner(Dual.pocket(tokens, dim=16, layers=1, heads=2, size=48, seed=0).stretched())

    def go(module, **options):
        def gather(pictures, draw):
            return method.gather(module.dual, terms, pictures, draw)

        return trained(module, method.objective(terms), feed, gather, Fitting(6, batch=8), seed=3, **options)

    whole = go(net())
    half = go(net(), until=3)
    rest = go(net(), state=half["state"])
    assert half["curve"][-1]["step"] == 3
    assert all(np.array_equal(whole["weights"][k], rest["weights"][k]) for k in whole["weights"])
    assert whole["curve"][-1] == rest["curve"][-1]


def test_epochs_are_whole_and_differ():
    source = Source(10, lambda i: i)
    first = list(source.epoch(0, 4, seed=0))
    assert [len(rows) for rows in first] == [4, 4]
    assert len({i for rows in first for i in rows}) == 8
    assert first == list(source.epoch(0, 4, seed=0))
    assert first != list(source.epoch(1, 4, seed=0))
    assert [len(rows) for rows in Source(3, lambda i: i).epoch(0, 8, seed=0)] == [3]


def test_scores_are_cosines_in_the_order_of_regions(dual):
    test = data.shown(WORLD, "test")
    found = scored(dual.eval(), test, ["circle", "square"])
    flat = [(i, region) for i, one in enumerate(test) for region in one.regions]
    assert len(found.own) == len(flat)
    assert found.classes.shape == (len(flat), 2)
    k = len(flat) - 1
    i, region = flat[k]
    with torch.no_grad():
        maps = dual.dense(dual.prepare([test[i].image.pixels()]))
        vector = regions(maps, torch.tensor([region.box]), torch.zeros(1, dtype=torch.long))[0].numpy()
    name = next(name for name, options in region.options.items() if options)
    texts = [region.phrase, *(o.text for o in region.options[name])]
    expected = embedded(dual, texts) @ vector
    assert found.own[k] == pytest.approx(expected[0], abs=1e-5)
    assert found.rivals[name][k] == pytest.approx(expected[1:], abs=1e-5)
    empty = (
        next(key for key in found.rivals if key not in region.options)
        if len(found.rivals) > len(region.options)
        else name
    )
    assert len(found.rivals[empty][k]) == len(region.options.get(empty, ()))
    warm = heat(dual, test[0].image, "the red star")
    assert warm.pixels().shape == test[0].image.pixels().shape
    assert scored(dual, [replace(test[0], regions=())]).own.shape == (0,)
