"""A run killed at any moment, and resumed until it is done, ends in the bytes of one never killed."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def started(verb: str, place: Path, executor: str) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "tests.runs.toy", verb, str(place), executor]
    env = {
        k: v for k, v in os.environ.items() if not k.startswith("COV")
    }  # a killed child has no coverage to give
    return subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, env=env)


def undisturbed(place: Path) -> bytes:
    child = started("new", place, "inline")
    error = ended(child)
    assert child.returncode == 0, error
    return (place / "toy-1" / "result.json").read_bytes()


def ended(child: subprocess.Popen[bytes]) -> str:
    """Wait for the child's end, and give what it said on the way."""
    return child.communicate(timeout=120)[1].decode()


def size(folder: Path) -> int:
    """How far a run has come: bytes in all its files."""
    return sum(file.stat().st_size for file in tuple(folder.rglob("*")) if file.is_file() and file.exists())


def grown(folder: Path, wanted: int, child: subprocess.Popen[bytes]) -> None:
    """Wait until the folder holds so many bytes, or the child ends."""
    while child.poll() is None:
        try:
            if size(folder) >= wanted:
                return
        except FileNotFoundError:
            continue  # a temporary file took its name between our listing and our look
        time.sleep(0.001)  # a wait that spins takes the core that the run needs


def disturbed(place: Path, executor: str, seed: int, kills: int) -> tuple[bytes, int]:
    """Kill at random points of progress until `kills` are spent, then let the run end."""
    draw = random.Random(seed)
    folder, killed = place / "toy-1", 0
    child = started("new", place, executor)
    while True:
        if killed < kills:
            grown(folder, size(folder) + draw.randint(1, 1500), child)
            child.send_signal(signal.SIGKILL)
        error = ended(child)
        assert child.returncode in (0, -signal.SIGKILL), error
        if killed == kills:
            return (folder / "result.json").read_bytes(), killed
        killed += child.returncode == -signal.SIGKILL
        fresh = not (folder / "config.json").exists()  # killed before there was anything to resume
        if fresh and folder.exists():
            shutil.rmtree(folder)
        child = started("new" if fresh else "resume", place if fresh else folder, executor)


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize(("executor", "kills"), [("inline", 12), ("process", 4)])
def test_killed_and_resumed_gives_the_same_bytes(tmp_path: Path, executor: str, kills: int) -> None:
    expected = undisturbed(tmp_path / "calm")
    (tmp_path / "wild").mkdir()
    result, killed = disturbed(tmp_path / "wild", executor, seed=11, kills=kills)
    assert result == expected
    assert killed == kills
