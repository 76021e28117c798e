"""FineHARD, FG-OVD, COCO, captions, our rows, NLVR's panels; rows that cannot be used; splits and leaks."""

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from polymodal.media import Image, Invalid, Sample
from polymodal.systems.alignment import annotated
from polymodal.systems.alignment.annotated import counted, parted, pictures, usable
from polymodal.systems.alignment.pictures import Picture
from polymodal.systems.fine_alignment.readers import read

NLVR = Path(__file__).parents[2] / "../shared/data/nlvr_dev"


def png(path, value=0, side=16):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(np.full((side, side, 3), value, np.uint8)).save(path)


def told(path):
    rows = list(pictures(path))
    return [r for r in rows if isinstance(r, Picture)], [r for r in rows if isinstance(r, Invalid)]


def jsonl(path, rows):
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")


def test_finehard(tmp_path):
    png(tmp_path / "images" / "1.png")
    negatives = {"0": "a blue star", "1": "A red star.", "2": "a green star"}
    boxes = [
        {"bbox": [0.1, 0.1, 0.5, 0.5, 0.9], "short_expr": "a red star", "short_expr_negs": negatives},
        {"bbox": [0.2, 0.2, 0.4, 0.4, 0.8], "long_expr": "a long phrase", "flag_short_neg": 0},
        {"bbox": [10, 20, 30, 40, 0.7], "short_expr": "in pixels"},
        {"short_expr": "no box"},
    ]
    row = {"f_path": "1.png", "caption": "Long.", "short_caption": "short", "bbox_info": boxes}
    (tmp_path / "part.json").write_text(json.dumps([row, {"caption": "no path"}, 3]), encoding="utf-8")
    kept, lost = told(tmp_path)
    assert len(kept) == 1
    assert (kept[0].long, kept[0].short) == ("Long.", ("short",))
    assert kept[0].image.size() == (16, 16)
    first, second = kept[0].regions
    assert [o.text for o in first.hard()] == ["a blue star", "a green star"]
    assert (second.phrase, second.hard()) == ("a long phrase", ())
    assert [one.where for one in lost] == [
        "part.json[0] region 2",
        "part.json[0] region 3",
        "part.json[1]",
        "part.json[2]",
    ]
    assert "divide x by the width" in lost[0].detail


def test_fgovd(tmp_path):
    png(tmp_path / "a.png")
    head = {"img_path": "a.png", "width": 200, "height": 100, "test_type": "hard"}
    rows = [
        head | {"bbox": [20, 10, 40, 50], "pos_expression": ["a dog"], "neg_expression": ["a cat", "a cow"]},
        {"img_path": "b.png", "bbox": [0, 0, 1, 1], "pos_expression": []},
        head | {"bbox": [0, 0, 100, 100], "pos_expression": ["a dog"], "neg_expression": ["a dog", "a fox"]},
    ]
    jsonl(tmp_path / "h.jsonl", rows)
    kept, lost = told(tmp_path / "h.jsonl")
    assert [one.id for one in kept] == ["a.png", "b.png"]
    first, second = kept[0].regions
    assert first.box == pytest.approx((0.1, 0.1, 0.3, 0.6))
    assert [o.text for o in first.options["hard"]] == ["a cat", "a cow"]
    assert [o.text for o in second.options["hard"]] == ["a dog", "a fox"]  # a tie, not dropped
    assert kept[0].split == "test"
    assert len(lost) == 1
    assert lost[0].where == "h.jsonl:2 region 0"


def test_retrieval(tmp_path):
    jsonl(tmp_path / "r.jsonl", [{"filename": "a.png", "caption": ["one", "two"]}, {"caption": ["x"]}])
    kept, lost = told(tmp_path)
    assert kept[0].short == ("one", "two")
    assert [one.where for one in lost] == ["r.jsonl:2"]
    jsonl(tmp_path / "r.jsonl", [{"filename": "a.png", "caption": "one"}, {"filename": "", "caption": []}])
    kept, lost = told(tmp_path)
    assert kept[0].short == ("one",)
    assert lost[0].detail == "no filename"


def test_coco(tmp_path):
    whole = {
        "images": [{"id": 1, "file_name": "a.png", "width": 100, "height": 50}],
        "categories": [{"id": 7, "name": "cat"}],
        "annotations": [
            {"image_id": 1, "category_id": 7, "bbox": [10, 10, 20, 20], "iscrowd": 0},
            {"image_id": 1, "category_id": 7, "bbox": [10, 10, 0, 20], "iscrowd": 0},
            {"image_id": 1, "category_id": 9, "bbox": [10, 10, 20, 20], "iscrowd": 0},
            {"image_id": 1, "category_id": 7, "bbox": [10, 10, 20, 20], "iscrowd": 1},
        ],
    }
    (tmp_path / "instances.json").write_text(json.dumps(whole), encoding="utf-8")
    kept, lost = told(tmp_path)
    (region,) = kept[0].regions
    assert (region.label, region.box) == ("cat", pytest.approx((0.1, 0.2, 0.3, 0.6)))
    assert len(lost) == 2


