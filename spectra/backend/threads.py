"""Layers side by side, each on one thread, in an order that is kept."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from threadpoolctl import threadpool_limits

__all__ = ["cores", "in_order"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


def in_order(
    work: Callable[[Item], Result], items: Iterable[Item], /, *, workers: int
) -> Iterator[tuple[Item, Result]]:
    """Yield each item with its result, in the items' order.

    Parameters
    ----------
    work
        What is done with an item, on a thread of its own.
    items
        Taken as threads get free, twice as many as workers ahead.
    workers
        How many threads.

    Notes
    -----
    BLAS gets one thread a worker: faster than its own threads on small
    blocks, and the bits do not depend on how many cores there are.
    """
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    with threadpool_limits(1), ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                waiting.append((item, pool.submit(work, item)))
                if len(waiting) >= 2 * workers:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            for _, future in waiting:
                future.cancel()
