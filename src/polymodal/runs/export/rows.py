"""Rows in any number as one file, whole or not at all, and copies: memory stays flat."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from polymodal.runs.atomic import replacing

BATCH = 10_000  # rows of a Parquet row group


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write rows as JSON lines, strict and in ASCII; gives their number."""
    count = 0
    with replacing(path) as partial, partial.open("w", encoding="ascii") as stream:
        for row in rows:
            stream.write(json.dumps(row, allow_nan=False) + "\n")
            count += 1
    return count


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]], types: Mapping[str, str]) -> int:
    """Write rows as Parquet; gives their number.

    Args:
        path: the file.
        rows: taken once, a batch in memory at a time.
        types: Arrow type of each column by name: string, double, int64, bool. A missing value is null.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in types.items()])
    count = 0
    with replacing(path) as partial, pq.ParquetWriter(partial, schema) as writer:
        for batch in _batches(rows):
            columns = {name: [row.get(name) for row in batch] for name in types}
            writer.write_table(pa.table(columns, schema=schema))
            count += len(batch)
    return count


def _batches(rows: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    left = iter(rows)
    while batch := list(islice(left, BATCH)):
        yield batch


def copy(source: Path, to: Path) -> None:
    """Copy one file's content.

    Raises:
        OSError: it cannot be read.
    """
    with source.open("rb") as stream, replacing(to) as partial, partial.open("wb") as out:
        shutil.copyfileobj(stream, out)
