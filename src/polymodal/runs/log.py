"""The run's diary: one JSON line an event, flushed and synced before the work goes on."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from polymodal.runs.values import plain


class Log:
    """An append-only JSON Lines file that survives a kill in the middle of a line."""

    def __init__(self, path: Path) -> None:
        mend(path)
        self._stream = path.open("ab")

    def append(self, kind: str, fields: dict[str, Any]) -> dict[str, Any]:
        """Write one event with its wall-clock time (seconds since 1970), and return it."""
        entry = {"at": round(time.time(), 3), "kind": kind, **plain(fields, f"event {kind!r}")}
        self._stream.write((json.dumps(entry, ensure_ascii=False, allow_nan=False) + "\n").encode())
        self._stream.flush()
        os.fsync(self._stream.fileno())
        return entry

    def close(self) -> None:
        """Close the file; nothing is buffered."""
        self._stream.close()


def mend(path: Path) -> None:
    """Cut off a last line that a kill left without its end; its event never happened."""
    if not path.exists():
        return
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        with path.open("r+b") as stream:
            stream.truncate(whole)
            os.fsync(stream.fileno())


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the whole events of a log; a torn last line is passed over.

    Raises:
        ValueError: a line that is not the last is broken; the message names file and line.
    """
    if not path.exists():
        return
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            if not line.endswith(b"\n"):
                return
            try:
                entry = json.loads(line)
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: not an event ({error})") from None
            yield entry
