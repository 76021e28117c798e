"""Whole files or none: written beside their place, synced, then given their name."""

import csv
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

PARTIAL = ".partial-"


def sync_folder(folder: Path) -> None:
    """Make a rename or a new name in `folder` outlive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to; on a clean exit it becomes `path` in one step.

    Args:
        path: the final file; missing parent folders are made.

    Yields:
        A path in the same folder, with the same suffix. An error leaves `path` as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=PARTIAL, suffix=path.suffix)
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        with partial.open("rb") as stream:
            os.fsync(stream.fileno())
        partial.chmod(0o666 & ~umask())
        partial.replace(path)
        sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def umask() -> int:
    """Read the umask, which POSIX only lets us learn by setting it; mkstemp files are 0600 otherwise."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` atomically."""
    with replacing(path) as partial:
        partial.write_bytes(data)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as strict, indented JSON in the order given, so that equal values are equal bytes."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=1)
    write_bytes(path, (text + "\n").encode())


def write_folder(path: Path, fill: Callable[[Path], None]) -> None:
    """Fill a temporary folder and swap it in for `path`; an error leaves the old folder in place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=path.parent, prefix=PARTIAL))
    try:
        fill(partial)
        for file in partial.rglob("*"):
            if file.is_file():
                with file.open("rb") as stream:
                    os.fsync(stream.fileno())
        partial.chmod(0o777 & ~umask())
        old = partial.with_name(partial.name + "-old")
        if path.exists():
            path.replace(old)
        partial.replace(path)
        sync_folder(path.parent)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_table(path: Path, rows: Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Any]]) -> None:
    """Write rows, or columns of equal length, as Parquet, CSV or JSON lines by the path's suffix.

    Raises:
        ValueError: the suffix is none of these, or the columns differ in length.
    """
    if isinstance(rows, Mapping):
        columns = {name: list(column) for name, column in rows.items()}
    else:
        names = dict.fromkeys(name for row in rows for name in row)
        columns = {name: [row.get(name) for row in rows] for name in names}
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"{path.name}: columns of different lengths: {lengths}")
    if path.suffix == ".csv":
        text = StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows([list(columns), *zip(*columns.values(), strict=True)])
        write_bytes(path, text.getvalue().encode())
    elif path.suffix == ".jsonl":
        told = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
        lines = [json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in told]
        write_bytes(path, "".join(lines).encode())
    elif path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        with replacing(path) as partial:
            pq.write_table(pa.table(columns), partial)
    else:
        raise ValueError(f"a table is .parquet, .csv or .jsonl, got {path.name!r}")


def sweep(folder: Path) -> None:
    """Remove what an interrupted write left in `folder`."""
    for left in folder.glob(PARTIAL + "*"):
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink(missing_ok=True)
