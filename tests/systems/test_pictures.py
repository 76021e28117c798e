"""Boxes that can be used and those that cannot; options apart; small regions; rows of JSON lines."""

import json

import numpy as np
import pytest

from polymodal.media import Image
from polymodal.systems.alignment.pictures import (
    Option,
    Picture,
    Region,
    broken,
    checked,
    distinct,
    lines,
    marked,
    plain,
)


@pytest.mark.parametrize(
    ("box", "sides", "kept"),
    [
        ((0.1, 0.2, 0.3, 0.4), (1, 1), (0.1, 0.2, 0.3, 0.4)),
        ((10, 20, 30, 40), (100, 200), (0.1, 0.1, 0.3, 0.2)),
        ((-0.1, 0.2, 0.3, 0.4), (1, 1), (0.0, 0.2, 0.3, 0.4)),
        ((0.5, 0.5, 1.4, 1.0), (1, 1), (0.5, 0.5, 1.0, 1.0)),
    ],
)
def test_a_box_is_kept_or_clipped(box, sides, kept):
    assert checked(box, "row 3", *sides) == pytest.approx(kept)


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ((0.3, 0.2, 0.1, 0.4), "inverted or has no area"),
        ((0.3, 0.2, 0.3, 0.4), "inverted or has no area"),
        ((0.9, 0.9, 1.4, 1.4), "more than half"),
        ((10, 20, 30, 40), "divide x by the width"),
        ((0.1, 0.2, 0.3), "four numbers"),
        ((0.1, 0.2, 0.3, float("nan")), "four numbers"),
        ((0.1, "0.2", 0.3, 0.4), "four numbers"),
    ],
)
def test_a_box_is_refused_by_name(box, words):
    with pytest.raises(ValueError, match="row 3") as error:
        checked(box, "row 3")
    assert words in str(error.value)


def test_options_that_say_the_same_are_dropped():
    told = [Option("A red  star."), Option("a blue star"), Option("a Blue star"), Option(" ")]
    assert [o.text for o in distinct("a red star", told)] == ["a blue star"]
    assert plain(" A  Red star. ") == "a red star"


def test_training_takes_hard_options_or_the_first():
    near, hard = (Option("near"),), (Option("hard"),)
    assert Region((0, 0, 1, 1), "x", {"near": near, "hard": hard}).hard() == hard
    assert Region((0, 0, 1, 1), "x", {"near": near}).hard() == near
    assert Region((0, 0, 1, 1), "x").hard() == ()


def picture(**fields):
    return Picture("a", "g", Image(np.zeros((8, 8, 3), np.uint8)), **fields)


def test_small_regions_are_marked():
    regions = (Region((0, 0, 0.05, 0.05), "tiny"), Region((0, 0, 0.5, 0.5), "not"))
    (found,) = marked([picture(regions=regions)], 1 / 8)
    assert [region.tiny for region in found.regions] == [True, False]
    plain = picture()
    assert list(marked([plain], 1 / 8)) == [plain]


def test_a_picture_as_a_sample():
    sample = picture(
        long="a long one", short=("short",), regions=(Region((0, 0, 1, 1), "x"),), split="val"
    ).sample()
    assert set(sample.parts) == {"image", "long", "short"}
    assert json.loads(sample.tags["regions"]) == [[0, 0, 1, 1, "x"]]
    assert sample.tags["split"] == "val"
    assert picture().sample().tags == {}


def test_lines_and_what_is_wrong_with_them(tmp_path):
    file = tmp_path / "x.jsonl"
    file.write_text('{"a": 1}\n\n[1]\n{"b"\n', encoding="utf-8")
    rows = list(lines(file))
    assert rows[0] == (1, {"a": 1})
    assert rows[1] == (3, "list where an object is due")
    assert rows[2][0] == 4
    assert rows[2][1].startswith("not JSON")
    assert broken("x:1", "no image").detail == "no image"
    assert broken("x:1", KeyError("a")).detail == "KeyError: 'a'"
