"""Waiting for a condition, with limits that one setting scales.

A test never waits for a time, but until a condition is true. A limit only ends a wait that would last for ever, so it
is generous: a limit that is reached is a bug, not a slow machine. Where it is the machine after all, the environment
variable TABSERVE_TEST_PATIENCE multiplies every limit (default: 1), pytest's own timeout of a test included.
"""

import math
import os
import time
from collections.abc import Callable

SETTING = "TABSERVE_TEST_PATIENCE"
_PASSED_ON = "TEST_PATIENCE"


def _patience() -> float:
    """The factor. Child processes get it under another name, because the commands refuse unknown TABSERVE_ names."""
    if SETTING in os.environ:
        os.environ[_PASSED_ON] = os.environ.pop(SETTING)
    text = os.environ.get(_PASSED_ON, "1")
    try:
        factor = float(text)
    except ValueError:
        factor = math.nan
    if not 0 < factor < math.inf:
        raise ValueError(f"{SETTING}: {text!r} is not a number above 0")
    return factor


PATIENCE = _patience()


def patient(seconds: float) -> float:
    """A limit in seconds, scaled by the setting."""
    return seconds * PATIENCE


LIMIT = patient(120)
"""Seconds for one step of another thread, process or server: a reply, a start, an end."""

LONG_LIMIT = patient(600)
"""Seconds for a command that does many steps, such as a training or the whole pipeline."""

SHORTEST_PAUSE, LONGEST_PAUSE = 0.005, 0.05


def until(condition: Callable[[], bool], seconds: float = 120) -> None:
    """Waits until another thread or process makes the condition true.

    Raises:
        AssertionError: it is still false after so many seconds, scaled by the setting.
    """
    limit = patient(seconds)
    deadline = time.monotonic() + limit
    pause = SHORTEST_PAUSE
    while not condition():
        assert time.monotonic() < deadline, f"the condition was still false after {limit:.0f} s"
        time.sleep(pause)  # longer each time, to leave the processor to what is waited for
        pause = min(1.5 * pause, LONGEST_PAUSE)
