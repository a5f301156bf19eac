"""Threads that work behind the one that answers single predictions."""

import contextlib
import os
import sys
import threading


def hand_over_soon() -> None:
    """Lets whichever thread asks for Python's lock have it half a millisecond later, not five."""
    sys.setswitchinterval(0.0005)


def step_back() -> None:
    """Lets the thread that answers single predictions go before this one: it gets Python's lock soon, and the processor
    at once, where Linux ranks threads one by one."""
    hand_over_soon()
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 15)
