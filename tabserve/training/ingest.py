"""A file in, a `Table` out: what each of its columns is, which are left out and why, and all that is wrong with it."""

import csv
import difflib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pandera.pandas as pandera
from pandas.api.types import is_bool_dtype, is_numeric_dtype
from pandera.errors import SchemaErrors

from tabserve.errors import DataError
from tabserve.training.dataset import Table

LEAST_ROWS = 20
"""Of a table with fewer rows hardly anything can be learnt, and nothing be said about what was."""

MOST_CLASSES = 100
MOST_CATEGORIES = 1000
"""Of one feature."""

LONGEST_TEXT = 200
"""Of a category, a class and a column's name, in characters."""

MEANT = 0.5
"""A column of texts of which at least this share are numbers is meant to be of numbers; with more different texts than
this share of its rows, and more than `FEW`, it is not meant to be of categories."""

FEW = 20

CSV_ENDINGS = (".csv", ".csv.gz", ".csv.bz2", ".csv.xz", ".csv.zip", ".csv.zst")
PARQUET_ENDINGS = (".parquet", ".pq")


@dataclass(frozen=True)
class ColumnOptions:
    """What a person says of the columns: which is the target, and where what is inferred isn't what is meant."""

    target: str
    drop: Sequence[str] = ()
    id: Sequence[str] = ()
    categorical: Sequence[str] = ()

    def options(self) -> Iterator[tuple[str, str]]:
        """The columns that are named, each with the option that names it."""
        yield "--target", self.target
        for option, names in (("--drop", self.drop), ("--id", self.id), ("--categorical", self.categorical)):
            yield from ((option, name) for name in names)


def load(file: Path, wanted: ColumnOptions, least: int) -> Table:
    """Reads a table of CSV, also compressed, or Parquet. Rows without a class are left out.

    `least`: how many rows of every class it takes to train.

    Raises:
        DataError: it can't be read, or can't be trained on; every reason is a line.
    """
    raw = _read(file)
    problems = [*_problems_of_names(raw, wanted)]
    raw = raw.loc[:, ~raw.columns.duplicated()]
    labelled = raw[raw[wanted.target].notna()] if wanted.target in raw else raw
    left_out = dict.fromkeys(wanted.drop, "--drop") | dict.fromkeys(wanted.id, "--id")
    features: dict[str, pd.Series] = {}
    for name in raw.columns.drop(wanted.target, errors="ignore"):
        column = _texts(labelled[name]) if name in wanted.categorical else _inferred(labelled[name])
        if name not in left_out:
            why = None if name in wanted.categorical else _useless(column)
            if why:
                left_out[name] = why
            else:
                features[name] = column
    frame = pd.DataFrame(features, index=labelled.index)
    if wanted.target in raw:
        frame[wanted.target] = _texts(labelled[wanted.target])
    problems += _problems_of_values(frame, wanted, least)
    if problems:
        raise DataError("\n".join(f"{file.name}: {problem}" for problem in problems))
    missing = {str(name): int(count) for name, count in frame.isna().sum().items() if count}
    whole = frame.reset_index(drop=True)
    target = whole.pop(wanted.target).astype(object)
    return Table(file.name.split(".")[0], whole, target, missing, left_out, unlabelled=len(raw) - len(labelled))


def _read(file: Path) -> pd.DataFrame:
    """The table as it stands: of a CSV every column as texts."""
    name = file.name.lower()
    try:
        if name.endswith(PARQUET_ENDINGS):
            return pd.read_parquet(file)
        if name.endswith(CSV_ENDINGS):
            return _read_csv(file)
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8 (byte {error.start}): save it in that encoding") from None
    except (OSError, ValueError, EOFError) as error:
        said = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise DataError(f"{file} can't be read: {said}") from error
    raise DataError(f"{file} can't be read: its name should end in {', '.join((*CSV_ENDINGS, *PARQUET_ENDINGS))}")


def _read_csv(file: Path) -> pd.DataFrame:
    # apart from the rest, for pandas would rename what stands twice
    first = pd.read_csv(file, header=None, nrows=1, dtype="str", encoding="utf-8-sig", keep_default_na=False, sep="\0")
    line = str(first.iloc[0, 0])
    header = [name.strip() for name in next(csv.reader([line], skipinitialspace=True))]
    if len(header) == 1:
        other = max(";\t|", key=line.count)
        if other in line:
            shown = {";": "semicolons", "\t": "tabs", "|": "bars"}[other]
            raise DataError(f"{file} has {shown} between its columns: save it with commas")
    if sum(map(_is_number, header)) > len(header) / 2:
        raise DataError(f"{file} begins with {line[:60]!r}, which is no header: put the names of the columns first")
    table = pd.read_csv(file, dtype="str", encoding="utf-8-sig", header=None, skiprows=1, skipinitialspace=True)
    if len(table.columns) != len(header):
        raise DataError(f"{file} has {len(header)} names in its header, and {len(table.columns)} columns")
    return table.set_axis(header, axis=1)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _problems_of_names(raw: pd.DataFrame, wanted: ColumnOptions) -> Iterator[str]:
    names = [str(name) for name in raw.columns]
    for option, name in wanted.options():
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]!r}? " if close else ""
            yield f"{option}: there is no column {name!r}; {hint}There are {', '.join(names)[:300]}"
        elif option in ("--drop", "--id", "--categorical") and name == wanted.target:
            yield f"{option}: {name!r} is the target"
    for name in dict.fromkeys(name for name in names if names.count(name) > 1):
        yield f"{names.count(name)} columns are named {name!r}: give each a name of its own"
    for at, name in enumerate(names, 1):
        if not name:
            yield f"column {at} has no name: give it one, or take it out"
        elif len(name) > LONGEST_TEXT:
            yield f"column {at} has a name of {len(name)} characters: at most {LONGEST_TEXT} can be used"


