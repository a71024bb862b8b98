"""A function over many items on all cores, in order and in bounded memory."""

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_FEW = 32  # items for which starting processes costs more than it saves
_AHEAD = 8  # items a worker may be ahead of the consumer


def default_workers() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_parallel(
    function: Callable[[T], R],
    items: Iterable[T],
    *,
    workers: int,
    on_crash: Callable[[T], R],
) -> Generator[R, None, None]:
    """`map(function, items)` in `workers` processes.

    Args:
        function: Importable, takes and returns what can be pickled, raises nothing.
        items: Read as results are taken, not at once.
        workers: Processes; 1, or a handful of items, runs here.
        on_crash: The result for an item that kills its process (a decoder that segfaults, memory).
    """
    remaining = iter(items)
    first = list(islice(remaining, _FEW))
    if workers <= 1 or len(first) < _FEW:
        for item in (*first, *remaining):
            yield function(item)
        return
    waiting: deque[tuple[T, Future[R]]] = deque()
    todo: Iterator[T] = (item for part in (first, remaining) for item in part)
    pool = _pool(workers)
    try:
        for item in islice(todo, workers * _AHEAD):
            waiting.append((item, pool.submit(function, item)))
        while waiting:
            item, future = waiting.popleft()
            try:
                result = future.result()
            except BrokenProcessPool:
                # One of the items in flight killed its process, and all of them failed with it.
                pool.shutdown(wait=False, cancel_futures=True)
                result = _alone(function, item, on_crash)
                pool = _pool(workers)
                waiting = deque((each, pool.submit(function, each)) for each, _ in waiting)
            waiting.extend((each, pool.submit(function, each)) for each in islice(todo, 1))
            yield result
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _alone(function: Callable[[T], R], item: T, on_crash: Callable[[T], R]) -> R:
    with _pool(1) as pool:
        try:
            return pool.submit(function, item).result()
        except BrokenProcessPool:
            return on_crash(item)


def _pool(workers: int) -> ProcessPoolExecutor:
    # Not fork: the parent may hold threads and locks.
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
