"""Many calls at once: a bounded pool of threads over a lazy stream, results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

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
