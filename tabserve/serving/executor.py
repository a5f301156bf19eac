"""Threads for work that takes long, such as batches, so that the event loop stays free for single predictions."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, TypeVarTuple

from tabserve.errors import OverloadedError
from tabserve.serving.threads import lower_priority

Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")


class BatchExecutor:
    """Runs functions in a pool of threads of low priority. Calls that find no free thread wait for their turn, in their
    order; at most `most` calls run or wait."""

    def __init__(self, threads: int, most: int) -> None:
        self._pool = ThreadPoolExecutor(threads, "batch", initializer=lower_priority)
        self._most, self._in_flight = most, 0
        self._lock = threading.Lock()

    def check_capacity(self) -> None:
        """Raises OverloadedError if no more calls are taken now."""
        if self._in_flight >= self._most:
            raise OverloadedError(f"The server is busy with {self._most} batches")

    def submit(self, function: Callable[[*Arguments], Result], *arguments: *Arguments) -> asyncio.Future[Result]:
        """A future with what the function returns or raises. If the future is cancelled while the call waits for its
        turn, the function isn't called. It is cancelled if the executor is closed meanwhile.

        Raises:
            OverloadedError: no more calls are taken now.
            RuntimeError: the executor is closed.
        """
        self.check_capacity()
        call = self._pool.submit(function, *arguments)
        with self._lock:
            self._in_flight += 1
        call.add_done_callback(self._leave)
        return asyncio.wrap_future(call)

    def _leave(self, _: object) -> None:
        with self._lock:
            self._in_flight -= 1

    def close(self) -> None:
        """Drops what still waits for its turn. Doesn't wait for what runs."""
        self._pool.shutdown(wait=False, cancel_futures=True)
