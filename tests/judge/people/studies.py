"""Small studies, and a real PostgreSQL of the test's own, for the tests of people as judges."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from polymodal.judge.people.study import Study, parse

RUBRIC: dict[str, Any] = {
    "id": "plain",
    "version": "1",
    "source": "ours",
    "licence": "CC0",
    "rater": "any",
    "items": [
        {"id": "good", "text": "How good is it?", "kind": "likert", "levels": 7},
        {"id": "why", "text": "Why?", "kind": "text", "required": False},
    ],
}


def unit(name: str, **fields: Any) -> dict[str, Any]:
    """A unit that shows one line of text."""
    return {"id": name, "messages": [{"role": "user", "parts": [f"look at {name}"]}], **fields}


def raw(
    items: int = 6,
    subjects: tuple[str, ...] = ("m",),
    pages: list[dict[str, Any]] | None = None,
    rubrics: list[dict[str, Any]] | None = None,
    units: list[dict[str, Any]] | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """A study's JSON: items by subjects, consent, one block, an end."""
    every = [unit(f"u{i}-{s}", item=f"i{i}", subject=s) for i in range(items) for s in subjects]
    return {
        "id": "toy",
        "version": "1",
        "title": "A toy",
        "rubrics": rubrics or [RUBRIC],
        "units": every if units is None else units,
        "pages": pages or [{"kind": "consent"}, {"kind": "block", "rubric": "plain"}, {"kind": "debrief"}],
        "design": {"ratings_per_case": 2, "cases_per_rater": 4},
        **fields,
    }


def made(*args: Any, **fields: Any) -> Study:
    """The study of `raw`."""
    return parse(raw(*args, **fields), Path())


def binaries() -> Path | None:
    """Where PostgreSQL's programs are: on the path, or where Debian puts them."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    here = shutil.which("postgres")
    return found[-1].parent if found else Path(here).parent if here else None


@contextmanager
def postgres() -> Iterator[str]:
    """A PostgreSQL server in a folder of its own, without rights where we are root; yields its URL."""
    programs = binaries()
    assert programs is not None
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    user = {}
    if os.getuid() == 0:
        name = next(n for n in ("postgres", "nobody") if n in {entry.pw_name for entry in pwd.getpwall()})
        user = {"user": name, "group": pwd.getpwnam(name).pw_gid, "extra_groups": []}
        shutil.chown(folder, name)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def call(*words: str) -> None:
        with (folder / "log").open("ab") as log:
            subprocess.run(words, check=True, stdout=log, stderr=log, cwd=folder, timeout=60, **user)

    (folder / "log").touch()
    data = str(folder / "data")
    options = f"-p {port} -k '' -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=120"
    try:
        call(
            str(programs / "initdb"),
            "-D",
            data,
            "-U",
            "tester",
            "-A",
            "trust",
            "-N",
            "--no-locale",
            "-E",
            "UTF8",
        )
        call(
            str(programs / "pg_ctl"),
            "-D",
            data,
            "-o",
            options,
            "-l",
            str(folder / "data" / "log"),
            "-w",
            "start",
        )
        try:
            yield f"postgresql+psycopg://tester@127.0.0.1:{port}/postgres"
        finally:
            call(str(programs / "pg_ctl"), "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
