"""What training hands to serving: the schema, the task, the release, its compiled model, and the predictor.

Knows numbers, files and checksums. Doesn't know tables, MLflow, requests or HTTP, and imports neither scikit-learn nor
pandas. Promises that a loaded model gives scikit-learn's outputs, and that reading a release runs no code.
"""

from tabserve.model.arrays import Matrix, Vector
from tabserve.model.boolean import Boolean
from tabserve.model.dates import Date, DatePart
from tabserve.model.features import (
    UNKNOWN,
    Category,
    Feature,
    ModelFeature,
    Number,
    Value,
    keeps_texts,
    model_features,
)
from tabserve.model.metadata import ClassFacts, ColumnFacts, DatasetFacts, Estimate, ModelMetadata
from tabserve.model.predictor import Predictor
from tabserve.model.regression import NumberOutcome, NumberOutcomes, Regression
from tabserve.model.release import Release
from tabserve.model.schema import InputWarning, Rows, Schema
from tabserve.model.task import Classification, ClassOutcome, ClassOutcomes, Labels, Outcome, Outcomes, Task
from tabserve.model.versions import BY_HAND, Deployment, RegisteredVersion

__all__ = [
    "BY_HAND", "UNKNOWN", "Boolean", "Category", "ClassFacts", "ClassOutcome", "ClassOutcomes", "Classification",
    "ColumnFacts", "DatasetFacts", "Date", "DatePart", "Deployment", "Estimate", "Feature", "InputWarning", "Labels",
    "Matrix", "ModelFeature", "ModelMetadata", "Number", "NumberOutcome", "NumberOutcomes", "Outcome", "Outcomes",
    "Predictor", "RegisteredVersion", "Regression", "Release", "Rows", "Schema", "Task", "Value", "Vector",
    "keeps_texts", "model_features",
]  # fmt: skip
