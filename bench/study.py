"""The study app under load: ratings a second, waiting times of 50 raters, two minutes of 200, a large export.

Run from the project's root: `python bench/study.py [SECONDS]` (120 by default). It ends with 1 where a bar is
missed. The peer of the store is the sqlite3 module committing the same rows one by one.
"""

import json
import multiprocessing
import resource
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.judge.people.studies import binaries, postgres, raw

from polymodal.judge.people.bots import visit, walk
from polymodal.judge.people.store import Store
from polymodal.judge.people.study import load
from polymodal.judge.people.tables import Json, Rater, slot
from polymodal.judge.people.verdicts import event_rows, rating_rows

SAVES, PAUSE = 5_000, 0.5
STORED = 100_000


def saves_a_second(folder: Path) -> bool:
    """One worker, eight threads, one committed answer a call."""
    file = folder / "saves.json"
    file.write_text(json.dumps(raw(items=40, design={"ratings_per_case": 8, "cases_per_rater": 40})))
    store = Store(f"sqlite:///{folder / 'saves.db'}", load(file))
    held = []
    for _ in range(8):
        rater = store.rater(store.enrol())
        rater = store.advance(store.consent(rater, True), 1)
        held.append((rater, store.lease(rater).id))

    def rate(rater: Rater, place: int) -> None:
        for seq in range(SAVES // 8):
            store.save(rater, place, "good", 1 + seq % 7, seq=seq + 1, version=seq)

    threads = [threading.Thread(target=rate, args=one) for one in held]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ours = SAVES / (time.perf_counter() - start)
    kept = sum(1 for _ in store.rows("answer"))
    store.close()
    bare = sqlite3.connect(folder / "bare.db", isolation_level=None)
    bare.execute("PRAGMA journal_mode=WAL")
    bare.execute("PRAGMA synchronous=NORMAL")
    bare.execute(
        "CREATE TABLE answer (id INTEGER PRIMARY KEY, field TEXT, value TEXT, version INTEGER, saved REAL)"
    )
    start = time.perf_counter()
    for seq in range(SAVES):
        bare.execute("BEGIN IMMEDIATE")
        bare.execute(
            "INSERT INTO answer VALUES (NULL, 'good', ?, ?, ?)", (str(1 + seq % 7), seq, time.time())
        )
        bare.execute("COMMIT")
    peer = SAVES / (time.perf_counter() - start)
    bare.close()
    print(
        f"store: {ours:,.0f} committed ratings a second, one worker (bar 1,000), {kept:,} of {SAVES:,} kept; "
        f"bare sqlite3 inserts without any check: {peer:,.0f} ({peer / ours:.1f} x)"
    )
    return ours >= 1000 and kept == SAVES


def serve(url: str, file: Path, port: int) -> None:
    """One worker in a process of its own."""
    import uvicorn

    from polymodal.judge.people.app import app

    store = Store(url, load(file))
    uvicorn.run(app(store.study, store), port=port, log_level="error", access_log=False)


@contextmanager
def served(url: str, file: Path) -> Iterator[str]:
    """A server's address, once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(url, file, port))
    process.start()
    try:
        while process.is_alive():
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()  # not terminated: what it has said must be kept anyway
        process.join()


def visits(
    name: str, url: str, file: Path, raters: int, length: float, pause: float
) -> tuple[bool, np.ndarray]:
    """Raters over HTTP for some time, the server then killed; whether the export has each answer once."""
    store = Store(url, load(file))
    tokens = [store.enrol() for _ in range(2 * raters)]
    end, saved, took, trouble = time.monotonic() + length, [], [], []

    def stay(own: list[str], number: int, base: str) -> None:
        time.sleep(pause * number / raters)
        for token in own:
            try:
                for step in visit(f"{base}/s/{token}", store.study, seed=number):
                    saved.extend(step.saved)
                    took.append((step.what, step.seconds))
                    time.sleep(pause)
                    if time.monotonic() > end:
                        return
            except OSError as error:
                trouble.append(str(error)[:200])

    with served(url, file) as base:
        threads = [threading.Thread(target=stay, args=(tokens[i::raters], i, base)) for i in range(raters)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    exported = Counter((row["slot"], row["data"]["field"], row["data"]["version"]) for row in decoded(store))
    newest = Counter((row["slot"], row["field"]) for row in rating_rows(store))
    store.close()
    once = all(exported[one] == 1 for one in saved) and set(newest.values()) <= {1}
    lost = sum(exported[one] != 1 for one in saved)
    waits = np.array([seconds for what, seconds in took if what in ("page", "save")])
    print(
        f"{name}: {raters} raters for {length:.0f} s, {len(took) / length:.0f} requests a second, "
        f"{len(saved):,} answers acknowledged, {lost} lost or doubled, {len(trouble)} errors {trouble[:1]}"
    )
    return once and not trouble and bool(saved), waits


def decoded(store: Store) -> Iterator[dict[str, Any]]:
    """Events of answers, their data read."""
    for row in event_rows(store):
        if row["kind"] == "answer":
            yield {**row, "data": json.loads(row["data"])}


def waiting(folder: Path) -> bool:
    """Fifty raters who take half a second between clicks."""
    file = folder / "fifty.json"
    file.write_text(json.dumps(raw(items=1000, design={"ratings_per_case": 2, "cases_per_rater": 20})))
    fine, waits = visits("50 on SQLite", f"sqlite:///{folder / 'fifty.db'}", file, 50, 20, PAUSE)
    middle, late = np.percentile(waits, [50, 95]) * 1000
    print(
        f"next screen and save: median {middle:.0f} ms, p95 {late:.0f} ms (bar 200), {PAUSE} s between clicks"
    )
    return fine and late <= 200


def two_minutes(folder: Path, length: float) -> bool:
    """Two hundred raters on each database."""
    file = folder / "many.json"
    file.write_text(json.dumps(raw(items=2400, design={"ratings_per_case": 2, "cases_per_rater": 12})))
    fine = visits("200 on SQLite", f"sqlite:///{folder / 'many.db'}", file, 200, length, 2.0)[0]
    if binaries() is None:
        print("no PostgreSQL on this machine: its two minutes are left out")
        return fine
    with postgres() as url:
        return visits("200 on PostgreSQL", url, file, 200, length, 2.0)[0] and fine


def large(folder: Path) -> bool:
    """100,000 stored answers through `polymodal study export`, in a process of its own for its memory."""
    file = folder / "study.json"
    file.write_text(json.dumps(raw(items=1000, design={"ratings_per_case": 100, "cases_per_rater": 1000})))
    store = Store(f"sqlite:///{folder / 'toy.db'}", load(file))
    rater = store.rater(store.enrol())
    next(walk(store, store.rater(store.enrol()), seed=0))
    with store.database.write() as c:
        places = [one.id for one in c.execute(slot.select().with_only_columns(slot.c.id)).all()][:STORED]
        bound = Json().process_bind_param
        c.exec_driver_sql(
            f"UPDATE slot SET state = 'done', rater = {rater.id}, opened = 1, submitted = 2 + id "
            "WHERE state = 'open'"
        )
        c.exec_driver_sql("DELETE FROM answer")
        c.exec_driver_sql(
            "INSERT INTO answer (slot, field, value, na, note, version, seq, client_ms, saved) "
            "VALUES (?, 'good', ?, 0, ?, 1, 1, 0, ?)",
            [(place, bound(1 + place % 7, None), bound("", None), float(place)) for place in places],
        )
    store.close()
    code = "from polymodal.cli.study import study; study()"
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, "export", str(file)], check=True, stdout=subprocess.DEVNULL)
    took = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    lines = sum(1 for _ in (folder / "export" / "verdicts.jsonl").open())
    print(f"export: {lines:,} of {STORED:,} answers in {took:.1f} s, {peak:.0f} MB in all (bar 300 MB)")
    return lines == STORED and peak < 300


def main() -> int:
    """Print the lines; 1 where a bar is missed."""
    length = float(sys.argv[1]) if len(sys.argv) > 1 else 120.0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        fine = [large(folder), saves_a_second(folder), waiting(folder), two_minutes(folder, length)]
    return 0 if all(fine) else 1


if __name__ == "__main__":
    sys.exit(main())
