"""Runs batches in threads that step back for single predictions."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from tabserve.serving.threads import step_back

P = ParamSpec("P")
T = TypeVar("T")


class BatchExecutor:
    """At most `threads` batches run at the same time; the others wait."""

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, "batch", initializer=step_back)

    async def run(self, function: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """Runs the function in one of the threads, and returns or raises what it does."""
        return await asyncio.wrap_future(self._pool.submit(function, *arguments, **options))

    def close(self) -> None:
        """Drops what waits for a thread. Doesn't wait for what runs."""
        self._pool.shutdown(wait=False, cancel_futures=True)
