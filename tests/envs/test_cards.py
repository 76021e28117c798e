import numpy as np
import pytest

from polymodal.envs.cards import COLOURS, GROUND, SHAPES, Scene, Thing

SHARES = {"circle": np.pi / 4, "square": 1.0, "triangle": 0.5}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("colour", COLOURS)
def test_a_thing_is_seen_where_it_is_in_its_colour(shape, colour):
    pixels = Scene((Thing(shape, colour, x=0.25, y=0.75, size=0.3),), size=60).image().pixels()
    assert tuple(pixels[45, 15]) == COLOURS[colour]
    assert (pixels[:30] == GROUND).all()
    assert (pixels[:, 30:] == GROUND).all()


@pytest.mark.parametrize("shape", SHARES)
def test_a_shape_covers_its_share_of_its_box(shape):
    pixels = Scene((Thing(shape, "red", size=0.8),), size=200).image().pixels()
    covered = (pixels == COLOURS["red"]).all(axis=2).sum() / (0.8 * 200) ** 2
    assert covered == pytest.approx(SHARES[shape], abs=0.03)


def test_a_star_has_five_points_inside_its_circle():
    pixels = Scene((Thing("star", "blue", size=0.8),), size=200).image().pixels()
    rows, columns = np.nonzero((pixels == COLOURS["blue"]).all(axis=2))
    angle = np.arctan2(columns - 99.5, 99.5 - rows)
    far = np.hypot(columns - 99.5, rows - 99.5) > 60
    points = np.unique(np.round(angle[far] / (2 * np.pi / 5)).astype(int) % 5)
    assert points.tolist() == [0, 1, 2, 3, 4]
    assert np.hypot(columns - 99.5, rows - 99.5).max() <= 81


def test_the_same_scene_is_the_same_bytes_and_another_is_not():
    scene = Scene((Thing("star", "yellow"),), sign="soup")
    again = Scene((Thing("star", "yellow"),), sign="soup")
    other = Scene((Thing("star", "yellow"),), sign="bread")
    assert scene.image().encoded() == again.image().encoded()
    assert scene.image().digest() != other.image().digest()
    assert scene.image().encoded().startswith(b"\x89PNG")
    assert scene.image().size() == (96, 96)


def test_later_things_stand_in_front():
    two = Scene((Thing("square", "red"), Thing("square", "green", size=0.2)), size=50).image().pixels()
    assert tuple(two[25, 25]) == COLOURS["green"]
    assert tuple(two[17, 17]) == COLOURS["red"]


def test_a_sign_stays_on_its_board_however_long_it_is():
    short = Scene(sign="eggs").image().pixels()
    long = Scene(sign="a sign of very many words\nand of two lines").image().pixels()
    for pixels in (short, long):
        dark = pixels.max(axis=2) < 100
        assert dark.any()
        assert not dark[:, 0].any()
        assert not dark[:, -1].any()
    assert (short[:50] == GROUND).all()


def test_no_sign_no_board():
    assert (Scene().image().pixels() == GROUND).all()


def test_what_cannot_be_drawn_is_refused_by_name():
    with pytest.raises(ValueError, match="pink circle"):
        Thing("circle", "pink")
    with pytest.raises(ValueError, match="ķ"):
        Scene(sign="ķekars").image()


def test_box():
    assert Thing("circle", "red", x=0.5, y=0.25, size=0.5).box() == (0.25, 0.0, 0.75, 0.5)
