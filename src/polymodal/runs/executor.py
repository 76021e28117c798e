"""One list of jobs, done here, in processes or on Ray, with equal results.

Equal to the bit where OMP_NUM_THREADS is set: else `inline` has all cores, a worker its share of them.
"""

import logging
import os
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait as wait_for
from threading import Thread
from typing import Any

EXECUTORS = ("inline", "process", "ray")
DIED = "the worker process died: killed, out of memory, or a crash in C"

Work = Callable[..., Any]
Jobs = Mapping[str, tuple[Any, ...]]


@dataclass(frozen=True)
class Done:
    """One finished job: its value, or the error that ended it."""

    key: str
    value: Any = None
    error: str | None = None
    trace: str = ""
    seconds: float = 0.0


class JobError(RuntimeError):
    """Some jobs failed; `keys` names them. The others are recorded, so a resume repeats only these."""

    def __init__(self, failed: list[Done]) -> None:
        self.keys = [done.key for done in failed]
        alike: dict[str | None, list[str]] = {}
        for done in failed:
            alike.setdefault(done.error, []).append(done.key)
        named = "\n".join(
            f"  {keys[0]}{f' and {len(keys) - 1} more' if len(keys) > 1 else ''}: {error}"
            for error, keys in alike.items()
        )
        jobs = "1 job" if len(failed) == 1 else f"{len(failed)} jobs"
        super().__init__(f"{jobs} failed (the others are recorded; resuming repeats only these):\n{named}")


def execute(
    work: Work, jobs: Jobs, *, executor: str = "inline", workers: int | None = None
) -> Iterator[Done]:
    """Do `work(*args)` for every job and yield each as it ends; a failing job does not stop the rest.

    Args:
        work: a function at the top level of a module, so that other processes find it by name.
        jobs: arguments by key.
        executor: `inline`, `process` (fresh interpreters on this machine) or `ray` (extra `[scale]`; the
            cluster named by RAY_ADDRESS, else this machine).
        workers: how many at once; default one a core.

    Raises:
        ValueError: an unknown executor, or work that other processes cannot find.
    """
    workers = max(1, min(workers or os.cpu_count() or 1, len(jobs) or 1))
    if executor not in EXECUTORS:
        raise ValueError(f"unknown executor {executor!r}; known: {', '.join(EXECUTORS)}")
    if executor == "inline":
        return (_attempt(work, key, args) for key, args in jobs.items())
    name = getattr(work, "__qualname__", "")
    if "<" in name or not name or "." in name:
        raise ValueError(
            f"work must be a function at the top of a module, so that workers find it; got {work!r}"
        )
    return (_process if executor == "process" else _ray)(work, jobs, workers)


def _attempt(work: Work, key: str, args: tuple[Any, ...]) -> Done:
    """Do one job where we stand; what it raises becomes part of the answer."""
    start = time.perf_counter()
    try:
        value = work(*args)
    except Exception as error:
        text = "".join(traceback.format_exception_only(error)).strip()
        return Done(key, None, text, traceback.format_exc(), time.perf_counter() - start)
    return Done(key, value, seconds=time.perf_counter() - start)


def _process(work: Work, jobs: Jobs, workers: int) -> Iterator[Done]:
    """One pool of one process per slot, so that a process that dies tells which job it was doing."""
    idle = [_slot() for _ in range(workers)]
    busy: dict[Future[Done], tuple[str, ProcessPoolExecutor]] = {}
    waiting = iter(jobs.items())
    try:
        while True:
            while idle and (job := next(waiting, None)) is not None:
                slot = idle.pop()
                with _sharing(workers):  # a worker starts when it is given its first job
                    busy[slot.submit(_attempt, work, *job)] = (job[0], slot)
            if not busy:
                return
            for future in wait(busy, return_when=FIRST_COMPLETED).done:
                key, slot = busy.pop(future)
                try:
                    done = future.result()
                except BrokenProcessPool:
                    slot.shutdown()
                    slot = _slot()
                    done = Done(key, error=DIED)
                except Exception as error:  # what cannot travel between processes: arguments or value
                    done = Done(key, error=f"{type(error).__name__}: {error}")
                idle.append(slot)
                yield done
    finally:
        for slot in (*idle, *(slot for _, slot in busy.values())):
            slot.shutdown(cancel_futures=True)


def _threads(workers: int) -> str:
    """OpenMP threads of a worker: OMP_NUM_THREADS, else its share of the cores.

    More of them get in each other's way: half again the time, measured on two cores.
    """
    return os.environ.get("OMP_NUM_THREADS") or str(max(1, (os.cpu_count() or 1) // workers))


@contextmanager
def _sharing(workers: int) -> Iterator[None]:
    """Processes that are started here inherit their share of the cores; this one keeps all."""
    given, os.environ["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS"), _threads(workers)
    try:
        yield
    finally:
        if given is None:
            del os.environ["OMP_NUM_THREADS"]


def _slot() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_follow_parent)


def _follow_parent() -> None:
    """End this worker when its parent is killed; otherwise it would wait for jobs for ever."""
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        wait_for([parent.sentinel])
        os._exit(1)

    Thread(target=watch, daemon=True).start()


def _ray(work: Work, jobs: Jobs, workers: int) -> Iterator[Done]:
    """Ray tasks, never retried by Ray: a job that kills its worker is our news to tell."""
    ray = _started_ray(workers)
    # Sums by another number of threads differ in the last bit.
    variables = {"OMP_NUM_THREADS": _threads(workers)}
    task = ray.remote(max_retries=0, runtime_env={"env_vars": variables})(_attempt)
    waiting = iter(jobs.items())
    busy: dict[Any, str] = {}
    while True:
        while len(busy) < workers and (job := next(waiting, None)) is not None:
            try:
                busy[task.remote(work, *job)] = job[0]
            except TypeError as error:  # arguments that cannot travel; Ray explains itself at length
                yield Done(job[0], error=f"TypeError: {str(error).splitlines()[0]}")
        if not busy:
            return
        ended, _ = ray.wait(list(busy))
        for reference in ended:
            key = busy.pop(reference)
            try:
                yield ray.get(reference)
            except ray.exceptions.RayError as error:
                yield Done(key, error=f"{DIED} ({type(error).__name__})")


def _started_ray(workers: int) -> Any:
    """Join the cluster of RAY_ADDRESS, or start a quiet one here."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.exceptions
    except ModuleNotFoundError:
        hint = 'executor "ray" needs Ray; install it with: pip install "polymodal[scale]"'
        raise ModuleNotFoundError(hint, name="ray") from None
    if not ray.is_initialized():
        address = os.environ.get("RAY_ADDRESS", "local")
        here: dict[str, Any] = {"num_cpus": workers, "include_dashboard": False} if address == "local" else {}
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **here)
    return ray
