"""A fitted pipeline → a compiled model, and a release of it with golden rows."""

from pathlib import Path

from sklearn.pipeline import Pipeline

from tabserve.model import ModelMetadata, Release, Schema, release
from tabserve.model.compiled import Compiled
from tabserve.training.dataset import Dataset
from tabserve.training.estimators import family_of
from tabserve.training.parity import expected_outputs, link, probing_rows
from tabserve.training.preprocessing import prepared_columns

GOLDEN_ROWS = 64


def compile_pipeline(pipeline: Pipeline, schema: Schema) -> Compiled:
    """Preprocessing and estimator as one compiled model, over values as `Schema.rows` makes them."""
    estimator = pipeline[-1]
    return family_of(estimator).compile(estimator, prepared_columns(pipeline, schema), schema.task.outputs)


def write_release(
    folder: Path, pipeline: Pipeline, schema: Schema, training: Dataset, metadata: ModelMetadata
) -> Release:
    """Compiles the fitted pipeline and writes it as a release into `folder`, which must not exist.

    The golden rows have the outputs of the pipeline itself, so a release that computes something else can't be loaded.
    """
    golden = probing_rows(pipeline, schema, training, GOLDEN_ROWS, seed=0)
    return release.write(
        folder,
        schema=schema,
        golden_rows=golden,
        golden_outputs=expected_outputs(pipeline, schema, golden),
        model=compile_pipeline(pipeline, schema).to_bytes(),
        link=link(pipeline, schema.task.kind),
        metadata=metadata,
    )
