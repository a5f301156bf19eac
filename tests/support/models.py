"""A trained model, the settings that serve it, and rows for it."""

from pathlib import Path

from sklearn.pipeline import Pipeline

from tabserve.model.metadata import DatasetFacts, ModelMetadata
from tabserve.model.release import Release
from tabserve.model.schema import Schema
from tabserve.model.task import Classification, Task
from tabserve.settings import Settings
from tabserve.training import EstimatorConfig, compiler, dataset, fitting, provenance, schema_inference
from tabserve.training.dataset import Dataset

ROW = {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}
"""A row of Iris."""

GENTOO = {
    "island": "Biscoe", "bill_length_mm": 46.1, "bill_depth_mm": 13.2, "flipper_length_mm": 211, "body_mass_g": 4500,
    "sex": "female", "year": 2007,
}  # fmt: skip
"""A row of the penguins."""

SETTINGS = Settings.model_construct(
    **{name: field.default for name, field in Settings.model_fields.items()} | {"follow_seconds": 0.01}
)
"""The defaults, except that the registry is polled all the time."""


def classes_of(task: Task) -> tuple[str, ...]:
    """The classes of a classification."""
    assert isinstance(task, Classification)
    return task.classes


def metadata(schema: Schema, model_version: str = "20260101_000000") -> ModelMetadata:
    """The least metadata that a release of an Iris model must have."""
    return ModelMetadata(
        model_name="iris-classifier",
        model_version=model_version,
        run_id="run",
        model_type="StandardScaler + RandomForestClassifier",
        trained_at="2026-01-01T00:00:00+00:00",
        parameters={},
        metrics={"test_accuracy": 1.0},
        feature_importances=dict.fromkeys([feature.name for feature in schema.model_features], 0.25),
        dataset=DatasetFacts(
            name="iris", rows=150, training_rows=120, held_out_rows=30, features=4, classes=3, sha256="0" * 64
        ),
        libraries=provenance.libraries(),
        git_commit="unknown",
    )


class Trained:
    """A pipeline fitted on Iris, or on another table, and what a release of it needs."""

    def __init__(self, trees: int = 20, seed: int = 0, table: Dataset | None = None) -> None:
        self.parts = dataset.split(table or dataset.load_iris(), 0.2, seed)
        self.pipeline: Pipeline = fitting.fit(
            self.parts.training, EstimatorConfig(hyperparameters={"n_estimators": trees}), seed
        )
        self.schema: Schema = schema_inference.infer_schema(self.parts.training, self.pipeline)

    def release(self, folder: Path, model_version: str = "20260101_000000") -> Release:
        """Writes the release into the folder, under this model version."""
        about = metadata(self.schema, model_version)
        return compiler.write_release(folder, self.pipeline, self.schema, self.parts.training, about)
