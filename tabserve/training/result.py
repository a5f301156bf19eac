"""What a training found out, in one object, and the metadata that is made of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sklearn.pipeline import Pipeline

from tabserve.model import ColumnFacts, ModelMetadata, Schema
from tabserve.model.metadata import Scalar
from tabserve.training import provenance
from tabserve.training.cross_validation import CrossValidation
from tabserve.training.dataset import Split
from tabserve.training.evaluation import Evaluation
from tabserve.training.pipeline import model_type


@dataclass(frozen=True)
class TrainingResult:
    """A fitted pipeline, the rows that it was fitted and evaluated on, and how good it is."""

    split: Split
    schema: Schema
    pipeline: Pipeline
    validation: CrossValidation
    evaluation: Evaluation

    def metrics(self) -> dict[str, float]:
        """All numbers under flat names: `test_…` of the held-out rows, `cv_…_mean` and `cv_…_std` over the folds, and
        `importance_<kind>_<feature>`."""
        return self.evaluation.held_out_metrics() | self.validation.summary() | self.evaluation.importance_metrics()

    def describe(
        self,
        *,
        model_name: str,
        model_version: str,
        run_id: str,
        trained_at: str,
        parameters: Mapping[str, Scalar],
        git_commit: str,
        columns: Sequence[ColumnFacts] = (),
    ) -> ModelMetadata:
        """The metadata of the model, without its limits."""
        metadata = ModelMetadata(
            model_name=model_name,
            model_version=model_version,
            run_id=run_id,
            model_type=model_type(self.pipeline),
            trained_at=trained_at,
            parameters=dict(parameters),
            metrics=self.metrics(),
            feature_importances=self.evaluation.importances_by_feature(self.evaluation.importance_kind),
            dataset=self.split.facts(),
            left_out=dict(self.split.whole.left_out),
            columns=list(columns),
            libraries=provenance.libraries(),
            git_commit=git_commit,
        )
        return self.evaluation.results.add_to(metadata, self.split.whole.target)
