"""Model folders that differ from another in some bytes: written beside, then named."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any, Protocol

from polymodal.runs.atomic import sync_folder, write_json
from polymodal.runs.log import mend

CHUNK = 8 << 20
CLONE = 0x40049409  # FICLONE: the new file shares the old one's blocks until one of them is written to
NO_SHORTCUT = (errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP)

Piece = tuple[str, int, memoryview, str]
"""File, place in it, bytes, and a note on the tensor or nothing."""


class Job(Protocol):
    """One tensor: which bytes it takes, and an iterator that makes them."""

    @property
    def name(self) -> str:
        """What the journal calls it."""
        ...

    @property
    def ranges(self) -> Sequence[tuple[str, int, int]]:
        """File, first byte, after the last."""
        ...

    @property
    def run(self) -> Callable[[], Iterator[Piece]]:
        """Makes the bytes; in order, so that a later piece may replace an earlier one."""
        ...


class Planned(Protocol):
    """What is to be written: a copy of `folder` in which jobs replace bytes (see nn.weights.Plan)."""

    @property
    def folder(self) -> Path:
        """Whose files are copied."""
        ...

    @property
    def files(self) -> Sequence[str]:
        """Files that jobs write into."""
        ...

    @property
    def companions(self) -> Sequence[str]:
        """Files that are copied whole."""
        ...

    @property
    def digest(self) -> str:
        """Equal for equal results: what may be resumed."""
        ...

    def jobs(self, chunk: int) -> Sequence[Job]:
        """The jobs; raises where something is refused."""
        ...

    def check(self, folder: Path) -> None:
        """Raises where the finished folder is not what was planned."""
        ...

    def record(self, notes: Mapping[str, str]) -> Mapping[str, Any]:
        """The account to leave beside the files."""
        ...


def write_checkpoint(
    plan: Planned,
    to: Path,
    *,
    chunk: int = CHUNK,
    threads: int = 2,
    watch: Callable[[str, int, int], None] | None = None,
) -> Path:
    """Writes a planned model folder; it appears under its name when it is whole, with merge.json in it.

    Until then everything is in a hidden folder beside it, with a journal of finished tensors: the same call
    goes on from there, and ends in the same bytes as one that was never stopped.

    Args:
        plan: what to write.
        to: the folder to make.
        chunk: most bytes of a piece.
        threads: tensors worked on at once.
        watch: told each finished tensor, how many are finished, and of how many.

    Returns:
        The folder.

    Raises:
        FileExistsError: `to` is there already.
        ValueError: an unfinished merge with other models or settings is in the way, or another process
            works on it; and whatever the plan raises.
        OSError: not enough room on the disk.
    """
    jobs = plan.jobs(chunk)
    to, work = Path(to), Path(to).with_name(f".{Path(to).name}.merging")
    if to.exists():
        raise FileExistsError(f"{to} exists already: give another folder with --to, or remove it")
    if plan.folder.resolve() in to.resolve().parents:
        raise ValueError(f"{to} lies inside the target {plan.folder}: give a folder outside it")
    work.mkdir(parents=True, exist_ok=True)
    with _locked(work / "lock"):
        _room(plan, work)
        with _Journal(work / "journal.jsonl", plan.digest) as journal:
            try:
                _fill(plan, jobs, work / "model", journal, threads, watch or (lambda name, n, of: None))
            except ValueError:  # the models are at fault: going on would end here again
                shutil.rmtree(work)
                raise
        (work / "model").replace(to)
        sync_folder(to.parent)
        shutil.rmtree(work)
    return to


def _fill(
    plan: Planned,
    jobs: Sequence[Job],
    folder: Path,
    journal: _Journal,
    threads: int,
    watch: Callable[[str, int, int], None],
) -> None:
    """Everything between the first byte and the name."""
    with _opened(folder, plan.files) as handles:
        _copy(plan, jobs, folder, handles, journal)
        _merge(jobs, handles, journal, threads, watch)
        for handle in handles.values():
            os.fsync(handle)
    plan.check(folder)
    notes = {name: note for name, note in journal.done.items() if note}
    write_json(folder / "merge.json", plan.record(notes))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"another process is writing in {path.parent}") from None
        yield


def _room(plan: Planned, work: Path) -> None:
    need = sum((plan.folder / name).stat().st_size for name in (*plan.files, *plan.companions))
    have = sum(path.stat().st_blocks * 512 for path in work.rglob("*") if path.is_file())
    free = shutil.disk_usage(work).free
    if need - have > free:
        with suppress(OSError):  # only where nothing was begun
            (work / "lock").unlink()
            work.rmdir()
        raise OSError(errno.ENOSPC, f"{need} bytes are needed beside {work.name}, {free} are free")


@contextmanager
def _opened(folder: Path, files: Sequence[str]) -> Iterator[dict[str, int]]:
    handles = {}
    try:
        for name in files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            handles[name] = os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o666)
        yield handles
    finally:
        for handle in handles.values():
            os.close(handle)


class _Journal:
    """Names of finished work, a line each; a name is written only after its bytes are on the disk."""

    def __init__(self, path: Path, digest: str) -> None:
        mend(path)
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        entries = [json.loads(line) for line in lines]
        if entries and entries[0] != {"merge": digest}:
            raise ValueError(
                f"an unfinished merge of other models or settings is in {path.parent}: finish it by its own "
                "command, or remove that folder"
            )
        self.done: dict[str, str] = {entry["done"]: entry["note"] for entry in entries[1:]}
        self._stream = path.open("ab")
        if not entries:
            self._stream.write((json.dumps({"merge": digest}) + "\n").encode())
            self._sync()

    def add(self, names: Mapping[str, str], handles: Mapping[str, int]) -> None:
        """Puts the files' bytes on the disk, then writes the names."""
        for handle in handles.values():
            os.fdatasync(handle)
        for name, note in names.items():
            self._stream.write((json.dumps({"done": name, "note": note}) + "\n").encode())
        self._sync()
        self.done |= names

    def _sync(self) -> None:
        self._stream.flush()
        os.fsync(self._stream.fileno())

    def __enter__(self) -> _Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()


