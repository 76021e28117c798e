"""Rows of the files that cases come in, streamed: JSON Lines, CSV, literals; and faults."""

from __future__ import annotations

import ast
import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from polymodal.media.part import opened

LINE = 2**24  # bytes of one row
LITERAL = 20_000  # characters of a literal; DDXPlus's longest has 3,000
_DECODER = json.JSONDecoder(parse_constant=int)  # int refuses NaN, which is no literal either


class RowError(ValueError):
    """What is wrong with one row: a reason for counting, a sentence for people."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


def rows(file: Path) -> Iterator[tuple[int, dict[str, Any] | RowError]]:
    """Numbered lines of a JSON Lines file, streamed; a fault for what is no object.

    Raises:
        MediaError: no such file, or an empty one.
    """
    with opened(file) as stream:
        number = 0
        while line := stream.readline(LINE + 1):
            number += 1
            if len(line) > LINE:
                while (rest := stream.readline(2**20)) and not rest.endswith(b"\n"):
                    pass
                yield number, RowError("too_large", f"a line longer than {LINE:,} bytes")
            elif line.strip():
                try:
                    row = json.loads(line.removeprefix(b"\xef\xbb\xbf"))
                except (ValueError, RecursionError) as error:
                    yield number, RowError("broken", f"not JSON: {str(error)[:100]}")
                    continue
                good = isinstance(row, dict)
                yield number, row if good else RowError("broken", f"a {type(row).__name__}, no object")


def table(file: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str] | RowError]]:
    """Numbered rows of a CSV file, streamed; a fault for one with too few cells.

    Raises:
        MediaError: no such file, or an empty one.
        ValueError: a column is not there, by name.
    """
    opened(file).close()
    with file.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
        reader = csv.DictReader(stream)
        there = reader.fieldnames or ()
        if absent := [column for column in columns if column not in there]:
            raise ValueError(f"{file}: no column {', '.join(absent)}; there are: {', '.join(there)}")
        while True:
            try:
                row = next(reader, None)
            except csv.Error as error:
                yield reader.line_num, RowError("broken", f"not CSV: {error}")
                continue
            if row is None:
                return
            if any(row[column] is None for column in columns):
                yield reader.line_num, RowError("broken", "fewer cells than columns")
            else:
                yield reader.line_num, row


def literal(row: Mapping[str, str], column: str, kind: type[list[Any]] | type[dict[str, Any]]) -> Any:
    """A list or dict out of its literal; names and calls in it are no literals. Raises RowError."""
    text = row[column]
    if len(text) > LITERAL:
        raise RowError("too_large", f"{column}: {len(text):,} characters, the limit is {LITERAL:,}")
    try:
        found = _quick(text)
        if found is None:
            found = ast.literal_eval(text.strip()) if text.strip() else kind()
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise RowError("literal", f"{column}: no literal of a {kind.__name__}: {text[:60]!r}") from error
    if not isinstance(found, kind):
        raise RowError("literal", f"{column}: a {type(found).__name__}; a {kind.__name__} is wanted")
    return found


def _quick(text: str) -> Any:
    """The literal read as JSON where both say the same, in a tenth of the time; else None."""
    if '"' in text or "\\" in text:
        return None
    try:
        return _DECODER.decode(text.replace("'", '"'))
    except (ValueError, RecursionError):
        return None
