"""One run's folder: configuration, diary, remembered work, tables, media, model and result."""

import fcntl
import json
import os
import platform
import re
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, Self

from polymodal.metrics import Estimate
from polymodal.runs.atomic import sweep, write_bytes, write_folder, write_json, write_table
from polymodal.runs.cache import Cache
from polymodal.runs.executor import Done, JobError, Work, execute
from polymodal.runs.log import Log, read
from polymodal.runs.result import Result, RunError, inventory, number, total, versions
from polymodal.runs.values import Shelf, Value, plain

if TYPE_CHECKING:
    from polymodal.media import Part

Watch = Callable[[Mapping[str, Any]], None]


class Stated(Protocol):
    """Whatever states a claim in words, with the paper's own figure (`-` for none)."""

    @property
    def text(self) -> str:
        """The claim in one sentence."""

    @property
    def paper(self) -> str:
        """The paper's figure."""


class Run:
    """A recipe's notebook on disk. What is recorded once is not done again after a kill.

    Attributes:
        folder: `<root>/<system>-<n>`.
        system: the system's name.
        config: the configuration as JSON, fixed when the run was created.
        seed: `config["seed"]`, or 0.
        executor: where `map` does its jobs unless told otherwise: `inline`, `process` or `ray`.
        accept: kinds of audit errors that the person chose to go on with.
    """

    def __init__(self, folder: Path, watch: Watch | None = None) -> None:
        """Open an existing folder; use `create` or `resume`."""
        self.folder = folder
        lock = _locked(folder)
        self._ends = [weakref.finalize(self, lock.close)]  # let go even where nobody calls close
        self._head = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.system: str = self._head["system"]
        self.config: dict[str, Any] = self._head["config"]
        self.seed = int(self.config.get("seed") or 0)
        self.executor = "inline"
        self.accept: tuple[str, ...] = tuple(self._head.get("accept", ()))
        self._watch = watch
        self._log = Log(folder / "events.jsonl")
        self._ends.append(weakref.finalize(self, self._log.close))
        self._jobs = Shelf(folder / "jobs")

    @classmethod
    def create(
        cls,
        system: str,
        config: object,
        root: Path = Path("out"),
        watch: Watch | None = None,
        *,
        title: str = "",
        accept: Sequence[str] = (),
    ) -> Self:
        """Make the next free folder `<root>/<system>-<n>` and open it.

        Args:
            system: the system's name, part of the folder's name.
            config: a mapping or a dataclass whose fields have a JSON form.
            root: where run folders live; made if missing.
            watch: called with every event, for live progress.
            title: the system's name for people; default: the name in words.
            accept: kinds of audit errors to go on with; remembered for a resume.

        Raises:
            TypeError: a field of `config` has no JSON form.
        """
        settings = _settings(config)
        folder = _next_folder(Path(root), system)
        head = {"system": system, "title": title or system.replace("_", " "), "accept": list(accept)}
        write_json(folder / "config.json", {**head, "config": settings, "versions": versions()})
        run = cls(folder, watch)
        run.event("started", system=system)
        return run

    @classmethod
    def resume(cls, folder: Path, watch: Watch | None = None, *, config: object = None) -> Self:
        """Open a run again to finish it.

        Args:
            folder: the run's folder.
            watch: called with every event, for live progress.
            config: the configuration that the caller is about to use, checked against the recorded one.

        Raises:
            RunError: no run there, it is open elsewhere, or the configuration changed.
        """
        folder = Path(folder)
        if not (folder / "config.json").exists():
            raise RunError(f"{folder} is not a run folder: it has no config.json")
        run = cls(folder, watch)
        try:
            if config is not None:
                run.matches(config)
            for place in (folder, *(path for path in folder.iterdir() if path.is_dir())):
                sweep(place)
            run.event("resumed", versions=_changed(run._head["versions"], versions()))
        except BaseException:
            run.close()
            raise
        return run

    @property
    def finished(self) -> bool:
        """Whether `result.json` is there."""
        return (self.folder / "result.json").exists()

    def matches(self, config: object) -> None:
        """Refuse to mix two configurations in one result.

        Raises:
            RunError: `config` differs from the recorded one; the message lists the fields.
        """
        given = _settings(config)
        names = sorted(name for name in {**self.config, **given} if self.config.get(name) != given.get(name))
        if names:
            now = "; ".join(f"{n} was {self.config.get(n)!r}, now {given.get(n)!r}" for n in names)
            raise RunError(f"{self.folder} was started with another configuration ({now}); start a new run")

    def event(self, kind: str, **fields: Any) -> None:
        """Append one event to `events.jsonl`, on disk before this returns, and hand it to `watch`."""
        entry = self._log.append(kind, fields)
        self._tell(entry)

    def once(self, key: str, work: Callable[[], Value]) -> Value:
        """Do `work` the first time and remember its value; later, and after a kill, give that back.

        Args:
            key: names the work within this run; the same key means the same work.
            work: returns a JSON nest whose leaves may be NumPy arrays (tuples come back as lists).

        Raises:
            TypeError: the value cannot be written; the message says which part of it.
        """
        if key in self._jobs:
            self.event("kept", key=key)
            return self._jobs.get(key)
        start = time.perf_counter()
        try:
            value = self._jobs.put(key, work())
        except Exception as error:
            self.event("failed", key=key, error=f"{type(error).__name__}: {error}")
            raise
        self.event("job", key=key, seconds=round(time.perf_counter() - start, 3))
        return value

    def map(
        self,
        work: Work,
        jobs: Mapping[str, tuple[Any, ...]],
        *,
        executor: str | None = None,
        workers: int | None = None,
        name: str = "jobs",
    ) -> dict[str, Value]:
        """Do `work(*args)` for each job, remember each value as it ends, and return them in the jobs' order.

        Args:
            work: a function at the top level of a module; what it returns obeys `once`.
            jobs: arguments by key; keys share one space with those of `once`.
            executor: `inline`, `process` or `ray`: the values are the same; default `self.executor`.
            workers: how many at once; default one a core.
            name: what the jobs are, for the `progress` told to `watch` (name, n, of, key).

        Raises:
            JobError: some jobs failed; it names their keys, after all others have ended.
        """
        values = {key: self._jobs.get(key) for key in jobs if key in self._jobs}
        for key in values:
            self.event("kept", key=key)
        pending = {key: args for key, args in jobs.items() if key not in values}
        failed: list[Done] = []
        for done in execute(work, pending, executor=executor or self.executor, workers=workers):
            done = self._keep(done)
            if done.error is None:
                values[done.key] = done.value
            else:
                failed.append(done)
            n = len(values) + len(failed)
            self._tell({"kind": "progress", "name": name, "n": n, "of": len(jobs), "key": done.key})
        if failed:
            raise JobError(failed)
        return {key: values[key] for key in jobs}

    def _keep(self, done: Done) -> Done:
        """Record one ended job, and give it back with the value that a later run will read."""
        if done.error is None:
            try:
                done = replace(done, value=self._jobs.put(done.key, done.value))
            except TypeError as error:
                done = replace(done, error=f"TypeError: {error}")
        if done.error is None:
            self.event("job", key=done.key, seconds=round(done.seconds, 3))
        else:
            self.event("failed", key=done.key, error=done.error, trace=done.trace)
        return done

    def section(self, name: str, data: object) -> None:
        """Keep one section of the report (see `runs.pages.report`); the last call for a name wins."""
        if not re.fullmatch(r"[a-z][a-z_]*", name):
            raise ValueError(f"a section's name is lower-case letters and underscores, got {name!r}")
        write_json(self.folder / "sections" / f"{name}.json", plain(data, f"section {name!r}"))

    def replies(self) -> Cache:
        """The run's kept replies, `calls.sqlite`: a run taken up again asks no model twice."""
        return Cache(self.folder / "calls.sqlite")

    def table(self, name: str, rows: Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Any]]) -> None:
        """Write a table to `name` (`.parquet`, `.csv` or `.jsonl`), from rows or from columns."""
        write_table(self._path(name), rows)
        self.event("wrote", name=name)

    def media(self, part: "Part") -> str:
        """Copy a part to `media/<digest>.<suffix>`, in a form browsers show, and return that path."""
        from polymodal.runs.pages.exhibit import exhibit

        suffix, data = exhibit(part)
        name = f"media/{part.digest()}{suffix}"
        if not (self.folder / name).exists():
            write_bytes(self.folder / name, data)
        return name

    def trace(self, name: str, turns: Iterable[Any]) -> None:
        """Write turns of `envs.play` to `name` (`.jsonl`), a line each, and the pictures to `media/`."""
        lines = []
        for turn in turns:
            lines.append(turn.line())
            for picture in turn.pictures().values():
                self.media(picture)
        write_bytes(self._path(name), "".join(lines).encode())
        self.event("wrote", name=name)

    def model(self, save: Callable[[Path], None], name: str = "model") -> Path:
        """Let `save` fill a temporary folder, then swap it in as `<folder>/<name>`, which is returned."""
        path = self._path(name)
        write_folder(path, save)
        self.event("wrote", name=name)
        return path

    def files(self, name: str, content: Mapping[str, bytes]) -> Path:
        """Write a folder of files, `content` by file name, as `<folder>/<name>`, which is returned."""

        def fill(folder: Path) -> None:
            for file, data in content.items():
                write_bytes(folder / file, data)

        return self.model(fill, name)

    def finish(
        self,
        estimates: Mapping[str, Estimate],
        claims: Sequence[tuple[Stated, str, str]] = (),
        fingerprints: Mapping[str, str] | None = None,
    ) -> Result:
        """Write `result.json` and `timing.json`, close the run, and return the result.

        Args:
            estimates: the run's figures by name, in the order to show them.
            claims: (claim, verdict, evidence) of each claim, failing ones included.
            fingerprints: digests of the data that made the figures, by name.
        """
        files = sorted((self.folder / "sections").glob("[a-z]*.json"))
        sections = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in files}
        wrote = {entry["name"] for entry in read(self.folder / "events.jsonl") if entry["kind"] == "wrote"}
        result = Result(
            self.system,
            self._head["title"],
            self.config,
            dict(estimates),
            [
                {"text": claim.text, "paper": claim.paper, "verdict": str(verdict), "evidence": evidence}
                for claim, verdict, evidence in claims
            ],
            sections,
            dict(fingerprints or {}),
            _seen_versions(self._head["versions"], self.folder / "events.jsonl"),
            total(sections.get("cost", [])),
            inventory(self.folder, sorted(wrote)),
        )
        result.write(self.folder)
        self.event("finished")
        write_json(self.folder / "timing.json", _timing(self.folder / "events.jsonl"))
        self.close()
        return result

    def close(self) -> None:
        """Let go of the folder, so that another process may resume it."""
        for end in self._ends:
            end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _tell(self, entry: Mapping[str, Any]) -> None:
        if self._watch is not None:
            self._watch(entry)

    def _path(self, name: str) -> Path:
        path = self.folder / name
        if not path.resolve().is_relative_to(self.folder.resolve()) or path == self.folder:
            raise ValueError(f"{name!r} is outside the run's folder")
        return path


