"""A file in, a `Dataset` out: the role of each column, which are left out and why, and everything that is wrong."""

import difflib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pandera
from pandas.api.types import is_numeric_dtype
from pandera.errors import SchemaErrors

from tabserve.errors import DataError
from tabserve.training.columns import MAX_TEXT, NUMERIC_SHARE, share_of_numbers
from tabserve.training.config import ColumnOptions
from tabserve.training.dataset import Dataset
from tabserve.training.features import choose_features, order_of
from tabserve.training.raw_table import RawTable
from tabserve.training.source import TableSource
from tabserve.training.table_file import read_table
from tabserve.training.task_choice import TaskChoice, choose_task
from tabserve.training.tasks import TaskKind, TaskTraining, task_training

MIN_ROWS = 20
"""With fewer rows a model learns hardly anything, and nobody can say how good it is."""


def load_table(
    source: TableSource | Path,
    columns: ColumnOptions,
    rows_needed: int | Callable[[TaskKind], int],
    kind: TaskKind | None = None,
    *,
    fewest_rows: int | Callable[[TaskKind], int] = 0,
) -> Dataset:
    """Reads a table. Rows without a target value are left out.

    `source`: a path stands for a file of which everything is to be found out. `rows_needed`: how many rows the training
    needs, as `TaskTraining.rows_needed` gives it, or gives it for a kind. `kind`: the kind of task; None: as the target
    column says. `fewest_rows`: how many it would need with two folds.

    Raises:
        DataError: it can't be read, or no model can be trained on it; a line for every reason.
    """
    if isinstance(source, Path):
        source = TableSource(str(source))
    read = read_table(source, columns.target)
    raw = read.frame
    problems = [*([] if columns.target in raw else read.notes), *_name_problems(raw, columns)]
    raw = raw.loc[:, ~raw.columns.duplicated()]
    labelled = raw[raw[columns.target].notna()] if columns.target in raw else raw
    choice = TaskChoice("classification", "")
    if columns.target in raw:
        choice = choose_task(labelled[columns.target], kind, columns.decimal)
    task = task_training(choice.kind)
    chosen = choose_features(labelled, columns, read.left_out)
    problems += chosen.problems
    frame = pd.DataFrame(chosen.columns, index=labelled.index)
    if columns.target in raw:
        if not len(frame.columns):
            problems.append(_nothing_left(chosen.left_out))
        frame[columns.target] = task.read_target(labelled[columns.target], columns.decimal, read.has_types)
    rows, fewest = (count if isinstance(count, int) else count(choice.kind) for count in (rows_needed, fewest_rows))
    problems += _value_problems(frame, columns, task, rows, fewest)
    order = None
    if columns.split_by in labelled:
        try:
            order = order_of(labelled[columns.split_by], columns).reset_index(drop=True)
        except ValueError as error:
            problems.append(f"--split-by '{columns.split_by}': {error}")
    if problems:
        raise DataError("\n".join(f"{source.name}: {problem}" for problem in problems))
    missing = {str(name): int(count) for name, count in frame.isna().sum().items() if count}
    features = frame.reset_index(drop=True)
    target = features.pop(columns.target)
    return Dataset(
        name=source.table_name,
        features=features,
        target=target,
        task=task.model_task(target),
        missing=missing,
        left_out=chosen.left_out,
        unlabelled=len(raw) - len(labelled),
        task_reason=choice.reason,
        booleans=chosen.booleans,
        dates=chosen.dates,
        durations=frozenset(chosen.durations),
        columns=chosen.facts,
        order=order,
        notes=(*read.notes, *_missing_notes(read, columns.target if choice.kind == "classification" else None)),
    )


def _nothing_left(left_out: Mapping[str, str]) -> str:
    reasons = "; ".join(f"{name!r}: {reason}" for name, reason in left_out.items())[:300]
    if not reasons:
        return "no column is left to learn from: the target is the only one"
    return f"no column is left to learn from ({reasons}): --keep NAME uses one"


