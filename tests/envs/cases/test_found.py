"""Any set of cases by its path: layouts, tables, samples, and `polymodal data check`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.envs.cases.test_osce import OSCE
from tests.envs.cases.test_osce import lines as osce_lines
from tests.envs.cases.test_pictured import made_pad, made_ptbxl, made_scin
from tests.envs.cases.test_releases import FLU, SETS, made
from tests.envs.cases.test_saved import file, written

from polymodal.envs import cases
from polymodal.envs.clinic import Case
from polymodal.media import Image, MediaError, Sample
from polymodal.systems import sources

ROWS: list[dict[str, Any]] = [
    {"id": "1", "split": "train", "diagnosis": "A", "initial": "ache", "artefacts": {"lesion": "x.png"}},
    {"id": "2", "split": "test", "diagnosis": "B", "initial": "ache", "findings": {"ache": False}},
    {"id": "3"},
]


def lines(path: Path) -> Path:
    (path / "cases.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    return path


def ids(path: Path, split: str = "") -> list[str]:
    return [one.id for one in cases.read(path, split) if isinstance(one, Case)]


def test_cases_with_and_without_a_clinic(tmp_path: Path) -> None:
    assert cases.detect(lines(tmp_path)) == "cases"
    assert (ids(tmp_path), ids(tmp_path / "cases.jsonl", "test")) == (["1", "2"], ["2"])
    learned = cases.tables(tmp_path)
    assert learned is not None
    assert [(one.name, one.prior) for one in learned.diseases] == [("A", 1.0)]  # of the train split alone
    written(tmp_path, file())
    clinic = cases.tables(tmp_path)
    assert clinic is not None
    assert clinic.index("bee") == 1
    sample, *_ = cases.samples(tmp_path)
    assert isinstance(sample, Sample)
    assert {name: type(part) for name, part in sample.parts.items()} == {"lesion": Image}
    assert (sample.target, sample.tags) == ("A", {"split": "train", "history": "ache ache: yes"})


def test_published_sets(tmp_path: Path) -> None:
    for name in ("goals", "osce", "ddx"):
        (tmp_path / name).mkdir()
    (tmp_path / "goals" / "goal_set.json").write_text(json.dumps(SETS))
    osce_lines(tmp_path / "osce", {"OSCE_Examination": OSCE})
    made(tmp_path / "ddx", FLU)
    assert [cases.detect(tmp_path / name) for name in ("goals", "osce", "ddx")] == [
        "goals",
        "agentclinic",
        "ddxplus",
    ]
    assert cases.detect(tmp_path / "goals" / "goal_set.json") == "goals"
    assert [ids(tmp_path / name) for name in ("goals", "osce", "ddx")] == [["train-0"], ["x-1"], ["train-0"]]
    assert cases.tables(tmp_path / "osce") is None
    clinics = [cases.tables(tmp_path / name) for name in ("goals", "ddx")]
    assert [len(one.diseases) for one in clinics if one] == [1, 2]
    (tmp_path / "goals" / "goal_set.json").rename(tmp_path / "goals" / "goal_set.p")
    with pytest.raises(MediaError, match="a pickle"):
        list(cases.read(tmp_path / "goals"))


@pytest.mark.parametrize(("make", "n"), [(lines, 2), (made_scin, 4), (made_ptbxl, 2), (made_pad, 2)])
def test_data_check_knows_them(make: Any, n: int, tmp_path: Path) -> None:
    findings, summary = sources.check(make(tmp_path), quick=True)
    assert summary.n == n
    assert "broken media" not in {one.kind for one in findings}


def test_what_is_unknown_is_said(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ValueError, match=r"no cases \(found notes\.txt\)[\s\S]*DDXPlus"):
        cases.detect(tmp_path)
    with pytest.raises(ValueError, match=r"Known layouts:[\s\S]*IEMOCAP[\s\S]*DDXPlus[\s\S]*PTB-XL"):
        sources.read(tmp_path)
    with pytest.raises(FileNotFoundError):
        cases.detect(tmp_path / "none")


STORY = (
    "It began on a Monday, when I carried the coal up to my aunt, and it has been with me ever since then."
)


def errors(path: Path, *rows: dict[str, Any]) -> set[tuple[str, str]]:
    whole = [
        {"id": str(n), "split": ("train", "test")[n % 2], "diagnosis": "AB"[n // 2 % 2], "initial": "ache"}
        | row
        for n, row in enumerate(rows)
    ]
    whole += [{"id": f"v{d}", "split": "val", "diagnosis": d, "initial": f"own {d}"} for d in "AB"]
    (path / "cases.jsonl").write_text("\n".join(map(json.dumps, whole)))
    found, _ = sources.check(path, quick=True)
    return {(one.kind, one.where) for one in found if one.severity == "error"}


def test_the_same_complaint_is_no_leak_and_the_same_story_picture_or_case_is(tmp_path: Path) -> None:
    for n in range(5):
        shades = np.random.default_rng(n).integers(0, 255, (24, 24, 3)).astype(np.uint8)
        (tmp_path / f"{n}.png").write_bytes(Image(shades).encoded())
    apart = [
        {"findings": {f"f{n}": True}, "told": {"age": "Age 40."}, "artefacts": {"lesion": f"{n}.png"}}
        for n in range(4)
    ]
    assert errors(tmp_path, *apart) == set()
    assert errors(tmp_path, *[{"findings": {f"f{n}": True}} for n in range(4)]) == set()
    story = {"told": {"story": STORY}}
    assert errors(tmp_path, apart[0] | story, *apart[1:3], apart[3] | story) == {("shared part", "story")}
    shown = {"artefacts": {"nail": "4.png"}, "told": {"more": STORY}}
    other = shown | {"told": {"more": STORY[::-1]}}
    assert errors(tmp_path, shown, *apart[1:3], other) == {("shared part", "nail")}
    assert errors(tmp_path, apart[0], *apart[1:3], apart[0]) == {("duplicate", "sample")}
    same = {"findings": {"f": True}}
    assert errors(tmp_path, same, {}, {"initial": "itch"}, same) == {("duplicate", "sample")}
    long = {"findings": {f"a finding {n}": True for n in range(9)}}
    assert errors(tmp_path, long, {}, {"initial": "itch"}, long) == {("duplicate", "sample")}


def test_patients_of_a_release_share_complaints_and_are_no_leak(tmp_path: Path) -> None:
    made(tmp_path, *[(40 + n, *FLU[1:]) for n in range(3)], (1, "M", "Gout", *FLU[3:]))
    made(tmp_path, *[(60 + n, *FLU[1:]) for n in range(3)], split="test")
    findings, _ = sources.check(tmp_path, quick=True)
    assert [one for one in findings if one.severity == "error"] == []


def test_tables_alone_are_a_clinic_without_cases(tmp_path: Path) -> None:
    written(tmp_path, file())
    assert cases.detect(tmp_path) == cases.detect(tmp_path / "clinic.json") == "clinic"
    assert (ids(tmp_path), cases.given(tmp_path)) == ([], True)
    clinic = cases.tables(tmp_path / "clinic.json")
    assert clinic is not None
    size = f"tables: {len(clinic.diseases)} diseases, {len(clinic.findings)} findings, "
    assert cases.described(tmp_path).startswith(size)
    assert cases.described(lines(tmp_path)).startswith(size)
    (tmp_path / "clinic.json").write_text("{}")
    with pytest.raises(ValueError, match=r"clinic\.json: diseases are missing"):
        cases.described(tmp_path)
    (tmp_path / "clinic.json").unlink()
    assert cases.described(tmp_path) == ""
    (tmp_path / "cases.jsonl").unlink()
    assert cases.described(tmp_path) == ""