def test_our_rows(tmp_path):
    png(tmp_path / "a.png")
    boxes = [
        {"box": [0, 0, 0.5, 0.5], "phrase": "a dog", "negatives": ["a cat", ["a big dog", "size"]]},
        {"box": [0, 0, 0, 0.5], "phrase": "flat"},
    ]
    rows = [{"id": "a", "group": "g", "image": "a.png", "long": "L", "short": "S", "target": boxes}]
    rows += [{"id": "b", "target": []}]
    jsonl(tmp_path / "samples.jsonl", rows)
    kept, lost = told(tmp_path)
    assert [(o.text, o.changed) for o in kept[0].regions[0].hard()] == [("a cat", ""), ("a big dog", "size")]
    assert (kept[0].group, kept[0].long, kept[0].short) == ("g", "L", ("S",))
    assert [one.where for one in lost] == ["samples.jsonl:1 region 1", "samples.jsonl:2"]


def test_plain_captions(tmp_path):
    png(tmp_path / "a.png")
    rows = [{"id": "1", "image": "a.png", "text": "a dog"}, {"id": "2", "image": "a.png"}]
    jsonl(tmp_path / "samples.jsonl", rows)
    kept, lost = told(tmp_path)
    assert (kept[0].long, kept[0].short) == ("a dog", ("a dog",))
    assert lost[0].reason == "excluded"


def test_unknown_layouts_name_the_known(tmp_path):
    with pytest.raises(ValueError, match="FG-OVD"):
        pictures(tmp_path)
    with pytest.raises(FileNotFoundError):
        pictures(tmp_path / "none")
    (tmp_path / "x.json").write_text("[1, 2]", encoding="utf-8")
    with pytest.raises(ValueError, match="no known layout"):
        pictures(tmp_path)


def test_broken_pictures_are_counted_and_the_rest_goes_on(tmp_path):
    png(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    jsonl(tmp_path / "r.jsonl", [{"filename": f"{n}.png", "caption": [n]} for n in "abc"])
    kept, lost = usable(str(tmp_path))
    assert [one.id for one in kept] == ["a.png"]
    assert {one.id for one in lost} == {"b.png", "c.png"}
    rows = counted(lost)
    assert sum(row["n"] for row in rows) == 2
    assert all(row["first"] for row in rows)


def test_splits_and_leaks(tmp_path):
    for i in range(10):
        png(tmp_path / f"{i}.png", 20 * i)
    jsonl(tmp_path / "r.jsonl", [{"filename": f"{i}.png", "caption": [str(i)]} for i in range(10)])
    train, _ = parted(str(tmp_path), "train", whole=False, seed=0)
    test, _ = parted(str(tmp_path), "test", whole=False, seed=0)
    assert (len(train), len(test)) == (8, 2)
    assert not {one.id for one in train} & {one.id for one in test}
    assert len(parted(str(tmp_path), "test", whole=True, seed=0)[0]) == 10
    with pytest.raises(ValueError, match="no picture for train"):
        parted(str(tmp_path), "train", whole=True, seed=0)
    with pytest.raises(ValueError, match="give data"):
        parted("", "test", whole=True, seed=0)
    other = tmp_path / "leak"
    for i in range(10):
        png(other / f"{i}.png", 7)
    jsonl(other / "r.jsonl", [{"filename": f"{i}.png", "caption": [str(i)]} for i in range(10)])
    with pytest.raises(ValueError, match="leak"):
        parted(str(other), "test", whole=False, seed=0)


def test_samples_for_the_data_check(tmp_path):
    png(tmp_path / "a.png")
    jsonl(tmp_path / "r.jsonl", [{"filename": "a.png", "caption": ["one"]}])
    (sample,) = read(tmp_path)
    assert isinstance(sample, Sample)
    assert sample.parts["short"].read() == "one"


@pytest.mark.skipif(not NLVR.is_dir(), reason="shared/data/nlvr_dev is not here")
def test_nlvr_panels_are_real_regions():
    kept, lost = told(NLVR)
    regions = [region for one in kept for region in one.regions]
    assert not lost
    assert len(kept) == 3 * 989
    assert len(regions) == 8876
    assert len({region.label for region in regions}) == 27
    assert all(len(r.options["near"]) == 6 and len(r.options["all"]) == 26 for r in regions)
    common = [r for r in regions if r.label.startswith("a medium") and r.label.endswith("square")]
    assert len(common) / len(regions) == pytest.approx(0.62, abs=0.01)
    one = kept[0]
    assert one.image.size() == (100, 100)
    region = one.regions[0]
    left, top, right, bottom = (round(100 * x) for x in region.box)
    colour = one.image.pixels()[top:bottom, left:right].reshape(-1, 3)
    assert region.label == "a medium blue triangle"
    assert ((colour == (0, 0x99, 0xFF)).all(1)).mean() > 0.3
    assert {o.changed for o in region.options["near"]} == {"size", "colour", "shape"}
    assert isinstance(one.image, Image)
    assert len({one.group for one in kept}) < 400
    assert annotated.SIZES[20] == "medium"
