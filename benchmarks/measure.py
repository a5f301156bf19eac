"""Measures how long calls take, and formats measurements for the report."""

import statistics
import time
from collections.abc import Callable, Sequence

CONNECTIONS = (1, 16, 64)
"""The numbers of connections over which single rows are sent."""


def seconds_per_call(call: Callable[[], object], seconds: float) -> float:
    """How long a call takes: the fastest of at least three, repeated for this many seconds. Slower calls were held up
    by other processes."""
    durations: list[float] = []
    started = time.perf_counter()
    while len(durations) < 3 or time.perf_counter() < started + seconds:
        before = time.perf_counter()
        call()
        durations.append(time.perf_counter() - before)
    return min(durations)


def spread(values: Sequence[float], number_format: str = ".2f") -> str:
    """The median, and in brackets the smallest and the largest value."""
    median, smallest, largest = statistics.median(values), min(values), max(values)
    return f"{median:{number_format}} ({smallest:{number_format}} to {largest:{number_format}})"


def table(title: str, remark: str, head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A section of the report: a title, a remark and a table. It is printed as well."""
    text = markdown_table(title, remark, head, lines)
    print(f"\n{text}", flush=True)
    return text


def markdown_table(title: str, remark: str, head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """The same, without printing it."""
    markdown = [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *lines)]
    return "\n".join([f"## {title}", "", remark, "", *markdown])
