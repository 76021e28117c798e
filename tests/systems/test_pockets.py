"""Pocket models: what their lessons hold and hold back, their questions, cards; the command still runs."""

import re
from collections import Counter

import numpy as np
import pytest
import torch

from polymodal.nn.pocket.shelf import HOME
from polymodal.systems import pockets, quiz
from polymodal.systems.pockets import HELD, SEEN, told_of

MADE = [name for name in pockets.COURSES if (HOME / name / "model.safetensors").is_file()]


def test_the_taught_pairs_are_thirty_per_cent_and_fixed():
    assert (len(SEEN), len(HELD)) == (77, 179)
    assert set(SEEN) | set(HELD) == {(a, b) for a in range(16) for b in range(16)}
    assert SEEN[:3] == pockets.pairs(held=False)[:3]


def numbers(text):
    return [int(word) for word in re.findall(r"\d+", text)]


@pytest.mark.parametrize("index", range(60))
def test_language_lessons_never_add_a_pair_that_is_held_back(index):
    one = told_of(index, "lm", split="train", seed=0)
    for asked, answer in one.lessons:
        if not one.scene and not one.prefix and not asked.startswith(("repeat", "describe")):
            a, b = numbers(asked)[:2]
            assert (a, b) in SEEN or (int(answer) == abs(a - b) and (b, a) in SEEN)
            assert int(answer) in (a + b, abs(a - b))


@pytest.mark.parametrize("index", range(3, 63, 6))
def test_pictures_with_two_signs_are_added_for_taught_pairs_only(index):
    one = told_of(index, "vlm", split="train", seed=0)
    left, right = (int(sign.text) for sign in sorted(one.scene.signs, key=lambda sign: (sign.x, sign.y)))
    sums = [answer for asked, answer in one.lessons if "sum" in asked or "add" in asked or "plus" in asked]
    assert bool(sums) == ((left, right) in SEEN)
    assert set(sums) <= {str(left + right)}
    assert dict(one.lessons)["which number is on the left sign?"] == str(left)


@pytest.mark.parametrize("index", range(0, 32, 4))
@pytest.mark.parametrize("stage", pockets.COUNTED)
def test_counts_are_right_and_no_number_crowds_out_the_others(stage, index):
    one = told_of(index, stage, split="train", seed=0)
    known = {word for words in pockets.VALUES.values() for word in words}
    for asked, said in one.lessons:
        words = re.findall(r"[a-z]+", asked.replace("crosses", "cross"))
        wanted = {word if word in known else word.removesuffix("s") for word in words} & known
        looks = [{o.size, o.texture, o.colour, o.shape} for o in one.scene.objects]
        assert int(said) == sum(wanted <= look for look in looks)
    told = Counter(said for _, said in one.lessons)
    assert max(told.values()) <= 2
    assert max(told["1"], told["2"]) <= 1


def test_questions_of_a_set_are_right_and_told_twice_for_one_picture():
    plain, worded = (quiz.items(name, 8, split="test", seed=0) for name in ("held-out sums", "text-dominant"))
    for one, two in zip(plain, worded, strict=True):
        left, right = (int(sign.text) for sign in one.scene.signs)
        assert (left, right) in HELD
        assert one.target == two.target == str(left + right)
        assert one.scene == two.scene
        assert numbers(two.prompt)[:2] == [left, right]
    assert all(item.scene is None for item in quiz.items("text problems", 5, split="test", seed=0))
    assert {item.id.split("-")[0] for item in quiz.items("perception", 10, split="test", seed=0)} == {
        "colour",
        "shape",
        "place",
        "sign",
        "count",
    }
    with pytest.raises(ValueError, match="no set 'sums'; known: perception"):
        quiz.items("sums", 1, split="test", seed=0)


@pytest.mark.parametrize("name", MADE)
def test_ten_steps_by_the_command_lose_what_the_card_says(name):
    text = (HOME / name / "README.md").read_text(encoding="utf-8")
    course = pockets.COURSES[name][0]
    said = re.search(rf"First losses of `{course.stage}`: (.*)", text)
    told = [float(loss) for loss in said[1].split(", ")]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert pockets.first_losses(name, 10, seed=0) == pytest.approx(told, abs=2e-2)
    finally:
        torch.set_num_threads(threads)


def test_a_permuted_donor_answers_alike_and_lies_elsewhere():
    ids = torch.arange(5, 25).view(1, 20)
    plain, mixed = pockets.sibling("pocket-reasoner"), pockets.sibling("permuted")
    with torch.no_grad():
        assert torch.allclose(plain(ids), mixed(ids), atol=1e-4)
    gates = [net.model.layers[0].mlp.gate_proj.weight.detach().flatten() for net in (plain, mixed)]
    assert abs(float(torch.nn.functional.cosine_similarity(*gates, dim=0))) < 0.2


def test_pocket_lm_adds_what_it_was_taught():
    hits = quiz.held_out(pockets.sibling("pocket-lm"), "pocket-lm", 30, seed=0)
    assert hits["reckoned"].mean() > 0.9
    assert hits["reckoned, other pairs"].mean() < 0.6
    assert np.isfinite(hits["told"]).all()
