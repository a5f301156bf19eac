"""Values as text, for the card and for the terminal."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from tabserve.training import metric_text

SHOWN = 5
"""How many categories or classes are named, if there are many."""


def most_frequent(counts: Mapping[Any, int]) -> str:
    """The categories, each with its rows in brackets, the most frequent first, and how many more there are."""
    ordered = sorted(counts.items(), key=lambda pair: -pair[1])
    more = f", and {len(ordered) - SHOWN} more" * (len(ordered) > SHOWN)
    return ", ".join(f"{name} ({count})" for name, count in ordered[:SHOWN]) + more


def number_text(value: float, digits: int = 6) -> str:
    """A number with so many significant digits. Large ones are written out: 246700, not 2.467e+05."""
    text = f"{value:.{digits}g}"
    return f"{float(text):.0f}" if "e+" in text and abs(value) < 1e15 else text


def table_rows(rows: Iterable[list[str]]) -> str:
    """The rows of a table in Markdown."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def wrapped_table(lines: Sequence[Sequence[str]], shares: Sequence[float], width: int) -> list[str]:
    """The lines of a table that is at most `width` characters wide, with aligned columns. A cell that is too long for
    its column goes on in the next line. Each column gets its share of the width, and more if others need less."""
    room = width - 2 * (len(shares) - 1)
    longest = [max(map(len, column)) for column in zip(*lines, strict=True)]
    widths = [min(need, int(share * room)) for need, share in zip(longest, shares, strict=True)]
    for number, need in enumerate(longest):
        widths[number] += min(need - widths[number], room - sum(widths))
    cells = [[textwrap.wrap(cell, own) or [""] for cell, own in zip(line, widths, strict=True)] for line in lines]
    rows = [row for line in cells for row in zip_longest(*line, fillvalue="")]
    return ["  ".join(f"{part:{own}}" for part, own in zip(row, widths, strict=True)).rstrip() for row in rows]


def with_deviation(metrics: Mapping[str, float], name: str) -> str:
    """A metric of the cross-validation: mean ± standard deviation."""
    return f"{metric_text(metrics[f'cv_{name}_mean'])} ± {metric_text(metrics[f'cv_{name}_std'])}"


def is_measured(metrics: Mapping[str, float], name: str) -> bool:
    """Whether a metric is defined for the held-out rows and in every fold."""
    return f"test_{name}" in metrics and f"cv_{name}_mean" in metrics
