"""Threads that work behind the one that answers single predictions."""

import contextlib
import os
import sys
import threading


def step_back() -> None:
    """Lets the thread that answers single predictions go before this one: it gets Python's lock half a millisecond
    after it asked for it, not five, and the processor at once, where Linux ranks threads one by one."""
    sys.setswitchinterval(0.0005)
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 15)
