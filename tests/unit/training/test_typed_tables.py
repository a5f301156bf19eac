"""Tables of files that have types: Parquet as pandas writes it."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tabserve.errors import DataError
from tabserve.model import Boolean, Category, Classification, Number
from tabserve.training import ColumnOptions, EstimatorConfig
from tabserve.training.cross_validation import cross_validate
from tabserve.training.dataset import Dataset
from tabserve.training.ingest import load_table
from tabserve.training.pipeline import build_pipeline
from tabserve.training.schema_inference import infer_schema

ROWS = 60


def load(frame: pd.DataFrame, folder: Path, **options: list[str]) -> Dataset:
    """The table with one more column of numbers, and the target `y`."""
    frame = frame.assign(n=np.random.default_rng(0).normal(size=ROWS), y=["a", "b"] * 30)
    frame.to_parquet(folder / "t.parquet")
    return load_table(folder / "t.parquet", ColumnOptions("y", **options), rows_needed=7)  # type: ignore[arg-type]


@pytest.mark.parametrize("step", [1, 400])
def test_numbers_too_large_to_be_told_apart_are_named(step: int, tmp_path: Path) -> None:
    """Unsigned 64-bit numbers that become one floating-point number are not used, with that reason and what to do. If
    some can be told apart, the loss is named. As categories they keep all digits."""
    values = np.array([2**64 - 1 - step * (row % 6) for row in range(ROWS)], dtype=np.uint64)
    table = load(pd.DataFrame({"u": values}), tmp_path)
    column = table.columns[0]
    left = len(set(values.astype(float)))
    reason = f"numbers too large to be told apart as floating-point numbers: 6 different values become {left}"
    if left == 1:
        assert table.left_out == {"u": reason}
        assert (column.read_as, column.becomes, column.undo) == (reason, "not used", "--categorical 'u'")
    else:
        assert (column.read_as, column.lost, column.undo) == ("number", reason, "--categorical 'u'")
    as_texts = load(pd.DataFrame({"u": values}), tmp_path, categorical=["u"]).features["u"]
    assert as_texts.tolist() == list(map(str, values.tolist()))


def test_large_numbers_that_are_told_apart_lose_nothing(tmp_path: Path) -> None:
    """Only values that become equal are a loss, in texts as well."""
    values = [2.0**60 * (1 + row % 7) for row in range(ROWS)]
    assert load(pd.DataFrame({"u": values}), tmp_path).columns[0].lost == ""
    texts = pd.DataFrame({"u": [10**20 + row % 5 for row in range(ROWS)], "n": [1, 2, 3] * 20, "y": ["a", "b"] * 30})
    texts.to_csv(tmp_path / "t.csv", index=False)
    assert "5 different values become 1" in load_table(tmp_path / "t.csv", ColumnOptions("y"), 7).left_out["u"]


def test_nullable_types_keep_their_kind(tmp_path: Path) -> None:
    """Booleans, whole numbers and texts with gaps are what they are without them."""
    frame = pd.DataFrame(
        {
            "b": pd.array([True, False, None] * 20, dtype="boolean"),
            "i": pd.array([1, None, 3] * 20, dtype="Int64"),
            "s": pd.array(["u", None, "v"] * 20, dtype="string"),
        }
    )
    table = load(frame, tmp_path)
    pipeline = build_pipeline(table, EstimatorConfig(), seed=0)
    pipeline[:-1].fit(table.features, table.target)
    features = infer_schema(table, pipeline).features
    assert [type(feature) for feature in features] == [Boolean, Number, Category, Number]
    assert [feature.missing for feature in features] == [20, 20, 20, 0]


def test_infinity_is_a_problem_of_one_line(tmp_path: Path) -> None:
    """The line names the column and what to do."""
    with pytest.raises(DataError) as error:
        load(pd.DataFrame({"f": [1.0, 2.0, np.inf] * 20}), tmp_path)
    assert str(error.value) == "t.parquet: column 'f' holds infinity: repair it, or --drop 'f'"


def test_index_of_texts_hides_no_problem_of_a_column(tmp_path: Path) -> None:
    """The index without a name is left out; a column that mixes numbers with a text is one line, and as categories it
    is used."""
    frame = pd.DataFrame({"m": ["0", "1", "n/k"] + ["2", "3", "4"] * 19}, [f"r{row}" for row in range(ROWS)])
    with pytest.raises(DataError, match=r"^t\.parquet: column 'm' mixes numbers with the text 'n/k' in row 3"):
        load(frame, tmp_path)
    table = load(frame, tmp_path, categorical=["m"])
    assert list(table.features) == ["m", "n"]
    assert list(table.left_out) == ["column_1"]


@pytest.mark.parametrize(
    ("classes", "label_type"),
    [
        (["1", "10", "2"], "text"),
        (["False", "True"], "text"),
        (["a", "b"], "text"),
        ([1, 2, 10], "number"),
        ([False, True], "boolean"),
    ],
)
def test_label_has_the_type_of_the_file(classes: list[Any], label_type: str, tmp_path: Path) -> None:
    """Texts of digits are texts in Parquet, where a number is a number. The model learns them all the same."""
    target = [classes[row % len(classes)] for row in range(ROWS)]
    pd.DataFrame({"x": [float(classes.index(one)) for one in target], "kind": target}).to_parquet(
        tmp_path / "t.parquet"
    )
    table = load_table(tmp_path / "t.parquet", ColumnOptions("kind"), rows_needed=7)
    assert isinstance(table.task, Classification)
    assert (table.task.label_type, table.task.labels) == (label_type, tuple(classes))
    validation = cross_validate(table, EstimatorConfig(hyperparameters={"n_estimators": 3}), folds=3, seed=0)
    assert validation.mean("accuracy") == 1


def test_texts_with_fractions_stay_texts_as_classes(tmp_path: Path) -> None:
    """Such as versions, if the task says that they are classes; in CSV, which has no types, they are numbers."""
    frame = pd.DataFrame({"x": [1.0, 2.0] * 30, "version": ["1.5", "2.10"] * 30})
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_csv(tmp_path / "t.csv", index=False)
    for file, label_type in (("t.parquet", "text"), ("t.csv", "number")):
        task = load_table(tmp_path / file, ColumnOptions("version"), 7, "classification").task
        assert isinstance(task, Classification)
        assert (task.label_type, task.classes) == (label_type, ("1.5", "2.10"))
