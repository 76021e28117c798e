"""executor: the same results wherever the jobs run, and every job's end is told."""

import importlib.util
import multiprocessing
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.runs.toy import die_on_two, recipe, square, threads

from polymodal.runs import Run, executor
from polymodal.runs.executor import Done, JobError, execute

with_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    yield
    if "ray" in sys.modules:
        sys.modules["ray"].shutdown()


def done(work: object, jobs: dict[str, tuple[object, ...]], place: str) -> dict[str, Done]:
    return {one.key: one for one in execute(work, jobs, executor=place, workers=2)}  # type: ignore[arg-type]


@pytest.mark.parametrize("place", ["inline", "process"])
def test_a_job_that_raises_is_told_and_the_rest_goes_on(place: str) -> None:
    ended = done(square, {"a": (2.0,), "bad": (-1.0,), "c": (4.0,)}, place)
    assert (ended["a"].value, ended["c"].value) == (4.0, 16.0)
    assert ended["bad"].error == "ValueError: no square for -1.0"
    assert "in square" in ended["bad"].trace


def test_a_process_that_dies_is_told_with_its_job() -> None:
    ended = done(die_on_two, {str(n): (n,) for n in range(5)}, "process")
    assert {key: one.value for key, one in ended.items()} == {"0": 1, "1": 2, "2": None, "3": 4, "4": 5}
    assert ended["2"].error == executor.DIED


def test_workers_share_the_cores_unless_somebody_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor.os, "cpu_count", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert {one.value for one in done(threads, {"a": (), "b": ()}, "process").values()} == {"4"}
    assert threads() is None  # all of them stay for this process
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert {one.value for one in done(threads, {"a": (), "b": ()}, "process").values()} == {"3"}
    assert threads() == "3"


def test_what_cannot_travel_is_told() -> None:
    ended = done(square, {"a": (lambda: 1,), "b": (2.0,)}, "process")
    assert "pickle" in str(ended["a"].error).lower()
    assert ended["b"].value == 4.0


@with_ray
def test_ray_tells_the_same(cluster: None) -> None:
    ended = done(square, {"a": (2.0,), "bad": (-1.0,)}, "ray")
    assert ended["a"].value == 4.0
    assert ended["bad"].error == "ValueError: no square for -1.0"
    ended = done(square, {"a": (threading.Lock(),), "b": (2.0,)}, "ray")
    assert str(ended["a"].error).startswith("TypeError: ")
    assert ended["b"].value == 4.0
    ended = done(die_on_two, {str(n): (n,) for n in range(4)}, "ray")
    assert {key: one.value for key, one in ended.items()} == {"0": 1, "1": 2, "2": None, "3": 4}
    assert executor.DIED in str(ended["2"].error)


@with_ray
def test_the_result_file_is_the_same_from_every_executor(cluster: None, tmp_path: Path) -> None:
    results = set()
    for place in executor.EXECUTORS:
        run = Run.create("toy", {"seed": 7}, tmp_path)
        run.executor = place
        recipe(run)
        results.add((run.folder / "result.json").read_bytes())
    assert len(results) == 1


def test_a_missing_ray_is_answered_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "polymodal\[scale\]"') as error:
        done(square, {"a": (1.0,)}, "ray")
    assert error.value.name == "ray"


def test_unknown_places_and_hidden_work_are_refused() -> None:
    with pytest.raises(ValueError, match="known: inline, process, ray"):
        execute(square, {}, executor="cloud")
    with pytest.raises(ValueError, match="top of a module"):
        execute(lambda: 1, {}, executor="process")
    assert list(execute(square, {}, executor="process")) == []


def test_a_job_without_a_living_parent_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The watch of a worker, with its parent played by a pipe that is already closed."""
    ours, theirs = multiprocessing.Pipe()
    ended = threading.Event()
    codes: list[int] = []
    monkeypatch.setattr(executor, "parent_process", lambda: type("Parent", (), {"sentinel": ours})())
    monkeypatch.setattr(executor.os, "_exit", lambda code: (codes.append(code), ended.set()))
    executor._follow_parent()
    theirs.close()
    assert ended.wait(30)
    assert codes == [1]


def test_jobs_that_failed_alike_are_named_in_one_line() -> None:
    failed = [Done(f"job/{n}", error="ValueError: no endpoint") for n in range(3)]
    told = JobError([*failed, Done("odd", error="OSError: gone")])
    assert told.keys == ["job/0", "job/1", "job/2", "odd"]
    assert "4 jobs failed" in str(told)
    assert str(told).splitlines()[1:] == [
        "  job/0 and 2 more: ValueError: no endpoint",
        "  odd: OSError: gone",
    ]
