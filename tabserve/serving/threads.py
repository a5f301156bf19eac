"""Lets the thread that answers single predictions go before all others."""

import contextlib
import os
import sys
import threading

SWITCH_SECONDS = 0.0005
"""How long a thread may keep the GIL when another one waits for it. Python's own value is 0.005."""

NICENESS = 15


def shorten_gil_switch_interval() -> None:
    """Lets a thread that waits for the GIL have it within `SWITCH_SECONDS`. Holds for the whole process."""
    sys.setswitchinterval(SWITCH_SECONDS)


def lower_priority() -> None:
    """Puts this thread behind the one that answers single predictions, which then gets the GIL soon and, on Linux, the
    processor at once. Elsewhere niceness belongs to the process, so nothing is changed."""
    shorten_gil_switch_interval()
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
