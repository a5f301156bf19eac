"""Values as text, for the card and for the terminal."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

SHOWN = 5
"""How many categories or classes are named, if there are many."""


def most_frequent(counts: Mapping[Any, int]) -> str:
    """The categories with their rows, the most frequent first, and how many more there are."""
    ordered = sorted(counts.items(), key=lambda pair: -pair[1])
    more = f", and {len(ordered) - SHOWN} more" * (len(ordered) > SHOWN)
    return ", ".join(f"{name} {count}" for name, count in ordered[:SHOWN]) + more


def table_rows(rows: Iterable[list[str]]) -> str:
    """The rows of a table in Markdown."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def wrapped_table(lines: Sequence[Sequence[str]], widest: Sequence[int]) -> list[str]:
    """The lines of a table with aligned columns. A cell that is longer than its column's entry in `widest` goes on in
    the next line."""
    cells = [[textwrap.wrap(cell, width) or [""] for cell, width in zip(line, widest, strict=True)] for line in lines]
    widths = [max(len(part) for line in cells for part in line[number]) for number in range(len(widest))]
    rows = [row for line in cells for row in zip_longest(*line, fillvalue="")]
    return ["  ".join(f"{part:{width}}" for part, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def with_deviation(metrics: Mapping[str, float], name: str) -> str:
    """A metric of the cross-validation: mean ± standard deviation."""
    return f"{metrics[f'cv_{name}_mean']:.4f} ± {metrics[f'cv_{name}_std']:.4f}"
