"""Prepare things in a thread while those before them are in use."""

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
    """Each item with a call that gives what `prepare` made of it, or raises what it raised.

    Parameters
    ----------
    depth
        How many items beyond the one in use are prepared, one after the other; 0 prepares each when it is called for.
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