def _missing_notes(read: RawTable, classes: str | None) -> Iterator[str]:
    """Which texts were read as missing, and what was lost by that of the column `classes`, if the target has any."""
    counts = Counter[str]()
    for texts in read.read_as_missing.values():
        counts.update(texts)
    if counts.keys() - {""}:
        shown = ", ".join(f"{text!r} {count}" for text, count in counts.most_common())
        yield f"read as missing: {shown} (other: --missing)"
    for text, count in read.read_as_missing.get(classes or "", {}).items():
        if text:
            yield (
                f"warning: {count} rows are left out, because their {classes} is {text!r}, which counts as missing. "
                "If it is a class, name what is missing instead, such as --missing NA"
            )


def _name_problems(raw: pd.DataFrame, columns: ColumnOptions) -> Iterator[str]:
    names = [str(name) for name in raw.columns]
    for option, name in columns.named_columns():
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]!r}? " if close else ""
            yield f"{option}: there is no column {name!r}; {hint}There are {', '.join(names)[:300]}"
        elif option != "--target" and name == columns.target:
            yield f"{option}: {name!r} is the target"
    for name in dict.fromkeys(name for name in names if names.count(name) > 1):
        yield f"{names.count(name)} columns are named {name!r}: give each a different name"
    for number, name in enumerate(names, 1):
        if len(name) > MAX_TEXT:
            yield f"the name of column {number} has {len(name)} characters: at most {MAX_TEXT} are possible"


def _value_problems(
    frame: pd.DataFrame, columns: ColumnOptions, task: TaskTraining[Any], rows_needed: int, fewest_rows: int
) -> list[str]:
    """Why no model can be trained on the values of a table."""
    checked = {
        str(name): pandera.Column(checks=list(_feature_checks(column, columns)), nullable=True)
        for name, column in frame.items()
        if name != columns.target
    }
    table_checks = [
        pandera.Check(
            lambda table: len(table) >= MIN_ROWS,
            error=f"it has {len(frame)} rows with a target value, and needs at least {MIN_ROWS}",
        ),
    ]
    if columns.target in frame:
        target_checks = list(task.target_checks(frame[columns.target], rows_needed, fewest_rows))
        checked[columns.target] = pandera.Column(checks=target_checks)
    try:
        pandera.DataFrameSchema(checked, checks=table_checks).validate(frame, lazy=True)
    except SchemaErrors as errors:
        return list(dict.fromkeys(errors.failure_cases["check"]))
    return []


def _feature_checks(column: pd.Series, columns: ColumnOptions) -> Iterator[pandera.Check]:
    name, present = column.name, column.dropna()
    yield pandera.Check(
        lambda values: bool(values.notna().any()), ignore_na=False, error=f"column {name!r} is empty: --drop '{name}'"
    )
    if is_numeric_dtype(column.dtype):
        message = f"column {name!r} holds infinity: repair it, or --drop '{name}'"
        yield pandera.Check(lambda values: bool(np.isfinite(values).all()), error=message)
    elif name not in columns.categorical and NUMERIC_SHARE <= share_of_numbers(present) < 1:  # 1 for codes
        others = present[pd.to_numeric(present, errors="coerce").isna()]
        count = f"{len(others)} texts, the first" if len(others) > 1 else "the text"
        same = f"--missing '{others.iloc[0]}' if it means that the value is missing, or " * (others.nunique() == 1)
        message = (
            f"column {name!r} mixes numbers with {count} {str(others.iloc[0])[:40]!r} in row "
            f"{int(others.index[0]) + 1}: {same}repair them, or --categorical '{name}', or --drop '{name}'"
        )
        yield pandera.Check(lambda values: share_of_numbers(values) == 1, error=message)
    else:
        message = f"column {name!r} has a category of more than {MAX_TEXT} characters: --drop '{name}'"
        yield pandera.Check(lambda values: bool((values.str.len() <= MAX_TEXT).all()), error=message)