def _texts(column: pd.Series) -> pd.Series:
    """The column as categories, as the table writes them."""
    if is_numeric_dtype(column.dtype) and not is_bool_dtype(column.dtype):
        numbers = column.dropna()
        if (numbers == numbers.round()).all():  # pandas has written whole numbers as 1.0, for some are missing
            column = column.astype("Int64")
    return column.astype("str")


def _inferred(column: pd.Series) -> pd.Series:
    """The column as float64 if it is one of numbers, else as texts."""
    if is_numeric_dtype(column.dtype) and not is_bool_dtype(column.dtype):
        return column.astype("float64")
    texts = column.astype("str")
    numbers = pd.to_numeric(texts, errors="coerce").astype("float64")
    return numbers if column.notna().any() and numbers.notna().equals(texts.notna()) else texts


def _useless(column: pd.Series) -> str | None:
    """Why nothing can be learnt from a column that isn't empty; None if something can."""
    present = column.dropna()
    different = present.nunique()
    if different == 1:
        return f"a constant: always {present.tolist()[0]!r}" + ", or missing" * (len(present) < len(column))
    if is_numeric_dtype(column.dtype):
        in_order = len(present) > FEW and len(present) == len(column) and bool((present.diff().iloc[1:] == 1).all())
        return "an identifier: the rows' numbers" if in_order else None
    if not len(present) or _share_of_numbers(present) >= MEANT:
        return None  # a problem, which is said elsewhere
    if present.str.fullmatch(r"\d{4}-\d\d-\d\d([T ].*)?").all():
        return "dates"
    if different == len(present) and different > FEW:
        return "an identifier: each row has another"
    if different > max(FEW, MEANT * len(present)) or different > MOST_CATEGORIES:
        return f"free text: {different} different ones in {len(present)} rows"
    if present.str.len().max() > LONGEST_TEXT:
        return f"free text: up to {present.str.len().max()} characters"
    return None


def _share_of_numbers(texts: pd.Series) -> float:
    return float(pd.to_numeric(texts, errors="coerce").notna().mean())


def _problems_of_values(frame: pd.DataFrame, wanted: ColumnOptions, least: int) -> list[str]:
    """What makes the values of a table useless for training."""
    columns = {
        str(name): pandera.Column(checks=list(_checks(column, wanted)), nullable=True)
        for name, column in frame.items()
        if name != wanted.target
    }
    whole = [
        pandera.Check(
            lambda table: len(table) >= LEAST_ROWS,
            error=f"it has {len(frame)} rows with a class; {LEAST_ROWS} are the least",
        ),
        pandera.Check(lambda table: len(table.columns) > 1, error="no column is left to learn from"),
    ]
    if wanted.target in frame:
        columns[wanted.target] = pandera.Column(checks=list(_checks_of_target(frame[wanted.target], least)))
    try:
        pandera.DataFrameSchema(columns, checks=whole).validate(frame, lazy=True)
    except SchemaErrors as errors:
        return list(dict.fromkeys(errors.failure_cases["check"]))
    return []


def _checks(column: pd.Series, wanted: ColumnOptions) -> Iterator[pandera.Check]:
    name, present = column.name, column.dropna()
    yield pandera.Check(
        lambda values: bool(values.notna().any()), ignore_na=False, error=f"column {name!r} is empty: --drop '{name}'"
    )
    if is_numeric_dtype(column.dtype):
        yield pandera.Check(lambda values: bool(np.isfinite(values).all()), error=f"column {name!r} holds infinity")
    elif name not in wanted.categorical and _share_of_numbers(present) >= MEANT:
        others = present[pd.to_numeric(present, errors="coerce").isna()]
        said = (
            f"column {name!r} mixes numbers with {len(others)} texts, the first {str(others.iloc[0])[:40]!r} in row "
            f"{int(others.index[0]) + 1}: repair them, or --categorical '{name}', or --drop '{name}'"
        )
        yield pandera.Check(lambda values: _share_of_numbers(values) == 1, error=said)
    else:
        said = f"column {name!r} has a category of more than {LONGEST_TEXT} characters: --drop '{name}'"
        yield pandera.Check(lambda values: bool((values.str.len() <= LONGEST_TEXT).all()), error=said)


def _checks_of_target(target: pd.Series, least: int) -> Iterator[pandera.Check]:
    counts = target.value_counts()
    name = target.name
    if len(counts) < 2:
        only = f"only {counts.index[0]!r}" if len(counts) else "none"
        said = f"the target {name!r} needs two classes at least, and has {only}"
        yield pandera.Check(lambda values: values.nunique() >= 2, error=said)
    elif len(counts) > MOST_CLASSES or (len(counts) > FEW and _are_measured(target)):
        said = f"the target {name!r} has {len(counts)} different values: are these classes, and not a quantity?"
        yield pandera.Check(lambda values: values.nunique() <= FEW, error=said)
    else:
        rare = counts[counts < least]
        listed = ", ".join(f"{label!r} has {count}" for label, count in rare.head(5).items()) + ", …" * (len(rare) > 5)
        said = f"each class of {name!r} needs {least} rows; {listed}: use fewer --folds, or take these rows out"
        yield pandera.Check(lambda values: bool((values.value_counts() >= least).all()), error=said)


def _are_measured(texts: pd.Series) -> bool:
    """Whether they are numbers, and not all whole."""
    numbers = pd.to_numeric(texts, errors="coerce")
    return bool(numbers.notna().all() and (numbers != numbers.round()).any())
