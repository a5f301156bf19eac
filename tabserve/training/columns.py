"""What a column of a table is: numbers or categories, and whether a model can learn from it."""

import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

MAX_CATEGORIES = 100_000
"""The most categories of a feature. A release names each, in at most 16 MB."""

MAX_TEXT = 200
"""The longest category, class and name of a column, in characters."""

NUMERIC_SHARE = 0.5
"""A column of texts counts as numeric if at least this share of them are numbers."""

FEW, REPEATED_SHARE = 20, 0.2
"""A column of texts counts as free text if it has more than `FEW` distinct texts, and less than this share of its rows
have a text that another row has, too."""

MIN_GAPS = 10
"""A column that holds one value or none is a feature if it has at least so many rows of each."""


def as_text(column: pd.Series) -> pd.Series:
    """The column as categories, as the table writes them."""
    if _is_number_dtype(column):
        numbers = column.dropna()
        if (numbers == numbers.round()).all():  # pandas reads whole numbers as 1.0 if some are missing
            column = column.astype("Int64")
    return column.astype("str")


def as_inferred(column: pd.Series) -> pd.Series:
    """The column as float64 if every value is a number, else as texts."""
    if _is_number_dtype(column):
        return column.astype("float64")
    texts = column.astype("str")
    numbers = pd.to_numeric(texts, errors="coerce").astype("float64")
    return numbers if column.notna().any() and numbers.notna().equals(texts.notna()) else texts


def why_useless(column: pd.Series) -> str | None:
    """Why a model can learn nothing from a column of `as_inferred`; None if it can, or if the column has a problem that
    is reported otherwise."""
    present = column.dropna()
    distinct = present.nunique()
    gaps = len(column) - len(present)
    if distinct == 1 and min(gaps, len(present)) < MIN_GAPS:
        return f"a constant: always {present.tolist()[0]!r}" + f", or missing in {gaps} rows" * (gaps > 0)
    if is_numeric_dtype(column.dtype):
        in_order = len(present) > FEW and len(present) == len(column) and bool((present.diff().iloc[1:] == 1).all())
        return "an identifier: it numbers the rows" if in_order else None
    if not len(present) or share_of_numbers(present) >= NUMERIC_SHARE:
        return None
    if present.str.fullmatch(r"\d{4}-\d\d-\d\d([T ].*)?").all():
        return "dates"
    if distinct == len(present) and distinct > FEW:
        return "an identifier: different in each row"
    repeated = present.duplicated(keep=False).mean()
    if (distinct > FEW and repeated < REPEATED_SHARE) or distinct > MAX_CATEGORIES:
        return f"free text: {distinct} different texts in {len(present)} rows"
    if present.str.len().max() > MAX_TEXT:
        return f"free text: up to {present.str.len().max()} characters"
    return None


def share_of_numbers(texts: pd.Series) -> float:
    return float(pd.to_numeric(texts, errors="coerce").notna().mean())


def has_fractions(texts: pd.Series) -> bool:
    """Whether all texts are numbers, and at least one is not whole."""
    numbers = pd.to_numeric(texts, errors="coerce")
    return bool(numbers.notna().all() and (numbers != numbers.round()).any())


def _is_number_dtype(column: pd.Series) -> bool:
    return is_numeric_dtype(column.dtype) and not is_bool_dtype(column.dtype)
