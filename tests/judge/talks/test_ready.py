"""What a person brings: conversations, twins, pictures and labels; every wrong row says why."""

import json

import numpy as np
import pytest

from polymodal.envs.cards import Scene, Thing
from polymodal.judge.talks import lines, merged, people, pictures, ready, turns_of
from polymodal.media import Image, Invalid, Sample

TILE = Scene((Thing("star", "red"),)).image()


def write(path, *rows):
    path.write_text(
        "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8"
    )
    return path


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.png").write_bytes(TILE.encoded())
    (tmp_path / "cut.png").write_bytes(TILE.encoded()[:60])
    return tmp_path


def test_a_conversation_with_its_twin(folder):
    row = {
        "id": "x",
        "turns": ["a", "<img_turn> b"],
        "image": "a.png",
        "target": "p",
        "port": "c",
        "seed": "d",
    }
    twin = {"id": "y", "turns": ["e", "f"], "tags": {"twin_of": "x"}}
    (one,) = ready(write(folder / "samples.jsonl", row, twin), folder)
    assert [t.read() for t in turns_of(one)] == ["a", "b"]
    assert [t.read() for t in turns_of(one, "twin")] == ["e", "f"]
    assert one.tags == {"policy": "p", "harm": "p", "image_turn": 2}
    assert one.group == TILE.digest()
    assert {"seed", "port", "image"} <= set(one.parts)


def test_group_and_image_turn_as_given(folder):
    row = {
        "id": "x",
        "group": "g",
        "turns": ["a", "b"],
        "image": "a.png",
        "image_turn": 2,
        "tags": {"harm": "h"},
    }
    (one,) = ready(write(folder / "samples.jsonl", row), folder)
    assert (one.group, one.tags["image_turn"], one.tags["harm"]) == ("g", 2, "h")
    (plain,) = ready(write(folder / "samples.jsonl", {"id": "x", "turns": ["a"]}), folder)
    assert (plain.group, plain.tags["image_turn"]) == ("x", 0)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("no json", "schema"),
        ({"id": "x", "turns": "a"}, "schema"),
        ({"id": "x", "turns": []}, "schema"),
        ({"id": "x", "turns": ["a", " "]}, "schema"),
        ({"id": "x", "turns": ["a"] * 101}, "schema"),
        ({"id": "x", "turns": ["<img_turn>a", "<img_turn>b"], "image": "a.png"}, "schema"),
        ({"id": "x", "turns": ["a"], "image": "a.png", "image_turn": 2}, "schema"),
        ({"id": "x", "turns": ["a"], "image": "gone.png"}, "missing"),
        ({"id": "x", "turns": ["a"], "image": "cut.png"}, "broken"),
    ],
)
def test_wrong_rows_are_named(folder, row, reason):
    (one,) = ready(write(folder / "samples.jsonl", row), folder)
    assert isinstance(one, Invalid)
    assert one.reason == reason
    assert one.where == "samples.jsonl:1"


def test_a_giant_picture_is_refused_before_it_is_decoded(folder):
    data = bytearray(TILE.encoded())
    data[16:24] = (30_000).to_bytes(4) * 2
    (folder / "giant.png").write_bytes(bytes(data))
    (one,) = ready(write(folder / "samples.jsonl", {"id": "x", "turns": ["a"], "image": "giant.png"}), folder)
    assert one.reason in ("too_large", "broken")


def test_pictures_with_words(folder):
    (folder / "cut.png").unlink()
    (folder / "red_star.png").write_bytes(TILE.encoded())
    named = {one.tags["title"]: one.tags["words"] for one in pictures(folder)}
    assert named == {"a": "a", "red_star": "red star"}
    write(folder / "metadata.jsonl", {"file": "a.png", "title": "A Star!", "tags": ["red", "one"]})
    (one,) = pictures(folder)
    assert one.tags["words"] == "a star red one"
    assert isinstance(one.parts["image"], Image)


def test_near_duplicates_are_one_group():
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, 255, (64, 64, 3), np.uint8) for _ in range(2))
    near = a.copy()
    near[0, 0] = 255 - near[0, 0]
    found = merged(
        [Sample(str(k), {"image": Image(x)}, group=Image(x).digest()) for k, x in enumerate((a, b, near))]
    )
    assert found[0].group == found[2].group != found[1].group
    assert merged([Sample("t", {}, group="g")])[0].group == "g"


def test_labels_by_people(folder):
    row = {"case": "s|i|mt", "rater": "r", "score": "defect", "value": 1}
    found = people(write(folder / "labels.jsonl", row))
    assert found.pivot("defect", variant="mt").values.tolist() == [[1.0]]
    with pytest.raises(ValueError, match="a case is"):
        people(write(folder / "labels.jsonl", {**row, "case": "7"}))
    with pytest.raises(ValueError, match="2: no rater"):
        lines(write(folder / "labels.jsonl", row, {"case": "a|b|c"}), ("case", "rater"))
