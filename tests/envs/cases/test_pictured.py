"""SCIN, PTB-XL and PAD-UFES-20, from small made files in their formats."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polymodal.envs.cases.pictured import PAD, PTBXL, SCIN, SCIN_LABELS, pad, ptbxl, scin
from polymodal.media import Image, Invalid, Sample


def written(path: Path, columns: tuple[str, ...], *rows: tuple[Any, ...]) -> None:
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([columns, *rows])


def photo(path: Path, shade: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(Image(np.full((3, 4, 3), shade, np.uint8)).encoded())


def samples(rows: Any) -> list[Sample]:
    found = list(rows)
    assert all(isinstance(one, Sample) for one in found), found
    return found


def made_scin(path: Path) -> Path:
    for name, shade in (("a", 1), ("b", 2), ("b2", 2), ("c", 3), ("c2", 3), ("d", 4)):
        photo(path / "dataset" / "images" / f"{name}.png", shade)
    at = "dataset/images/{}.png".format
    written(
        path / "scin_cases.csv",
        SCIN,
        ("1", at("a"), at("b"), "", "FST3"),
        ("2", at("b2"), at("c"), "", ""),
        ("3", at("c2"), "", "", "FST1"),
        ("4", at("d"), at("gone"), "", ""),
        ("5", "", "", "", ""),
        ("6", at("d"), "", "", ""),
    )
    weights = [("1", "{'Eczema': 0.4, 'Acne': 0.6}"), ("2", "{}"), ("6", "open('x')")]
    written(path / "scin_labels.csv", SCIN_LABELS, *weights)
    return path


def test_scin_keeps_cases_that_share_a_picture_together(tmp_path: Path) -> None:
    one, two, three, four, *faults = scin(made_scin(tmp_path))
    good = samples([one, two, three, four])
    assert [(s.id, s.target, s.tags["tone"]) for s in good[:2]] == [("1", "Acne", "FST3"), ("2", None, "")]
    assert list(good[0].parts) == ["image", "image_2"]
    assert len({s.group for s in good[:3]}) == 1  # 1 and 2 share b, 2 and 3 share c
    assert good[3].group != good[0].group
    assert [(f.id, f.reason) for f in faults if isinstance(f, Invalid)] == [
        ("5", "missing"),
        ("6", "literal"),
    ]


def record(path: Path, name: str, format_: str = "16") -> None:
    path.mkdir(parents=True, exist_ok=True)
    lines = [
        f"{name} 2 100 100",
        *(f"{name}.dat {format_} 1000(5)/mV 16 5 0 0 0 {lead}" for lead in ("I", "II")),
    ]
    (path / f"{name}.hea").write_text("\n".join(lines))
    wave = np.full((100, 2), 5, "<i2")
    wave[50:, 1] = 1005  # lead II: 0 mV, then 1 mV
    (path / f"{name}.dat").write_bytes(wave.tobytes())


def made_ptbxl(path: Path) -> Path:
    record(path / "records100", "1_lr")
    record(path / "records100", "2_lr", "212")
    record(path / "records100", "3_lr")
    head = path / "records100" / "3_lr.hea"
    head.write_text(head.read_text().replace("2 100 100", "2 0.001 100"))  # a picture of 10 km
    rows = [
        (n, "7.0", codes, fold, f"records100/{file}", "x")
        for n, (codes, fold, file) in enumerate(
            [
                ("{'SR': 0.0, 'IMI': 80.0, 'AMI': 80.0}", 1, "1_lr"),
                ("{'SR': 1}", 9, "1_lr"),
                ("{'SR': 1}", 10, "2_lr"),
                ("{'SR': 1}", 10, "../../x"),
                ("{'SR': 1}", 10, "gone"),
                ("{'SR': 1}", "?", "1_lr"),
                ("{'SR': 1}", 1, "3_lr"),
            ]
        )
    ]
    written(path / "ptbxl_database.csv", PTBXL, *rows)
    return path


def test_ptbxl_is_drawn_at_its_scale(tmp_path: Path) -> None:
    found = list(ptbxl(made_ptbxl(tmp_path)))
    one, two = samples(found[:2])
    assert (one.target, one.group, one.tags) == ("IMI", "7", {"split": "train", "fold": "1"})
    assert two.tags["split"] == "val"
    image = one.parts["image"]
    assert isinstance(image, Image)
    pixels = image.pixels()
    assert pixels.shape == (160, 101, 3)  # 1 s is 25 mm of 4 pixels
    dark = (pixels < 60).all(2)
    middle = [np.flatnonzero(dark[:, x]).mean() for x in (20, 80)]
    assert middle[0] - middle[1] == pytest.approx(40, abs=1)  # 1 mV is 10 mm of 4 pixels
    assert [f.reason for f in found[2:] if isinstance(f, Invalid)] == [
        "unsupported",
        "path",
        "missing",
        "broken",
        "broken",
    ]
    written(tmp_path / "scp_statements.csv", ("", "diagnostic_class"), ("AMI", "MI"), ("SR", ""))
    one, two = samples(list(ptbxl(tmp_path))[:2])
    assert (one.target, two.target) == ("MI", None)


def made_pad(path: Path) -> Path:
    photo(path / "imgs_part_1" / "P_1.png", 5)
    written(path / "metadata.csv", PAD, ("P", "L", "P_1.png", "NEV", "2"), ("Q", "M", "../gone.png", "", ""))
    return path


def test_pad_groups_by_patient(tmp_path: Path) -> None:
    one, two = samples(pad(made_pad(tmp_path)))
    assert (one.target, one.group, one.tags) == ("NEV", "P", {"lesion": "L", "tone": "2"})
    assert str(one.parts["image"]) == f"Image({tmp_path / 'imgs_part_1' / 'P_1.png'})"
    assert (two.target, str(two.parts["image"])) == (None, f"Image({tmp_path / 'gone.png'})")


@pytest.mark.parametrize(
    ("reader", "file"), [(scin, "scin_cases.csv"), (ptbxl, "ptbxl_database.csv"), (pad, "metadata.csv")]
)
def test_a_column_that_is_not_there_is_named(reader: Any, file: str, tmp_path: Path) -> None:
    written(tmp_path / "scin_labels.csv", SCIN_LABELS)
    (tmp_path / file).write_text("patient_id,img,lesion_id\n1,2,3\n")
    with pytest.raises(ValueError, match=rf"{file}: no column .*; there are: patient_id, img, lesion_id"):
        list(reader(tmp_path))
