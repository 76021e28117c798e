"""Many calls at once: a bounded pool of threads in order, and one loop that threads share."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Lock, Thread, current_thread
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ordered(
    work: Callable[[Item], Result], items: Iterable[Item], *, threads: int, window: int | None = None
) -> Iterator[Result]:
    """Do `work` on every item, some at once, and yield the results in the order of the items.

    Items are taken only as there is room for them, so an endless stream is held back by its reader and memory
    does not grow with the number of items.

    Args:
        work: done on a thread of the pool, or on the caller's with `threads=1`.
        items: taken by the caller's thread alone.
        threads: calls at once at most.
        window: items taken and not yet given back, at most; twice `threads` when None, so that one slow call
            does not leave the others idle.

    Raises:
        ValueError: no thread, or a window smaller than the threads.
        BaseException: what `work` or `items` raised first in order, once the calls in flight have ended; what
            they returned was done but is not given. Closing the iterator waits for them too.
    """
    room = 2 * threads if window is None else window
    if threads < 1 or room < threads:
        raise ValueError(f"threads={threads}, window={window}: at least 1 thread, and a window as large")
    return map(work, items) if threads == 1 else _pooled(work, items, threads, room)


def _pooled(
    work: Callable[[Item], Result], items: Iterable[Item], threads: int, room: int
) -> Iterator[Result]:
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="polymodal-call") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= room:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()  # what has not begun never will
            wait(waiting)


class Line:
    """An event loop in a thread of its own, to which any number of threads hand coroutines.

    A hundred blocking clients in a hundred threads spend most of their time queueing for the interpreter. On
    one loop the same calls take a third of the CPU. Threads that hand over while it is busy share one
    wake-up, and each waits on a bare lock: with asyncio's own `run_coroutine_threadsafe` a call costs a third
    more.
    """

    def __init__(self) -> None:
        self.pid = os.getpid()  # a forked process inherits the object and not the thread
        self._loop = asyncio.new_event_loop()
        self._lock = Lock()
        self._handed: list[Callable[[], None]] = []
        self._closing: set[asyncio.Task[None]] = set()
        self._thread = Thread(target=self._loop.run_forever, name="polymodal-line", daemon=True)
        self._thread.start()

    def run(self, work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """Run what `work` makes on the loop, and wait for its result; must not be called from the loop."""
        ended, tasks, results = Lock(), list[asyncio.Task[None]](), list[Result]()
        errors = list[BaseException]()
        ended.acquire()

        async def whole() -> None:
            try:
                results.append(await work())
            except BaseException as error:
                errors.append(error)
            finally:
                ended.release()  # here and not when the loop tells of the end, a turn of it later

        self._hand(lambda: tasks.append(self._loop.create_task(whole())))
        try:
            ended.acquire()  # until it is done
        except BaseException:  # the person's Ctrl-C
            self._hand(lambda: [task.cancel() for task in tasks].clear())
            raise
        if errors:
            raise errors[0]
        return results[0]

    def close(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run what `work` makes, wherever we are called from; on the loop, where nobody can wait, soon."""
        if current_thread() is not self._thread:
            return self.run(work)
        task = self._loop.create_task(work())
        self._closing.add(task)  # or it might be collected before it ends
        task.add_done_callback(self._closing.discard)
        return None

    def _hand(self, begin: Callable[[], None]) -> None:
        with self._lock:
            first = not self._handed
            self._handed.append(begin)
        if first:
            self._loop.call_soon_threadsafe(self._take)

    def _take(self) -> None:
        with self._lock:
            handed, self._handed = self._handed, []
        for begin in handed:
            begin()


_LINES: list[Line] = []
_LOCK = Lock()


def line() -> Line:
    """The process's one line; a forked process begins its own."""
    with _LOCK:
        if not _LINES or _LINES[-1].pid != os.getpid():
            _LINES.append(Line())
        return _LINES[-1]