def _locked(folder: Path) -> BinaryIO:
    """Hold the folder for this process; the kernel lets go when the process ends, however it ends."""
    lock = (folder / ".lock").open("wb")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise RunError(f"{folder} is in use by another process: wait for it to end, or stop it") from None
    return lock


def _next_folder(root: Path, system: str) -> Path:
    """Make `<root>/<system>-<n>` for the next free n; mkdir decides between two runs that start at once."""
    root.mkdir(parents=True, exist_ok=True)
    n = 1 + max((number(path, system) for path in root.iterdir()), default=0)
    while True:
        folder = root / f"{system}-{n}"
        try:
            folder.mkdir()
        except FileExistsError:
            n += 1
        else:
            return folder


def _settings(config: object) -> dict[str, Any]:
    settings = plain(config, "config")
    if not isinstance(settings, dict):
        raise TypeError(f"config is a {type(config).__name__}; it must be a mapping or a dataclass")
    return settings


def _changed(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    return {name: now.get(name, "none") for name in {**before, **now} if before.get(name) != now.get(name)}


def _seen_versions(first: Mapping[str, str], events: Path) -> dict[str, str]:
    """The versions a run was started with, and behind them what it was later resumed with, if other."""
    seen = dict(first)
    for entry in read(events):
        for name, later in entry.get("versions", {}).items() if entry["kind"] == "resumed" else ():
            if not seen.get(name, "none").endswith(later):
                seen[name] = f"{seen.get(name, 'none')}, then {later}"
    return seen


def _timing(events: Path) -> dict[str, Any]:
    """What depends on the clock and the machine: kept out of the result so that its bytes repeat."""
    sessions: list[list[float]] = []
    jobs: dict[str, float] = {}
    for entry in read(events):
        if entry["kind"] in ("started", "resumed"):
            sessions.append([entry["at"], entry["at"]])
        sessions[-1][1] = entry["at"]
        if entry["kind"] == "job":
            jobs[entry["key"]] = entry["seconds"]
    return {
        "started": datetime.fromtimestamp(sessions[0][0], UTC).isoformat(timespec="seconds"),
        "seconds": round(sum(end - start for start, end in sessions), 3),
        "sessions": len(sessions),
        "host": {"system": platform.platform(), "cores": os.cpu_count()},
        "jobs": jobs,
    }
