"""Order, bounds, back-pressure and errors of many calls at once; the loop that threads share."""

import asyncio
import itertools
import threading

import pytest

from polymodal.chat import ordered
from polymodal.chat.pool import Line, line


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_results_in_order_of_items(threads):
    turn = threading.Event()

    def work(i):
        if i == 0 and threads > 1:
            turn.wait(10)  # the first ends last
        if i == 1:
            turn.set()
        return i * i

    assert list(ordered(work, range(40), threads=threads)) == [i * i for i in range(40)]


def test_no_items_no_results():
    assert list(ordered(str, [], threads=3)) == []


def test_one_thread_is_the_callers_own():
    here = threading.current_thread()
    assert all(
        thread is here for thread in ordered(lambda _: threading.current_thread(), range(3), threads=1)
    )


def test_an_endless_stream_is_held_back():
    taken = []
    stream = ordered(lambda i: i, (taken.append(i) or i for i in itertools.count()), threads=2, window=5)
    assert [next(stream) for _ in range(10)] == list(range(10))
    assert len(taken) <= 15
    stream.close()


def test_never_more_at_once_than_threads():
    lock, now, most = threading.Lock(), 0, 0
    full = threading.Barrier(4)

    def work(i):
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        if i < 4:
            full.wait(10)  # four at once are reached
        with lock:
            now -= 1

    list(ordered(work, range(40), threads=4))
    assert most == 4


def test_the_first_error_comes_after_those_in_flight_have_ended():
    ended, go = [], threading.Event()

    def work(i):
        if i == 0:
            go.set()
            raise KeyError("first")
        go.wait(10)
        ended.append(i)
        return i

    stream = ordered(work, range(100), threads=3, window=3)
    with pytest.raises(KeyError, match="first"):
        next(stream)
    assert set(ended) <= {1, 2}
    assert not [t for t in threading.enumerate() if t.name.startswith("polymodal-call")]


def test_results_before_an_error_are_given():
    stream = ordered(lambda i: 1 // (3 - i), range(10), threads=2)
    assert list(itertools.islice(stream, 3)) == [0, 0, 1]
    with pytest.raises(ZeroDivisionError):
        next(stream)


def test_an_error_of_the_items_passes():
    def items():
        yield 1
        raise OSError("broken stream")

    with pytest.raises(OSError, match="broken stream"):
        list(ordered(str, items(), threads=2))


@pytest.mark.parametrize(("threads", "window"), [(0, None), (4, 3), (-1, None)])
def test_bounds_that_are_none(threads, window):
    with pytest.raises(ValueError, match="at least 1 thread"):
        ordered(str, [], threads=threads, window=window)


def test_threads_share_one_loop():
    async def where(i):
        await asyncio.sleep(0)
        return i, threading.current_thread().name

    found = list(ordered(lambda i: line().run(lambda: where(i)), range(50), threads=8))
    assert found == [(i, "polymodal-line") for i in range(50)]


def test_an_error_on_the_loop_is_the_callers():
    async def fail():
        raise LookupError("there")

    with pytest.raises(LookupError, match="there"):
        line().run(fail)


def test_closing_from_the_loop_itself_does_not_wait_for_it():
    closed = threading.Event()

    async def close():
        closed.set()

    async def work():
        line().close(close)

    line().run(work)
    assert closed.wait(10)
    closed.clear()
    line().close(close)
    assert closed.is_set()


def test_an_interrupt_while_waiting_cancels_the_work(monkeypatch):
    begun, cancelled = threading.Event(), threading.Event()
    own = Line()

    async def forever():
        begun.set()
        try:
            await asyncio.sleep(3600)
        finally:
            cancelled.set()

    class Interrupted:
        """A lock whose holder is interrupted in the wait."""

        def __init__(self):
            self.times = 0

        def acquire(self):
            self.times += 1
            if self.times == 2:
                assert begun.wait(10)
                raise KeyboardInterrupt

        def release(self):
            pass

    real = own._hand
    monkeypatch.setattr("polymodal.chat.pool.Lock", Interrupted)
    monkeypatch.setattr(own, "_hand", real)
    with pytest.raises(KeyboardInterrupt):
        own.run(forever)
    assert cancelled.wait(10)
    own._loop.call_soon_threadsafe(own._loop.stop)
    own._thread.join()
    own._loop.close()


def test_a_forked_process_begins_a_line_of_its_own(monkeypatch):
    import polymodal.chat.pool as pool

    async def one():
        return 1

    first = line()
    assert line() is first
    monkeypatch.setattr(pool, "_LINES", [first])
    monkeypatch.setattr(first, "pid", -1)
    second = line()
    assert second is not first
    assert second.run(one) == 1
    second._loop.call_soon_threadsafe(second._loop.stop)
    second._thread.join()
    second._loop.close()
