"""Values as text, for the card and for the terminal."""

from collections.abc import Iterable, Mapping
from typing import Any

from tabserve.training import metric_text

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


def with_deviation(metrics: Mapping[str, float], name: str) -> str:
    """A metric of the cross-validation: mean ± standard deviation."""
    return f"{metric_text(metrics[f'cv_{name}_mean'])} ± {metric_text(metrics[f'cv_{name}_std'])}"


def is_measured(metrics: Mapping[str, float], name: str) -> bool:
    """Whether a metric is defined for the held-out rows and in every fold."""
    return f"test_{name}" in metrics and f"cv_{name}_mean" in metrics
