"""Folders with some bytes replaced: whole or absent, resumed after kill −9, never a byte apart."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.nn.weights.models import cast, family, llava, renamed, saved

from polymodal.nn.weights import METHODS, Plan, Recipe, WeightsError, plan
from polymodal.runs import checkpoints
from polymodal.runs.checkpoints import write_checkpoint

OLD = "language_model.model."


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    base, own, other = (cast(state, torch.bfloat16) for state in family())
    target = llava(tmp_path / "vlm", renamed(own, "model.", OLD), shards=3)
    (target / "tokenizer.json").write_text("{}")
    (target / "extra").mkdir()
    (target / "extra" / "note.txt").write_text("kept")
    return [target, saved(tmp_path / "llm", other), saved(tmp_path / "base", base, shards=2)]


def made(folders: list[Path], method: str = "linear", weight: float = 0.7, **words: Any) -> Plan:
    return plan(folders[0], folders[1:2], Recipe(method, (weight,), swap=0, **words), base=folders[2])


def content(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("method", METHODS)
def test_threads_and_chunks_change_no_byte(folders: list[Path], tmp_path: Path, method: str) -> None:
    found = made(folders, method)
    ways = [(1, 1024), (2, 8 << 20), (2, 1024)]
    outs = [write_checkpoint(found, tmp_path / f"o{i}", threads=t, chunk=c) for i, (t, c) in enumerate(ways)]
    first, *others = (content(out) for out in outs)
    assert all(other == first for other in others)
    before = content(folders[0])
    assert first.keys() == {*before, "merge.json"}
    assert all(first[n] == b for n, b in before.items() if not n.endswith(".safetensors"))
    assert json.loads(first["merge.json"])["recipe"]["method"] == method
    assert not list(tmp_path.glob(".*"))


def test_weight_one_is_a_copy_to_the_bit(folders: list[Path], tmp_path: Path) -> None:
    out = write_checkpoint(made(folders, weight=1.0), tmp_path / "out")
    assert content(out) == content(folders[0]) | {"merge.json": (out / "merge.json").read_bytes()}


SCRIPT = """
import os, signal, sys
from pathlib import Path
from polymodal.nn.weights import Recipe, plan
from polymodal.runs.checkpoints import write_checkpoint
found = plan(sys.argv[1], [sys.argv[2]], Recipe(sys.argv[5], (0.7,)), base=sys.argv[3])
out, at = Path(sys.argv[4]), int(sys.argv[6])
journal = out.with_name(f".{out.name}.merging") / "journal.jsonl"
class Deadly:
    def __init__(self, job): self.name, self.ranges, self._run = job.name, job.ranges, job.run
    def run(self):
        for piece in self._run():
            yield piece
            while journal.read_text().count('"done": "layers') < at - 1: pass
            os.kill(os.getpid(), signal.SIGKILL)
class Killed:
    def __getattr__(self, name): return getattr(found, name)
    def jobs(self, chunk):
        jobs = found.jobs(chunk)
        return [*jobs[:at], Deadly(jobs[at]), *jobs[at + 1:]]
