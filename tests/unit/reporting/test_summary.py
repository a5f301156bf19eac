"""What a training prints: the table before, and the model after."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tabserve.model import RegisteredVersion
from tabserve.reporting import dataset_warnings, describe_dataset, headline, training_summary
from tabserve.reporting.text import number_text
from tabserve.training import ColumnOptions, EstimatorConfig, dataset
from tabserve.training.column_report import report_columns
from tabserve.training.dataset import Dataset
from tabserve.training.ingest import load_table
from tabserve.training.pipeline import encodings_for
from tests.support.models import Trained, metadata
from tests.support.project import PENGUINS


def test_leaking_feature_is_warned_of() -> None:
    """A feature that predicts the target nearly always is a warning that names it, and the option that drops it."""
    (warning,) = dataset_warnings(dataset.load_iris(), {"code": 0.995})
    assert warning.startswith("warning: 'code' alone predicts species in 99.5% of the cases: ")
    assert warning.endswith("is it known before species is? If not, --drop 'code'")


def test_imbalanced_classes_are_warned_of() -> None:
    """If a class has five times as many rows as another, a warning names both; balanced classes bring none."""
    iris = dataset.load_iris()
    assert dataset_warnings(iris, {}) == []
    (warning,) = dataset_warnings(iris.part(np.arange(60)), {})
    assert warning.startswith("warning: the classes are imbalanced, setosa has 50 rows, versicolor 10: ")


def described(table: Dataset, width: int) -> str:
    """The description before a training with the default config."""
    return describe_dataset(table, report_columns(table, encodings_for(table, EstimatorConfig())), width)


def test_table_is_described_column_by_column() -> None:
    """The description has the classes, and for each column what it was read as with its values, what it becomes, and
    what is lost by that."""
    penguins = load_table(PENGUINS, ColumnOptions("species", drop=["year"]), 7)
    lines = described(replace(penguins, unlabelled=3), 120).splitlines()
    assert lines[:2] == [
        "penguins: 344 rows; species has 3 classes: Adelie (152), Gentoo (124), Chinstrap (68)",
        "left out: 3 rows without a value in species",
    ]
    cells = [re.split(r" {2,}", line.strip()) for line in lines[2:]]
    assert cells[0] == ["column", "read as", "becomes", "lost"]
    assert cells[1] == ["island", "category; Biscoe (168), Dream (124), Torgersen (52)", "a column for each category"]
    assert cells[-1] == ["year", "--drop", "not used"]


def table_of(folder: Path, columns: dict[str, object]) -> Dataset:
    """A table of these columns and the target `y`."""
    pd.DataFrame(columns | {"y": ["a", "b"] * 30}).to_csv(folder / "table.csv", index=False)
    return load_table(folder / "table.csv", ColumnOptions("y"), 7)


@pytest.mark.parametrize("width", [40, 80, 100, 120, 300])
def test_description_is_80_to_120_characters_wide(width: int, tmp_path: Path) -> None:
    """However wide the terminal is, no line of the table is wider than it, or 80; nor than 120; and no word is lost."""
    name = "a_name_that_is_far_longer_than_its_column"
    table = table_of(tmp_path, {name: [f"text number {number}" for number in range(60)], "x": [0.5, 1.5, 2.5] * 20})
    text = described(table, width)
    assert max(map(len, text.splitlines())) <= min(max(width, 80), 120)
    assert text.count("identifier") == 1
    assert "1 column of text is not used: a_name_that_is_far_longer_than_its_column" in text


def test_columns_of_a_wide_table_share_lines(tmp_path: Path) -> None:
    """Of 200 columns, those of which the same is made share a line, with their number, and one that is unlike them has
    its own."""
    columns: dict[str, object] = {f"x{number}": [0.5, 1.5, 2.5] * 20 for number in range(198)}
    columns |= {f"note{number}": [f"text {row}" for row in range(60)] for number in range(2)}
    columns["price"] = [f"${row % 7 + 1},000" for row in range(60)]
    text = described(table_of(tmp_path, columns), 120)
    assert len(text.splitlines()) < 15
    assert "(198 columns)" in text
    assert "number: $1,000 is 1000" in text
    assert "2 columns of text are not used: note0, note1" in text


def test_split_by_is_recommended_for_dates(tmp_path: Path) -> None:
    """A table with a date has one line that recommends --split-by, unless it is used already."""
    table = table_of(tmp_path, {"when": [f"2024-0{row % 9 + 1}-01" for row in range(60)]})
    (note,) = dataset_warnings(table, {})
    assert note.startswith("note: 'when' is a date: --split-by 'when' holds out the latest rows")
    assert dataset_warnings(replace(table, order=table.features["when.days"]), {}) == []


def test_summary_has_version_metrics_and_places(trained: Trained) -> None:
    """The end of a training names the version and what became of it, its main metrics, and where its artifacts and its
    run are; the headline has the most important metrics."""
    names = ("accuracy", "balanced_accuracy", "precision_macro", "recall_macro", "f1_macro", "roc_auc_ovr", "log_loss")
    values = {f"{prefix}{name}{suffix}": 0.5 for name in (*names, "brier_score") for prefix, suffix in (
        ("test_", ""), ("cv_", "_mean"), ("cv_", "_std"))}  # fmt: skip
    values |= {"test_set_coverage": 0.925, "test_set_size": 1.25}
    measured = metadata(trained.schema).model_copy(update={"metrics": values})
    version = RegisteredVersion("20260101_000000", "3", "run", "checksum")
    lines = training_summary(
        version, "live as 'champion'", measured, "classification",
        folder=Path("/artifacts/20260101_000000"), tracking_uri="file:///mlruns", page="http://localhost:5000/#/1",
    ).splitlines()  # fmt: skip
    assert "20260101_000000, version 3 in the registry: live as 'champion'" in lines
    assert "  accuracy             0.5000   0.5000 ± 0.5000" in lines
    assert "  prediction sets hold 92.5% of the held-out rows; mean size 1.25" in lines
    assert "  artifacts   /artifacts/20260101_000000" in lines
    assert "  MLflow      run run in file:///mlruns" in lines
    assert not [line for line in lines if "_weighted" in line]
    assert headline(measured, "classification") == "accuracy 0.5000, f1_macro 0.5000, log_loss 0.5000"


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(0.5, 6, "0.5"), (1_234_567.0, 6, "1234570"), (246_656.2, 4, "246700"), (3e20, 6, "3e+20"), (1e-7, 6, "1e-07")],
)
def test_large_numbers_are_written_out(value: float, digits: int, text: str) -> None:
    """A number with more digits in front of the point than are shown has zeros, and not an exponent."""
    assert number_text(value, digits) == text
