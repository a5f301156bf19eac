"""Progress of work that takes long, as a share from 0 to 1. Standard library only."""

import threading
from collections.abc import Callable

ReportProgress = Callable[[float], None]
"""Called now and then with the share of the work that is done. Any thread may call it."""


def ignore_progress(_: float) -> None:
    """For a caller who doesn't want to know."""


class JointProgress:
    """Progress of several pieces of work that run at the same time, reported as one share."""

    def __init__(self, pieces: int, report_progress: ReportProgress) -> None:
        self._shares, self._report, self._lock = [0.0] * pieces, report_progress, threading.Lock()

    def __call__(self, piece: int, share: float) -> None:
        with self._lock:
            self._shares[piece] = share
            self._report(sum(self._shares) / len(self._shares))
