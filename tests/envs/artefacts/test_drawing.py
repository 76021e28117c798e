import numpy as np
import pytest

from polymodal.envs.artefacts import KINDS, SIZES, TONES, classes_of, draw
from polymodal.envs.artefacts.lesion import _inside
from polymodal.envs.artefacts.worn import worn

EVERY = [(one.kind, cls) for one in KINDS for cls in one.classes]


@pytest.mark.parametrize("kind", list(SIZES))
def test_the_same_words_draw_the_same_picture_and_others_another(kind):
    cls = classes_of(kind)[1]

    def bytes_of(**words):
        return draw(kind, cls, **{"seed": 3, **words}).image.pixels().tobytes()

    good, poor = bytes_of(), bytes_of(poor=True)
    assert bytes_of() == good
    assert bytes_of(poor=True) == poor
    assert len({good, poor, bytes_of(seed=4), bytes_of(split="test"), bytes_of(poor=True, take=1)}) == 5


@pytest.mark.parametrize(("kind", "cls"), EVERY)
def test_what_is_found_lies_within_the_picture(kind, cls):
    for poor in (False, True):
        drawn = draw(kind, cls, seed=1, poor=poor)
        width, height = SIZES[kind]
        assert drawn.image.pixels().shape == (height, width, 3)
        assert (drawn.kind, drawn.truth, drawn.poor) == (kind, cls, poor)
        assert len(drawn.boxes) == {"lesion": cls != "normal skin", "trace": 1, "page": 8}[kind]
        for left, top, right, bottom in drawn.boxes.values():
            assert 0 <= left < right <= width
            assert 0 <= top < bottom <= height
    assert set(drawn.tags) == ({"tone"} if kind == "lesion" else set())


def test_a_spot_is_as_much_darker_on_every_skin_in_the_same_place():
    takes = {tone: draw("lesion", "round uniform", seed=5, tone=tone) for tone in TONES}
    (box,) = {take.boxes["lesion"] for take in takes.values()}
    x, y = (box[0] + box[2]) // 2, (box[1] + box[3]) // 2
    steps = []
    for take in takes.values():
        grey = take.image.pixels().mean(2)
        steps.append(np.median(grey[:, :6]) - np.median(grey[y - 6 : y + 6, x - 6 : x + 6]))
    assert min(steps) > 35
    assert max(steps) - min(steps) < 12  # shading differs with the skin, the spot does not


def test_borders_are_round_or_swing_and_fills_even_or_patchy():
    def swing(irregular):
        found = []
        for seed in range(20):
            inside = _inside(irregular, np.random.default_rng(seed), 64, 64) > 0.5
            steps = ((1, 0), (-1, 0), (1, 1), (-1, 1))
            edge = inside & ~np.logical_and.reduce([np.roll(inside, by, axis) for by, axis in steps])
            y, x = np.nonzero(edge)
            reach = np.hypot(y - y.mean(), x - x.mean())
            found.append(reach.std() / reach.mean())
        return found

    assert max(swing(False)) < 0.08 < min(swing(True))

    def spread(cls, seed):
        drawn = draw("lesion", cls, seed=seed, tone="II")
        left, top, right, bottom = drawn.boxes["lesion"]
        y, x = (top + bottom) // 2, (left + right) // 2
        return drawn.image.pixels()[y - 8 : y + 8, x - 8 : x + 8].mean(2).std()

    even = [spread("round uniform", seed) for seed in range(20)]
    assert max(even) < 8 < np.median([spread("round patchy", seed) for seed in range(20)])


def test_a_worn_picture_takes_its_boxes_along():
    picture = np.zeros((80, 120, 3), np.uint8)
    picture[10:20, 90:110] = 255
    for seed in range(8):
        seen, boxes = worn(picture, {"patch": (90, 10, 110, 20)}, np.random.default_rng(seed))
        left, top, right, bottom = boxes["patch"]
        grey = seen.mean(2)
        assert grey[top:bottom, left:right].mean() > 2.5 * grey.mean()
        y, x = np.unravel_index(np.argsort(grey.ravel())[-60:], grey.shape)
        assert abs(np.median(y) - (top + bottom) / 2) < 3
        assert abs(np.median(x) - (left + right) / 2) < 3


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("scan", "normal"), "lesion, trace, page"),
        (("lesion", "oval"), "round patchy"),
        (("lesion", "round patchy", {"tone": "X"}), "VI"),
        (("lesion", "round patchy", {"size": (8, 64)}), "16 or more"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_what_can(words, told):
    kind, cls, *options = words
    with pytest.raises(ValueError, match=told):
        draw(kind, cls, seed=0, **(options[0] if options else {}))
