"""The executor of batches: functions run in its threads, as many at a time as it has."""

import asyncio
import os
import sys
import threading

import pytest

from tabserve.serving import BatchExecutor
from tabserve.serving.threads import NICENESS
from tests.support.waiting import LIMIT


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def test_function_runs_in_another_thread_and_its_result_is_returned() -> None:
    """The result comes back, an exception is raised, and the event loop's thread does none of the work."""
    executor = BatchExecutor(1)

    def divide(dividend: int, divisor: int) -> tuple[float, str]:
        return dividend / divisor, threading.current_thread().name

    async def main() -> None:
        quotient, thread = await executor.run(divide, 6, 4)
        assert (quotient, thread) == (1.5, "batch_0")
        with pytest.raises(ZeroDivisionError):
            await executor.run(divide, 1, 0)

    asyncio.run(main())
    executor.close()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere niceness belongs to the process")
def test_threads_have_a_low_priority() -> None:
    """The threads of the executor are nicer than the one that answers single predictions."""
    executor = BatchExecutor(1)
    before = niceness()
    assert asyncio.run(executor.run(niceness)) == max(before, NICENESS)
    assert niceness() == before
    executor.close()


def test_closing_drops_what_waits_and_finishes_what_runs() -> None:
    """When the executor is closed, a call that runs ends with its result, one that waits is cancelled, and a new one is
    refused."""
    executor = BatchExecutor(1)
    running, go_on = threading.Event(), threading.Event()

    def work() -> str:
        running.set()
        assert go_on.wait(LIMIT)
        return "done"

    async def main() -> None:
        runs = asyncio.ensure_future(executor.run(work))
        await asyncio.to_thread(running.wait, 60)
        waits = asyncio.ensure_future(executor.run(work))
        await asyncio.sleep(0)  # lets the second call reach the queue
        assert executor.waiting == 1
        executor.close()
        with pytest.raises(asyncio.CancelledError):
            await waits
        go_on.set()
        assert await runs == "done"
        with pytest.raises(RuntimeError):
            await executor.run(work)
        assert executor.waiting == 0

    asyncio.run(main())
