"""How long something takes, and how it is told."""

import statistics
import time
from collections.abc import Callable, Sequence


def seconds_each(call: Callable[[], object], seconds: float) -> float:
    """What a call takes: the least of several, for the rest is other processes'."""
    took: list[float] = []
    started = time.perf_counter()
    while len(took) < 3 or time.perf_counter() < started + seconds:
        before = time.perf_counter()
        call()
        took.append(time.perf_counter() - before)
    return min(took)


def spread(values: Sequence[float], form: str = ".2f") -> str:
    """The median, and in brackets the least and the most."""
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def table(title: str, remark: str, head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table of the report, which is also shown at once."""
    drawn = [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *lines)]
    text = "\n".join([f"## {title}", "", remark, "", *drawn])
    print(f"\n{text}", flush=True)
    return text
