import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from polymodal.runs.export import rows
from polymodal.runs.export.rows import copy, write_lines, write_rows

TYPES = {"name": "string", "x": "double", "n": "int64", "yes": "bool"}


def made(n: int) -> Iterator[dict[str, Any]]:
    for i in range(n):
        yield {"name": f"ü{i}", "x": i / 2, "n": i, "yes": bool(i % 2)}


def test_lines_come_back(tmp_path: Path) -> None:
    assert write_lines(tmp_path / "a.jsonl", made(3)) == 3
    lines = (tmp_path / "a.jsonl").read_bytes().decode("ascii").splitlines()
    assert [json.loads(line) for line in lines] == list(made(3))


def test_rows_come_back_a_batch_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "BATCH", 4)
    assert write_rows(tmp_path / "a.parquet", [*made(9), {"n": 9}], TYPES) == 10
    back = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert back == [*made(9), {"name": None, "x": None, "n": 9, "yes": None}]
    assert pq.ParquetFile(tmp_path / "a.parquet").num_row_groups == 3


def test_no_rows_make_a_file_with_its_columns(tmp_path: Path) -> None:
    assert write_rows(tmp_path / "a.parquet", [], TYPES) == 0
    assert pq.read_schema(tmp_path / "a.parquet").names == list(TYPES)


@pytest.mark.parametrize("bad", [{"name": 5}, {"x": "five"}])
def test_what_does_not_fit_leaves_nothing(bad: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises((TypeError, ValueError)):
        write_rows(tmp_path / "a.parquet", [bad], TYPES)
    with pytest.raises(ValueError, match=r"not JSON compliant|Out of range"):
        write_lines(tmp_path / "a.jsonl", [{"x": float("nan")}])
    assert not list(tmp_path.iterdir())


def test_a_copy_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    copy(tmp_path / "a", tmp_path / "deep" / "b")
    assert (tmp_path / "deep" / "b").read_bytes() == b"abc"
    with pytest.raises(FileNotFoundError):
        copy(tmp_path / "none", tmp_path / "c")
