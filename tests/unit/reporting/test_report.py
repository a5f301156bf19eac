"""The files of a report."""

import json
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest

from tabserve.model import ModelMetadata
from tabserve.reporting import write_report
from tabserve.training import EstimatorConfig
from tabserve.training.cross_validation import cross_validate
from tabserve.training.evaluation import evaluate
from tabserve.training.result import TrainingResult
from tests.support.models import Trained


def test_report_has_every_file_and_they_agree(trained: Trained, tmp_path: Path) -> None:
    """A report has the plots, the card, the importances, the metadata and the scaler of the pipeline. The metadata can
    be read back, and the card is what the caller gets."""
    validation = cross_validate(trained.parts.training, EstimatorConfig(hyperparameters={"n_estimators": 5}), 3, 0)
    evaluation = evaluate(trained.pipeline, trained.parts.held_out, 0)
    result = TrainingResult(trained.parts, trained.schema, trained.pipeline, validation, evaluation)
    metadata = result.describe(
        model_name="länge", model_version="20260101_000000", run_id="run", trained_at="2026-01-01T00:00:00+00:00",
        parameters={"folds": 3, "max_depth": None}, git_commit="unknown",
    )  # fmt: skip
    card = write_report(tmp_path, result, metadata)
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {
        "confusion_matrix.png", "roc.png", "calibration.png", "feature_importances.png",
    }  # fmt: skip
    assert (tmp_path / "model_card.md").read_text(encoding="utf-8") == card
    content = (tmp_path / "metadata.json").read_text(encoding="utf-8")
    assert ModelMetadata.model_validate_json(content) == metadata
    assert json.loads(content)["metrics"]["test_accuracy"] == evaluation.metrics["accuracy"]
    importances = pd.read_csv(tmp_path / "feature_importances.csv")
    assert importances["impurity"].tolist() == pytest.approx(list(metadata.feature_importances.values()))
    scaler = joblib.load(tmp_path / "scaler.joblib")
    assert np.array_equal(scaler.mean_, trained.pipeline.named_steps["scaler"].mean_)
