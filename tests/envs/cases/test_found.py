"""Any set of cases by its path: layouts, tables, samples, and `polymodal data check`."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.envs.cases.test_osce import OSCE
from tests.envs.cases.test_osce import lines as osce_lines
from tests.envs.cases.test_pictured import made_pad, made_ptbxl, made_scin
from tests.envs.cases.test_releases import FLU, SETS, made
from tests.envs.cases.test_saved import file, written

from polymodal.envs import cases
from polymodal.envs.clinic import Case
from polymodal.media import Image, MediaError, Sample, Text
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
    assert {name: type(part) for name, part in sample.parts.items()} == {
        "initial": Text,
        "findings": Text,
        "lesion": Image,
    }
    assert (sample.target, sample.tags) == ("A", {"split": "train"})


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
