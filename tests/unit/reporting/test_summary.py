"""What a training prints: the table before, and the model after."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from tabserve.model import RegisteredVersion
from tabserve.reporting import dataset_warnings, describe_dataset, encoding_notes, headline, training_summary
from tabserve.training import ColumnOptions, dataset
from tabserve.training.encoding import FeatureEncoding
from tabserve.training.ingest import load_table
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


def test_table_is_described_column_by_column() -> None:
    """The description has the classes, each feature with its kind, gaps and values, and what was left out and why."""
    penguins = load_table(PENGUINS, ColumnOptions("species"), 7)
    penguins = replace(penguins, left_out={"note": "free text"}, unlabelled=3)
    assert describe_dataset(penguins).splitlines() == [
        "penguins: 344 rows; species has 3 classes: Adelie 152, Gentoo 124, Chinstrap 68",
        "left out: 3 rows without a value in species",
        "  column             kind      missing  values",
        "  island             category           Biscoe 168, Dream 124, Torgersen 52",
        "  bill_length_mm     number          2  32.1 to 59.6",
        "  bill_depth_mm      number          2  13.1 to 21.5",
        "  flipper_length_mm  number          2  172 to 231",
        "  body_mass_g        number          2  2700 to 6300",
        "  sex                category       11  male 168, female 165",
        "  year               number             2007 to 2009",
        "  note               left out           free text",
    ]


def test_what_a_model_cannot_see_is_a_note_with_the_option_that_helps() -> None:
    """A feature whose encoding loses something is a note that names it, what is lost, and the option that keeps it; one
    that loses nothing has none."""
    one_hot = FeatureEncoding("colour", "one-hot", rare=5, pooled={"pink": 4, "mauve": 3})
    assert encoding_notes([one_hot, FeatureEncoding("code", "target"), FeatureEncoding("size", "number")]) == [
        "note: 'colour': 2 categories of fewer than 5 rows share a column (7 rows): --rare 1"
    ]


def test_summary_has_version_metrics_and_places(trained: Trained) -> None:
    """The end of a training names the version and what became of it, its main metrics, and where its artifacts and its
    run are; the headline has the most important metrics."""
    names = ("accuracy", "balanced_accuracy", "precision_macro", "recall_macro", "f1_macro", "roc_auc_ovr", "log_loss")
    values = {f"{prefix}{name}{suffix}": 0.5 for name in (*names, "brier_score") for prefix, suffix in (
        ("test_", ""), ("cv_", "_mean"), ("cv_", "_std"))}  # fmt: skip
    measured = metadata(trained.schema).model_copy(update={"metrics": values})
    version = RegisteredVersion("20260101_000000", "3", "run", "checksum")
    lines = training_summary(
        version, "live as 'champion'", measured, "classification",
        folder=Path("/artifacts/20260101_000000"), tracking_uri="file:///mlruns", page="http://localhost:5000/#/1",
    ).splitlines()  # fmt: skip
    assert "20260101_000000, version 3 in the registry: live as 'champion'" in lines
    assert "  accuracy             0.5000   0.5000 ± 0.5000" in lines
    assert "  artifacts   /artifacts/20260101_000000" in lines
    assert "  MLflow      run run in file:///mlruns" in lines
    assert not [line for line in lines if "_weighted" in line]
    assert headline(measured, "classification") == "accuracy 0.5000, f1_macro 0.5000, log_loss 0.5000"
