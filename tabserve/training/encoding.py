"""How each feature becomes columns: the encoding that it gets, and what that makes of it and loses, in words.

Knows the rules, not scikit-learn; `preprocessing` makes transformers of it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import pandas as pd
from pandas.api.types import is_numeric_dtype

from tabserve.errors import DataError
from tabserve.training.config import EncodingOptions
from tabserve.training.dataset import Dataset

MAX_ONE_HOT = 30
"""A feature with more categories is encoded by the target, unless an option says otherwise."""

MAX_ONE_HOT_BYTES = 2 * 10**9
"""The most memory for the one-hot columns of a feature."""

MAX_BESIDE, MAX_BESIDE_BYTES = 300, 10**9
"""A feature that is encoded by the target has one-hot columns for at most so many categories beside, which take at most
so much memory for all features together."""

MISSING = "(missing)"
"""Stands for missing values among the categories that share a column."""


@dataclass(frozen=True)
class FeatureEncoding:
    """How a feature becomes columns.

    Attributes:
        name: the feature.
        kind: "number"; "one-hot": a column of zeros and ones for each category; "target": numbers that say what the
            target was with the category.
        missing: how many rows of the table lack the feature.
        when_missing: what the column of a missing number holds: the median of the others, or NaN.
        has_indicator: whether a number has one more column, which says whether it is missing.
        rare: of a one-hot feature: a category with fewer rows has no column of its own.
        pooled: category, or `MISSING`, → its rows, for those that share a column.
        beside: of a feature that is encoded by the target: how many one-hot columns it has beside, at most.
    """

    name: str
    kind: Literal["number", "one-hot", "target"]
    missing: int = 0
    when_missing: Literal["median", "nan"] = "median"
    has_indicator: bool = False
    rare: int = 1
    pooled: Mapping[str, int] = field(default_factory=dict)
    beside: int = 0

    @property
    def made(self) -> str:
        """What is made of the feature, in words."""
        match self.kind:
            case "one-hot":
                return "a column for each category"
            case "target":
                columns = ", and a column for each" * (self.beside > 0)
                return f"numbers: what the target was with each category{columns}"
        if not self.missing:
            return "the number"
        if self.when_missing == "nan":
            return "the number, or that it is missing"
        return "the number, or the median" + ", and whether it is missing" * self.has_indicator

    @property
    def lost(self) -> str:
        """What is lost of the feature, in words; empty if nothing is."""
        if self.pooled:
            return self._lost_by_pooling()
        if self.missing and self.when_missing == "median" and self.kind == "number" and not self.has_indicator:
            return "the model can't see which values are missing"
        return ""

    def _lost_by_pooling(self) -> str:
        rows, has_gaps = sum(self.pooled.values()), MISSING in self.pooled
        rare, counted = len(self.pooled) - has_gaps, f"({rows} row{'s' * (rows > 1)})"
        if not rare:
            return f"missing values count as an unknown category {counted}"
        if len(self.pooled) == 1:
            return f"1 category of fewer than {self.rare} rows counts as an unknown one {counted}"
        named = "1 category" if rare == 1 else f"{rare} categories"
        return f"{named} of fewer than {self.rare} rows{' and missing values' * has_gaps} share a column {counted}"

    @property
    def undo(self) -> str:
        """The option that keeps what is lost; empty if nothing is."""
        if not self.lost:
            return ""
        return "--rare 1" if self.pooled else "--missing-indicators"


def feature_encodings(
    training: Dataset, options: EncodingOptions, *, keeps_missing: bool, is_linear: bool = False
) -> list[FeatureEncoding]:
    """The encoding of each feature, in their order, in a model of these training rows. `keeps_missing`: whether the
    estimator takes NaN for a missing number. `is_linear`: whether it is a weighted sum of the columns, to which one-hot
    columns beside those of the target tell more.

    Raises:
        DataError: one-hot columns were asked for that would need too much memory.
    """
    encodings = []
    for name, column in training.features.items():
        missing = training.missing.get(str(name), 0)
        if is_numeric_dtype(column.dtype):
            kept = keeps_missing and bool(column.notna().any())  # gradient boosting fails on a column of NaN
            indicator = bool(missing) and options.missing_indicators and not kept
            encodings.append(FeatureEncoding(str(name), "number", missing, "nan" if kept else "median", indicator))
        else:
            encodings.append(_category_encoding(column, missing, options))
    by_target = [one.name for one in encodings if one.kind == "target"]
    if is_linear and options.encode == "auto" and by_target:
        beside = min(MAX_BESIDE, MAX_BESIDE_BYTES // (8 * len(training) * len(by_target)))
        encodings = [replace(one, beside=beside) if one.kind == "target" else one for one in encodings]
    return encodings


def _category_encoding(column: pd.Series, missing: int, options: EncodingOptions) -> FeatureEncoding:
    name, counts = str(column.name), column.value_counts()
    rare = math.ceil(options.rare * len(column)) if options.rare < 1 else int(options.rare)
    # where all categories are rare, the one column that they would share says nothing
    is_one_hot = len(counts) <= MAX_ONE_HOT and counts.max() >= rare
    if options.encode == "target" or (options.encode == "auto" and not is_one_hot):
        return FeatureEncoding(name, "target", missing)
    pooled = {str(category): int(count) for category, count in counts.items() if count < rare}
    if 0 < (gaps := int(column.isna().sum())) < rare:
        pooled[MISSING] = gaps
    size = 8 * len(column) * (len(counts) - len(pooled) + (len(pooled) > 0))
    if size > MAX_ONE_HOT_BYTES:
        raise DataError(
            f"one-hot columns for {name!r} would take {size / 1e9:.1f} GB: --encode auto, or a larger --rare"
        )
    return FeatureEncoding(name, "one-hot", missing, rare=rare, pooled=pooled)