def _copy(
    plan: Planned, jobs: Sequence[Job], folder: Path, handles: Mapping[str, int], journal: _Journal
) -> None:
    """Copies all bytes that no job will write; those that one will are left as holes, or as shared blocks."""
    for name in plan.companions:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(plan.folder / name, folder / name)
    taken: dict[str, list[tuple[int, int]]] = {name: [] for name in plan.files}
    for job in jobs:
        for file, start, stop in job.ranges:
            taken[file].append((start, stop))
    for name, handle in handles.items():
        if f"copy of {name}" in journal.done:
            continue
        with (plan.folder / name).open("rb") as stream:
            source, size = stream.fileno(), os.fstat(stream.fileno()).st_size
            try:
                fcntl.ioctl(handle, CLONE, source)
            except OSError:
                os.truncate(handle, size)
                for start, stop in _between(taken[name], size):
                    _copy_range(source, handle, start, stop)
        journal.add({f"copy of {name}": ""}, {name: handle})


def _between(taken: list[tuple[int, int]], size: int) -> Iterator[tuple[int, int]]:
    at = 0
    for start, stop in sorted(taken):
        if start > at:
            yield at, start
        at = max(at, stop)
    if at < size:
        yield at, size


def _copy_range(source: int, to: int, start: int, stop: int) -> None:
    while start < stop:
        try:
            n = os.copy_file_range(source, to, stop - start, start, start)
        except OSError as error:
            if error.errno not in NO_SHORTCUT:
                raise
            n = os.pwrite(to, os.pread(source, min(CHUNK, stop - start), start), start)
        if n == 0:
            raise OSError(errno.EIO, f"a source became shorter while it was copied, at byte {start}")
        start += n


def _merge(
    jobs: Sequence[Job],
    handles: Mapping[str, int],
    journal: _Journal,
    threads: int,
    watch: Callable[[str, int, int], None],
) -> None:
    """Runs the jobs that are not done, and journals them behind: the disk is kept busy meanwhile."""
    left = [job for job in jobs if job.name not in journal.done]
    stop, finished, lock = Event(), dict[str, str](), Lock()
    count = len(jobs) - len(left)

    def work(job: Job) -> None:
        nonlocal count
        noted = ""
        for file, offset, data, note in job.run():
            if stop.is_set():
                return
            _write(handles[file], data, offset)
            noted = note or noted
        with lock:
            finished[job.name] = noted
            count += 1
            watch(job.name, count, len(jobs))

    keeper = _Keeper(journal, handles, finished, lock)
    keeper.start()
    try:
        with ThreadPoolExecutor(max(1, threads)) as pool:
            futures = [pool.submit(work, job) for job in left]
            try:
                over, _ = wait(futures, return_when=FIRST_EXCEPTION)
                for future in over:
                    future.result()
            except BaseException:
                stop.set()
                pool.shutdown(cancel_futures=True)
                raise
    finally:
        keeper.end()


def _write(handle: int, data: memoryview, offset: int) -> None:
    at = 0
    while at < len(data):
        at += os.pwrite(handle, data[at:], offset + at)


class _Keeper(Thread):
    """Journals what is finished, time and again, until it is told that no more will come."""

    def __init__(
        self, journal: _Journal, handles: Mapping[str, int], finished: dict[str, str], lock: Lock
    ) -> None:
        super().__init__(daemon=True)
        self.journal, self.handles, self.finished, self.lock = journal, handles, finished, lock
        self.last = Event()
        self.error: OSError | None = None

    def run(self) -> None:
        """The thread."""
        try:
            while True:
                last = self.last.wait(0.2)
                with self.lock:
                    batch = dict(self.finished)
                    self.finished.clear()
                if batch:
                    self.journal.add(batch, self.handles)
                if last:
                    return
        except OSError as error:
            self.error = error

    def end(self) -> None:
        """Journals the rest and ends.

        Raises:
            OSError: the disk took no more.
        """
        self.last.set()
        self.join()
        if self.error:
            raise self.error