write_checkpoint(Killed(), out, chunk=256, threads=1)
"""


@pytest.mark.parametrize(("method", "at"), [("linear", 4), ("ties_count", 20)])
def test_killed_in_mid_merge_it_goes_on_to_the_same_bytes(
    folders: list[Path], tmp_path: Path, method: str, at: int
) -> None:
    out = tmp_path / "out"
    words = [sys.executable, "-c", SCRIPT, *map(str, [*folders, out]), method, str(at)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not out.exists()
    found = plan(folders[0], folders[1:2], Recipe(method, (0.7,)), base=folders[2])
    worked = []
    write_checkpoint(found, out, watch=lambda name, n, of: worked.append((name, n, of)))
    assert len(worked) <= len(found.merges) - at + 1
    assert worked[-1][1:] == (len(found.merges), len(found.merges))
    assert content(out) == content(write_checkpoint(found, tmp_path / "whole"))


def test_a_full_disk_leaves_no_folder_and_is_gone_on_from(
    folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, left, write = made(folders), [5], os.pwrite

    def full(handle: int, data: memoryview, offset: int) -> int:
        if not left[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        left[0] -= 1
        return write(handle, data[: max(1, len(data) // 2)], offset)  # a short write is legal

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(OSError, match="No space left"):
            write_checkpoint(found, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert content(write_checkpoint(found, tmp_path / "out")) == content(
        write_checkpoint(found, tmp_path / "o")
    )


def test_a_disk_that_is_too_small_is_refused_first(
    folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10}))
    with pytest.raises(OSError, match="10 are free"):
        write_checkpoint(made(folders), tmp_path / "out")
    assert not list(tmp_path.glob(".*"))


def test_a_journal_that_cannot_be_written_is_an_error(
    folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(handle: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    write_checkpoint(made(folders), tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(
            checkpoints._Keeper, "run", lambda self: setattr(self, "error", OSError("Input/output error"))
        )
        with pytest.raises(OSError, match="Input/output"):
            write_checkpoint(made(folders), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(os, "fdatasync", broken)
    with pytest.raises(OSError, match="Input/output"):
        write_checkpoint(made(folders), tmp_path / "other")


def test_bad_numbers_leave_nothing(folders: list[Path], tmp_path: Path) -> None:
    _, _, other = family()
    other["model.layers.2.mlp.up_proj.weight"][0, 0] = float("nan")
    bad = [folders[0], saved(tmp_path / "bad", other), folders[2]]
    with pytest.raises(WeightsError, match="1 NaN or infinite"):
        write_checkpoint(made(bad), tmp_path / "out")
    assert not list(tmp_path.glob(".*"))
    spared = write_checkpoint(made(bad, allow=("*.2.mlp.up*",)), tmp_path / "out")
    told = json.loads((spared / "merge.json").read_text())["spared"]
    assert list(told) == ["layers.2.mlp.up_proj.weight"]


def test_what_stands_in_the_way_is_said(folders: list[Path], tmp_path: Path) -> None:
    out = write_checkpoint(made(folders), tmp_path / "out")
    with pytest.raises(FileExistsError, match="exists already"):
        write_checkpoint(made(folders), out)
    with pytest.raises(ValueError, match="lies inside the target"):
        write_checkpoint(made(folders), folders[0] / "out")
    work = tmp_path / ".new.merging"
    work.mkdir()
    (work / "journal.jsonl").write_text('{"merge": "another"}\n{"done": "x", "no')
    with pytest.raises(ValueError, match="unfinished merge of other models or settings"):
        write_checkpoint(made(folders), tmp_path / "new")
    with checkpoints._locked(work / "lock"), pytest.raises(ValueError, match="another process"):
        write_checkpoint(made(folders), tmp_path / "new")


def test_refusals_write_nothing(folders: list[Path], tmp_path: Path) -> None:
    _, _, other = family()
    del other["model.norm.weight"]
    with pytest.raises(WeightsError, match="nothing was written"):
        write_checkpoint(made([folders[0], saved(tmp_path / "bad", other), folders[2]]), tmp_path / "out")
    assert not list(tmp_path.glob("*out*"))
    assert not list(tmp_path.glob(".*"))


def test_copies_where_the_system_has_no_shortcut(
    folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    want = content(write_checkpoint(made(folders), tmp_path / "a"))

    def none(*_: object) -> int:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    with monkeypatch.context() as patch:
        patch.setattr(os, "copy_file_range", none)
        assert content(write_checkpoint(made(folders), tmp_path / "b")) == want
        patch.setattr(os, "pread", lambda handle, n, offset: b"")
        with pytest.raises(OSError, match="became shorter"):
            write_checkpoint(made(folders), tmp_path / "c")

    def failing(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "copy_file_range", failing)
    with pytest.raises(OSError, match="Input/output"):
        write_checkpoint(made(folders), tmp_path / "d")


def test_shared_blocks_are_taken_where_the_disk_has_them(
    folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    want = content(write_checkpoint(made(folders), tmp_path / "a"))

    def clone(to: int, request: int, source: int) -> None:
        assert request == checkpoints.CLONE
        os.pwrite(to, os.pread(source, os.fstat(source).st_size, 0), 0)

    monkeypatch.setattr(checkpoints.fcntl, "ioctl", clone)
    assert content(write_checkpoint(made(folders), tmp_path / "b")) == want


def test_gaps_between_ranges() -> None:
    def between(taken: list[tuple[int, int]], size: int) -> Iterator[tuple[int, int]]:
        return checkpoints._between(taken, size)

    assert list(between([(4, 6), (0, 2), (6, 8)], 10)) == [(2, 4), (8, 10)]
    assert list(between([], 3)) == [(0, 3)]
    assert list(between([(0, 3)], 3)) == []
