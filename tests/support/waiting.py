"""Waiting for a condition."""

import time
from collections.abc import Callable

import requests


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Waits for a condition that another thread or process makes true, on however busy a machine."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it didn't come true"
        time.sleep(0.005)


def status(url: str) -> int:
    """The status of a GET; 0 where nobody listens."""
    try:
        return requests.get(url, timeout=10).status_code
    except requests.ConnectionError:
        return 0
