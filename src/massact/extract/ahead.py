"""Prepare the next items in a thread while the current one is in use."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


def ahead(
    items: Iterable[Item], prepare: Callable[[Item], Made], depth: int
) -> Iterator[tuple[Item, Callable[[], Made]]]:
    """Each item with a function that returns the result of `prepare`, or raises its exception.

    Parameters
    ----------
    depth
        How many items beyond the current one are prepared, one after the other. 0: each is prepared when it is needed.
    """
    if depth <= 0:
        for item in items:
            yield item, lambda item=item: prepare(item)
        return
    rest = iter(items)
    pool = ThreadPoolExecutor(1, thread_name_prefix="ahead")
    try:
        waiting: deque[tuple[Item, Future[Made]]] = deque()
        for item in islice(rest, depth + 1):
            waiting.append((item, pool.submit(prepare, item)))
        while waiting:
            item, made = waiting.popleft()
            yield item, made.result
            for following in islice(rest, 1):
                waiting.append((following, pool.submit(prepare, following)))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
