"""A store of replies by key: survives kills, shared by threads, processes and runs."""

import sqlite3
from pathlib import Path
from threading import Lock
from typing import Self


class Cache:
    """Bytes by key in one SQLite file. What `put` returned from is there after a kill at any later moment.

    Several processes may use one file at once; the first value of a key stays.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, or make it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._lock = Lock()  # one connection for all threads: SQLite writes one at a time anyway
        self._open = sqlite3.connect(path, timeout=60, check_same_thread=False, isolation_level=None)
        self._open.execute("PRAGMA journal_mode=WAL")
        self._open.execute("PRAGMA synchronous=NORMAL")
        self._open.execute("CREATE TABLE IF NOT EXISTS kept (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID")

    def get(self, key: str) -> bytes | None:
        """The value, or None."""
        with self._lock:
            row = self._open.execute("SELECT value FROM kept WHERE key = ?", (key,)).fetchone()
        return None if row is None else bytes(row[0])

    def put(self, key: str, value: bytes) -> None:
        """Keep a value, unless the key has one."""
        with self._lock:
            self._open.execute("INSERT OR IGNORE INTO kept VALUES (?, ?)", (key, value))

    def __len__(self) -> int:
        with self._lock:
            return int(self._open.execute("SELECT count(*) FROM kept").fetchone()[0])

    def close(self) -> None:
        """Fold the log into the file and let go of it."""
        with self._lock:
            self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
