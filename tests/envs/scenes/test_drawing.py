from dataclasses import replace
from hashlib import blake2b

import numpy as np
import pytest

from polymodal.envs.scenes import (
    COLOURS,
    SHAPES,
    SIZES,
    TEXTURES,
    Object,
    Scene,
    Sign,
    draw,
    moved,
    pixels,
    scene,
    video,
)

AREAS = {  # exact shares of the box; a star and a heart have no short form
    "circle": np.pi / 4, "square": 0.81, "triangle": 0.475, "diamond": 0.4,
    "cross": (2 * 1.96 * 0.68 - 0.68**2) / 4, "ring": np.pi * (1 - 0.22) / 4,
}  # fmt: skip
DIGESTS: dict[str, str] = {
    "plain 48": "ace864a956126996",
    "plain 64": "0bc3ddaa05b5e85b",
    "striped 48": "555992e47115a8a6",
    "striped 64": "7de52e141812319b",
    "dotted 48": "c6e0e46a892f46b8",
    "dotted 64": "6fdc0a73201f121c",
    "checked 48": "3937aeb0cbfd4eb2",
    "checked 64": "6b89d5b4ae9c8651",
    "scene 0": "edc025ca285a9c95",
    "scene 1": "c69936228389209a",
    "scene 2": "5b2fbc00e14541c5",
    "scene 3": "978ff72259b547f6",
    "signs 0": "51d7d3d15cdfa5e7",
    "signs 1": "3a1376ab7b9538de",
}


