"""Threads for work that takes long, such as batches, so that the event loop stays free for single predictions."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, TypeVarTuple

from tabserve.serving.threads import lower_priority

Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")


class BatchExecutor:
    """Runs functions in a pool of threads of low priority. Calls that find no free thread wait for their turn, in their
    order."""

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, "batch", initializer=lower_priority)
        self._threads, self._calls = threads, 0

    @property
    def waiting(self) -> int:
        """How many calls wait for a free thread."""
        return max(0, self._calls - self._threads)

    async def run(self, function: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
        """What the function returns; what it raises is raised here.

        Raises:
            asyncio.CancelledError: the executor was closed while the call waited.
            RuntimeError: the executor is closed.
        """
        self._calls += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, function, *arguments)
        finally:
            self._calls -= 1

    def close(self) -> None:
        """Drops what still waits for its turn. Doesn't wait for what runs."""
        self._pool.shutdown(wait=False, cancel_futures=True)
