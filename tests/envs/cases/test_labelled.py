"""Pictures with their classes: what counts, on which side, in which size."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tests.envs.cases.test_pictured import made_pad, made_ptbxl

from polymodal.envs.cases.labelled import Labelled, dealt, decoded, enough, of_cases, of_set, size_of, told
from polymodal.media import Image


def one(
    i: int, split: str = "", *, group: str = "", kind: str = "nail", size: tuple[int, int] = (32, 32)
) -> Labelled:
    pixels = np.random.default_rng(i).integers(0, 255, (size[1], size[0], 3)).astype(np.uint8)
    return Labelled(Image(pixels), kind, "ab"[i % 2], None, group or str(i), split, "")


def groups(some: list[Labelled]) -> set[str]:
    return {x.group for x in some}


def test_groups_stand_on_one_side() -> None:
    some = [one(i, group=str(i // 4)) for i in range(80)]
    sides = dealt(some, seed=0)
    assert {name: len(side) for name, side in sides.items()} == {"train": 48, "val": 16, "test": 16}
    assert not groups(sides["train"]) & groups(sides["val"]) | groups(sides["test"]) & groups(sides["train"])
    assert dealt(some, seed=0) == sides
    assert dealt(some, seed=1) != sides
    whole = dealt([one(i, group="all") for i in range(9)], seed=0)
    assert {name: len(side) for name, side in whole.items()} == {"train": 9, "val": 0, "test": 0}


def test_the_data_sets_own_sides_are_kept() -> None:
    some = [one(i, ("train", "train", "train", "val", "test", "other")[i % 6]) for i in range(60)]
    assert {name: len(side) for name, side in dealt(some, seed=0).items()} == {
        "train": 30,
        "val": 10,
        "test": 10,
    }
    no_val = [x for x in some if x.split != "val"]
    assert {name: len(side) for name, side in dealt(no_val, seed=0).items()} == {
        "train": 24,
        "val": 6,
        "test": 10,
    }


def test_one_size_a_kind() -> None:
    assert size_of([one(0)]) == (64, 64)
    assert size_of([one(i, size=(80, 60)) for i in range(3)]) == (85, 64)
    assert size_of([one(i, size=(60, 80)) for i in range(3)]) == (64, 85)
    assert size_of([one(0, size=(900, 100))]) == (128, 16)
    assert size_of([one(0, kind="trace", size=(100, 400))]) == (96, 96)
    assert size_of([one(0, kind="trace", size=(900, 100))]) == (512, 96)


def test_what_cannot_be_seen_is_told_by_its_path(tmp_path: Path) -> None:
    gone = Labelled(Image(tmp_path / "gone.png"), "nail", "a", None, "g", "", "")
    flat = Labelled(Image(np.full((20, 20, 3), 9, np.uint8)), "nail", "a", None, "f", "", "")
    pixels, kept, lost = decoded([one(0), gone, flat], (16, 12))
    assert (pixels.shape, len(kept)) == ((1, 12, 16, 3), 1)
    assert [(x.reason, x.where) for x in lost] == [
        ("missing", str(tmp_path / "gone.png")),
        ("nothing to see", "<array>"),
    ]
    assert decoded([], (16, 12))[0].shape == (0, 12, 16, 3)


def test_only_labelled_pictures_of_train_count(tmp_path: Path) -> None:
    first = {"nail": ["a.png", {"path": "b.png", "class": "k"}]}
    second = {"nail": {"path": "c.png", "class": "k", "poor": True}}
    about = {"diagnosis": "A", "initial": "x"}
    rows = [
        about | {"id": "1", "split": "train", "artefacts": first},
        about | {"id": "2", "split": "test", "artefacts": second, "group": "G", "tags": {"tone": "II"}},
    ]
    (tmp_path / "cases.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert told(tmp_path) == {"nail": Counter(k=1)}
    one_, two = of_cases(tmp_path)
    assert (one_.truth, one_.poor, one_.group, one_.split) == ("k", None, "1", "train")
    assert (two.poor, two.group, two.split, two.tag) == (True, "G", "test", "II")
    assert enough({"k": 19, "m": 1})
    assert not any(enough(few) for few in ({"k": 20}, {"k": 18, "m": 1}, {"k": 20, "m": 0}))


def test_sets_of_pictures(tmp_path: Path) -> None:
    for name in "pe":
        (tmp_path / name).mkdir()
    some, lost, out = of_set(made_ptbxl(tmp_path / "e"))
    assert (some, len(lost), out["of a class with too few"]) == ([], 5, 2)
    some, _, out = of_set(made_pad(tmp_path / "p"))
    assert (some, out["without a class"], out["of a class with too few"]) == ([], 1, 1)
    with pytest.raises(ValueError, match="no perception set"):
        of_set(tmp_path)