def table(size, texture):
    """All shapes in all colours in two rows, every other one small."""
    things = tuple(
        Object(shape, colour, ("large", "small")[k % 2], texture, (k % 4 + 0.5) / 4, 0.3 + 0.4 * (k // 4))
        for k, (shape, colour) in enumerate(zip(SHAPES, COLOURS, strict=True))
    )
    return Scene(things, size=size, key=(1, texture, size))


def masked(one):
    """The pixels with the plates of signs in black: letters are the font's and Pillow's."""
    seen = pixels(one)
    for sign in one.signs:
        x1, y1, x2, y2 = (round(edge * one.size) for edge in sign.box())
        seen[y1:y2, x1:x2] = 0
    return seen


def drawn():
    """The scenes of the table of digests."""
    named = {f"{texture} {size}": table(size, texture) for texture in TEXTURES for size in (48, 64)}
    named |= {f"scene {i}": scene(i, split="train", seed=0) for i in range(4)}
    return named | {f"signs {i}": scene(i, split="test", seed=1, signs=(2, 2), size=96) for i in range(2)}


@pytest.mark.parametrize("name", drawn())
def test_bytes_are_those_of_the_table(name):
    """Where this fails the world has changed: raise `VERSION`, and what was trained on it is out of date."""
    assert blake2b(masked(drawn()[name]).tobytes(), digest_size=8).hexdigest() == DIGESTS[name]


@pytest.mark.parametrize("shape", AREAS)
@pytest.mark.parametrize("size", SIZES)
def test_a_shape_covers_its_share_of_its_box(shape, size):
    seen = pixels(Scene((Object(shape, "white", size, "plain", 0.51, 0.48),), background=0, size=1000))
    x1, _, x2, _ = Object(shape, "white", size, "plain", 0.5, 0.5).box()
    covered = (seen[..., 1] > 120).sum() / ((x2 - x1) * 1000) ** 2
    assert covered == pytest.approx(AREAS[shape], rel=0.03)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("texture", TEXTURES)
def test_a_thing_is_seen_inside_its_box_only(shape, texture):
    thing = Object(shape, "yellow", "large", texture, 0.31, 0.62)
    seen = pixels(Scene((thing,), size=64)).astype(int)
    bright = seen[..., 0] - seen[..., 2] > 40  # yellow on grey
    rows, columns = np.nonzero(bright)
    x1, y1, x2, y2 = (edge * 64 for edge in thing.box())
    assert x1 - 1 <= columns.min()
    assert columns.max() <= x2
    assert y1 - 1 <= rows.min()
    assert rows.max() <= y2
    assert bright.sum() > 60


def test_textures_are_of_two_tones_and_plain_of_one():
    for texture, share in (("plain", 0.0), ("striped", 0.43), ("dotted", 0.2), ("checked", 0.5)):
        one = Object("square", "white", "large", texture, 0.5, 0.5)
        seen = pixels(Scene((one,), size=640, background=30))[250:390, 250:390, 0].astype(int)
        dark = ((seen > 90) & (seen < 150)).mean()
        assert dark == pytest.approx(share, abs=0.06)
        assert ((seen > 200) | ((seen > 90) & (seen < 150))).mean() > 0.9  # the rest are edges


def test_noise_and_jitter_are_of_the_size_they_should_be():
    ground = pixels(Scene((), background=40, size=200)).astype(float)
    assert ground.mean() == pytest.approx(40, abs=0.1)
    assert ground.std() == pytest.approx(4, abs=0.1)
    moves = []
    for i in range(200):
        one = Scene((Object("square", "red", "large", "plain", 0.5, 0.5),), size=64, key=(0, "x", i))
        moves.append(pixels(one)[26:38, 26:38].mean(axis=(0, 1)) - COLOURS["red"])
    assert np.abs(moves).max() < 14
    assert np.std(moves) == pytest.approx(np.sqrt((25**2 - 1) / 12), rel=0.08)


def test_signs_are_dark_on_light_and_all_differ():
    plates = []
    for n in range(32):
        one = Scene((), (Sign(str(n), 0.5, 0.5, 20 / 64, 14 / 64),), background=30)
        plate = pixels(one)[25:39, 22:42, 0].astype(int)
        assert plate[0].min() > 150
        assert plate[:, 0].min() > 150
        assert 0.05 < (plate < 110).mean() < 0.5
        height = np.nonzero((plate < 110).any(axis=1))[0]
        assert 9 <= height.max() - height.min() + 1 <= 13
        plates.append(plate)
    gaps = [np.abs(a - b).mean() for i, a in enumerate(plates) for b in plates[:i]]
    assert min(gaps) > 5
    word = Scene((), (Sign("stop", 0.5, 0.5, 36 / 64, 14 / 64),), background=30)
    assert (pixels(word)[25:39, 14:50, 0] < 110).mean() > 0.08


def test_a_picture_holds_the_pixels():
    one = scene(3, split="train", seed=0, signs=(1, 1))
    image = draw(one)
    assert image.encoded().startswith(b"\x89PNG")
    assert (image.pixels() == pixels(one)).all()
    assert draw(one).digest() == image.digest()
    assert (pixels(replace(one, key=(0, "train", 4))) != pixels(one)).any()


def test_a_video_moves_what_it_should():
    still = Scene(
        (
            Object("circle", "red", "large", "plain", 0.2, 0.3),
            Object("square", "blue", "small", "plain", 0.8, 0.8),
        ),
        size=64,
    )
    film = list(video(still, {0: (0.6, 0.0)}, 7, rate=6).frames())
    assert len(film) == 7
    assert film[-1].time == pytest.approx(1.0)
    for t, frame in enumerate(film):
        red = frame.pixels[..., 0].astype(int) - frame.pixels[..., 2] > 80
        assert np.nonzero(red)[1].mean() / 64 == pytest.approx(0.2 + 0.1 * t, abs=0.02)
        blue = frame.pixels[..., 2].astype(int) - frame.pixels[..., 0] > 80
        assert np.nonzero(blue)[1].mean() / 64 == pytest.approx(0.8, abs=0.02)
        true = pixels(moved(still, {0: (0.6, 0.0)}, t / 6), frame=t).astype(int)
        assert np.abs(frame.pixels - true).mean() < 4
    assert (pixels(still, frame=0) != pixels(still, frame=1)).any()


def test_motions_that_cannot_be_are_refused():
    still = Scene((Object("circle", "red", "large", "plain", 0.2, 0.3),))
    with pytest.raises(ValueError, match="object 0 would leave"):
        video(still, {0: (0.9, 0)}, 3)
    with pytest.raises(ValueError, match="frames=1"):
        video(still, {}, 1)
    with pytest.raises(IndexError):
        moved(still, {1: (0, 0)})
