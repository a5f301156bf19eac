"""The executor of batches: functions run in its threads, as many at a time as it has."""

import asyncio
import os
import sys
import threading

import pytest

from tabserve.errors import OverloadedError
from tabserve.serving import BatchExecutor
from tabserve.serving.threads import NICENESS
from tests.support.waiting import LIMIT


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def test_function_runs_in_another_thread_and_its_result_is_returned() -> None:
    """The result comes back, an exception is raised, and the event loop's thread does none of the work."""
    executor = BatchExecutor(1, most=2)

    def divide(dividend: int, divisor: int) -> tuple[float, str]:
        return dividend / divisor, threading.current_thread().name

    async def main() -> None:
        quotient, thread = await executor.submit(divide, 6, 4)
        assert (quotient, thread) == (1.5, "batch_0")
        with pytest.raises(ZeroDivisionError):
            await executor.submit(divide, 1, 0)

    asyncio.run(main())
    executor.close()


def test_calls_beyond_the_most_are_refused_until_one_has_ended() -> None:
    """Calls that run or wait count. A cancelled one is never run, and makes room at once."""
    executor = BatchExecutor(1, most=2)
    running, go_on = threading.Event(), threading.Event()
    ran: list[str] = []

    def work() -> None:
        running.set()
        assert go_on.wait(LIMIT)

    async def main() -> None:
        runs = executor.submit(work)
        await asyncio.to_thread(running.wait, LIMIT)
        waits = executor.submit(ran.append, "cancelled")
        with pytest.raises(OverloadedError):
            executor.submit(ran.append, "refused")
        waits.cancel()
        await asyncio.sleep(0)  # the cancellation reaches the pool in the next turn of the loop
        last = executor.submit(ran.append, "last")
        go_on.set()
        await asyncio.gather(runs, last)

    asyncio.run(main())
    executor.close()
    assert ran == ["last"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere niceness belongs to the process")
def test_threads_have_a_low_priority() -> None:
    """The threads of the executor are nicer than the one that answers single predictions."""
    executor = BatchExecutor(1, most=2)
    before = niceness()

    async def main() -> None:
        assert await executor.submit(niceness) == max(before, NICENESS)

    asyncio.run(main())
    assert niceness() == before
    executor.close()


def test_closing_drops_what_waits_and_finishes_what_runs() -> None:
    """When the executor is closed, a call that runs ends with its result, one that waits is cancelled, and a new one is
    refused."""
    executor = BatchExecutor(1, most=2)
    running, go_on = threading.Event(), threading.Event()

    def work() -> str:
        running.set()
        assert go_on.wait(LIMIT)
        return "done"

    async def main() -> None:
        runs = executor.submit(work)
        await asyncio.to_thread(running.wait, 60)
        waits = executor.submit(work)
        executor.close()
        with pytest.raises(asyncio.CancelledError):
            await waits
        go_on.set()
        assert await runs == "done"
        with pytest.raises(RuntimeError):
            await executor.submit(work)

    asyncio.run(main())
