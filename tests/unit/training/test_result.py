"""What a training found out: flat numbers, and the metadata."""

import pytest

from tabserve.training import EstimatorConfig
from tabserve.training.cross_validation import cross_validate
from tabserve.training.evaluation import evaluate
from tabserve.training.result import TrainingResult
from tests.support.models import Trained, classes_of


@pytest.fixture(scope="module")
def result(trained: Trained) -> TrainingResult:
    config = EstimatorConfig(hyperparameters={"n_estimators": 5})
    validation = cross_validate(trained.parts.training, config, 3, 0)
    evaluation = evaluate(trained.pipeline, trained.parts.held_out, 0)
    return TrainingResult(trained.parts, trained.schema, trained.pipeline, validation, evaluation)


def test_every_number_has_a_flat_name(result: TrainingResult) -> None:
    """Every number of a training has one name, which says where it was measured, and of which class or feature."""
    metrics = result.metrics()
    for name in ("test_accuracy", "cv_log_loss_mean", "cv_log_loss_std"):
        assert isinstance(metrics[name], float)
    assert metrics["importance_impurity_petal_width"] > metrics["importance_impurity_sepal_width"]
    assert "importance_permutation_petal_width" in metrics
    assert all(f"test_f1_{name}" in metrics for name in classes_of(result.schema.task))


def test_metadata_agrees_with_the_result(result: TrainingResult) -> None:
    """The metadata has the facts of the table, the metrics, and each class with its rows; the shares sum to 1."""
    metadata = result.describe(
        model_name="iris", model_version="20260101_000000", run_id="run", trained_at="2026-01-01T00:00:00+00:00",
        parameters={"seed": 0}, git_commit="unknown",
    )  # fmt: skip
    assert metadata.metrics == result.metrics()
    assert metadata.dataset == result.split.facts()
    assert metadata.dataset.classes == 3
    assert metadata.model_type == "StandardScaler + RandomForestClassifier"
    assert set(metadata.feature_importances) == set(result.schema.feature_names)
    assert sum(map(sum, metadata.confusion_matrix)) == metadata.dataset.held_out_rows == 30
    assert {facts.rows for facts in metadata.by_class.values()} == {50}
    assert sum(facts.share for facts in metadata.by_class.values()) == pytest.approx(1)
    assert sum(facts.held_out_rows for facts in metadata.by_class.values()) == 30
