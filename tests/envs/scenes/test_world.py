from collections import Counter
from itertools import combinations

import pytest
from scipy import stats

from polymodal.envs.scenes import (
    COLOURS,
    PLACES,
    SHAPES,
    CrowdedError,
    Object,
    Scene,
    Sign,
    Stream,
    arranged,
    place,
    scene,
)


def scenes(count, **options):
    return [scene(i, **({"split": "train", "seed": 0} | options)) for i in range(count)]


def test_a_scene_can_be_drawn_alone_and_two_splits_share_none():
    train = scenes(200)
    assert scene(137, split="train", seed=0) == train[137]
    everything = [*train, *scenes(200, split="test"), *scenes(200, seed=1)]
    assert len({s.objects for s in everything}) == len(everything)
    assert len({s.key for s in everything}) == len(everything)


@pytest.mark.parametrize("size", [48, 64, 101])
@pytest.mark.parametrize("signs", [(0, 0), (2, 2)])
def test_boxes_lie_inside_and_two_pixels_apart(size, signs):
    for one in scenes(60, size=size, signs=signs):
        boxes = [thing.box() for thing in (*one.objects, *one.signs)]
        assert all(-1e-9 <= edge <= 1 + 1e-9 for box in boxes for edge in box)
        for a, b in combinations(boxes, 2):
            gap = max(a[0] - b[2], b[0] - a[2], a[1] - b[3], b[1] - a[3]) * size
            assert gap >= 2 - 1e-9
        for sign in one.signs:
            assert (sign.box()[0] * size) % 1 == pytest.approx(0, abs=1e-6) or (
                sign.box()[0] * size
            ) % 1 == pytest.approx(1, abs=1e-6)


def test_attributes_are_drawn_alike():
    things = [thing for one in scenes(300) for thing in one.objects]
    for name, kinds in (("shape", 8), ("colour", 8), ("size", 2), ("texture", 4)):
        counts = Counter(getattr(thing, name) for thing in things)
        assert len(counts) == kinds
        assert stats.chisquare(list(counts.values())).pvalue > 0.001
    assert Counter(len(one.objects) for one in scenes(100)).keys() == {2, 3, 4, 5}
    grounds = [one.background for one in scenes(300)]
    assert (min(grounds), max(grounds)) == (25, 55)


def test_places_are_thirds():
    assert [place(x, y) for y in (0.1, 0.5, 0.9) for x in (0.1, 0.5, 0.9)] == list(PLACES)
    assert place(1.0, 1.0) == "bottom right"
    assert Object("star", "red", "small", "plain", 0.5, 0.2).place == "top"
    assert Sign("7", 0.2, 0.5, 0.3, 0.2).place == "left"


def test_pairs_that_are_held_out_are_in_no_scene_but_in_those_that_want_them():
    pairs = {("star", "red"), ("ring", "blue"), ("heart", "white")}
    for one in scenes(300, hold_out=pairs):
        assert not pairs & {(thing.shape, thing.colour) for thing in one.objects}
    held = scenes(100, hold_out=pairs, held=True)
    assert {(one.objects[0].shape, one.objects[0].colour) for one in held} == pairs


def test_colour_follows_shape_as_often_as_said():
    things = [thing for one in scenes(250, correlate=0.6) for thing in one.objects]
    cue = dict(zip(SHAPES, COLOURS, strict=True))
    follows = sum(thing.colour == cue[thing.shape] for thing in things)
    assert stats.binomtest(follows, len(things), 0.6 + 0.4 / 8).pvalue > 0.001
    assert all(thing.colour == cue[thing.shape] for one in scenes(30, correlate=1.0) for thing in one.objects)
    barred = scenes(60, correlate=1.0, hold_out={("circle", "red")})
    assert {t.colour for one in barred for t in one.objects if t.shape == "circle"} == {"green"}


def test_signs_say_numbers_or_words():
    said = Counter(sign.text for one in scenes(300, signs=(1, 2), n=(0, 2)) for sign in one.signs)
    assert set(said) == {str(n) for n in range(32)}
    words = scenes(20, signs=(1, 1), numbers=("stop", "exit"), n=(1, 1))
    assert {one.signs[0].text for one in words} == {"stop", "exit"}
    assert len({sign.width for one in scenes(30, signs=(1, 1)) for sign in one.signs}) == 1


def test_too_much_for_a_scene_is_an_error_and_not_fewer_objects():
    with pytest.raises(CrowdedError, match="no room for 12 objects and 2 signs on 64 x 64"):
        scene(0, split="train", seed=0, n=(12, 12), signs=(2, 2), sizes=("large",))
    assert issubclass(CrowdedError, ValueError)
    assert all(len(one.objects) == 5 for one in scenes(20, n=(5, 5), sizes=("large",)))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"shapes": ("blob",)}, "circle"),
        ({"colours": "red"}, "colours='red'"),
        ({"textures": ()}, "plain"),
        ({"n": (3, 2)}, r"n=\(3, 2\)"),
        ({"signs": (-1, 0)}, "signs"),
        ({"size": 8}, "32 to 1024"),
        ({"correlate": 1.5}, "no probability"),
        ({"hold_out": {("red", "star")}}, "shape and a colour"),
        ({"hold_out": {("star", colour) for colour in COLOURS}}, "every star"),
        ({"held": True}, "hold_out"),
        ({"numbers": (32,)}, "0 to 31"),
        ({"numbers": ("Stop!",)}, "letters"),
        ({"numbers": ()}, "numbers"),
    ],
)
def test_what_cannot_be_is_refused_by_name(options, told):
    with pytest.raises(ValueError, match=told):
        scene(0, **({"split": "train", "seed": 0} | options))


def test_given_things_are_arranged():
    looks = [("star", "red", "large", "plain"), ("ring", "blue", "small", "dotted")]
    one = arranged(looks, ["12", "stop"], stream=Stream(5, "here"), key=(0, "mine", 3), size=96)
    assert [(t.shape, t.colour, t.size, t.texture) for t in one.objects] == looks
    assert [sign.text for sign in one.signs] == ["12", "stop"]
    assert one.key == (0, "mine", 3)
    assert Scene(()).objects == ()
