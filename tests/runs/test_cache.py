"""Replies by key: kept through kills, the first value stays, many writers."""

import multiprocessing
import os
import signal
from concurrent.futures import ThreadPoolExecutor

from polymodal.runs import Cache, Run


def test_what_is_kept_is_there_when_opened_again(tmp_path):
    with Cache(tmp_path / "deep" / "calls.sqlite") as cache:
        assert cache.get("a") is None
        cache.put("a", b"\x00one")
        cache.put("a", b"another")
        assert len(cache) == 1
    assert Cache(tmp_path / "deep" / "calls.sqlite").get("a") == b"\x00one"


def test_threads_share_it(tmp_path):
    with Cache(tmp_path / "c.sqlite") as cache, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: cache.put(str(i % 50), str(i % 50).encode()), range(400)))
        assert len(cache) == 50
        assert all(cache.get(str(i)) == str(i).encode() for i in range(50))


def write_until_killed(path, told):
    with Cache(path) as cache:
        for i in range(10_000):
            cache.put(str(i), b"x" * 100)
            told.send(i)


def test_a_killed_writer_loses_nothing_that_was_put(tmp_path):
    context = multiprocessing.get_context("spawn")
    ears, mouth = context.Pipe(duplex=False)
    writer = context.Process(target=write_until_killed, args=(tmp_path / "c.sqlite", mouth))
    writer.start()
    last = [ears.recv() for _ in range(300)][-1]
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    mouth.close()
    with Cache(tmp_path / "c.sqlite") as cache:
        assert all(cache.get(str(i)) == b"x" * 100 for i in range(last + 1))


def test_a_run_has_its_own(tmp_path):
    with Run.create("toy", {"seed": 1}, root=tmp_path) as run:
        with run.replies() as replies:
            replies.put("k", b"v")
        folder = run.folder
    with Run.resume(folder) as run, run.replies() as replies:
        assert replies.get("k") == b"v"
