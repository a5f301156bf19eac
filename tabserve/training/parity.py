"""Parity: a compiled model gives scikit-learn's outputs, on rows where a wrong rounding would show."""

from dataclasses import dataclass

import numpy as np
from sklearn.pipeline import Pipeline

from tabserve.errors import ParityError
from tabserve.model import Category, Matrix, Predictor, Release, Schema
from tabserve.model.compiled import Link
from tabserve.model.release import TOLERANCE
from tabserve.training.dataset import Dataset
from tabserve.training.estimators import family_of
from tabserve.training.preprocessing import prepared_columns
from tabserve.training.rows import as_rows, as_table
from tabserve.training.tasks import TaskKind, task_training

PARITY_ROWS = 2000


@dataclass(frozen=True)
class Parity:
    """The proof: on how many rows the models were compared, and the largest difference of an output."""

    rows: int
    difference: float

    def __str__(self) -> str:
        closeness = f"within {self.difference:.0e}" if self.difference else "to the last bit"
        return f"equal to scikit-learn on {self.rows} rows, {closeness}"


def prove_parity(release: Release, pipeline: Pipeline, training: Dataset, seed: int) -> Parity:
    """Compares the release, as it is served, with the pipeline that it was made from.

    Raises:
        ParityError: they differ.
    """
    rows = probing_rows(pipeline, release.schema, training, PARITY_ROWS, seed)
    return Parity(len(rows), check_parity(pipeline, release.schema, rows, Predictor(release).outputs(rows)))


def check_parity(pipeline: Pipeline, schema: Schema, rows: Matrix, actual: Matrix) -> float:
    """Compares outputs, shape (n, outputs), with those of the pipeline for the same rows, shape (n, features).

    Returns the largest difference of an output. The prediction must be the same for every row.

    Raises:
        ParityError: they differ.
    """
    expected = expected_outputs(pipeline, schema, rows)
    allowed = TOLERANCE[link(pipeline, schema.task.kind)] * schema.task.output_scale
    difference = float(np.abs(expected - actual).max())
    changed = task_training(schema.task.kind).changed_predictions(expected, actual, schema.task)
    if not difference <= allowed or changed:
        raise ParityError(
            f"the compiled model differs from scikit-learn: in {changed} of {len(expected)} predictions, and by up to "
            f"{difference:.1e} in an output (allowed {allowed:.0e}). Nothing was published"
        )
    return difference


def expected_outputs(pipeline: Pipeline, schema: Schema, rows: Matrix) -> Matrix:
    """What scikit-learn itself computes for rows of shape (n, features): shape (n, outputs)."""
    return task_training(schema.task.kind).outputs(pipeline, as_table(schema, rows))


def link(pipeline: Pipeline, kind: TaskKind) -> Link:
    """How the sums of the compiled model become its outputs."""
    estimator = pipeline[-1]
    return "mean" if family_of(estimator).averages else task_training(kind).score_link(estimator)


def probing_rows(pipeline: Pipeline, schema: Schema, training: Dataset, count: int, seed: int) -> Matrix:
    """Rows on which a wrong rounding shows, as the model takes them: shape (count, model features).

    They are of three kinds, in turn: training rows; rows whose values are split points of the trees, scaled back, plus
    or minus up to two units in the last place of float32; and random rows, from a range twice as wide as that of
    training. Rows of the last two kinds have any category, known or unknown, and lack a tenth of the values that may
    be missing.
    """
    rng = np.random.default_rng(seed)
    known = as_rows(schema, training.features.iloc[rng.integers(0, len(training), -(-count // 3))])
    third = len(known)
    thresholds, columns = family_of(pipeline[-1]).split_points(pipeline[-1]), prepared_columns(pipeline, schema)
    near, wide = np.empty(known.shape), np.empty(known.shape)
    for number, feature in enumerate(schema.model_features):
        if isinstance(feature, Category):
            near[:, number], wide[:, number] = rng.integers(-1, len(feature.categories), (2, third))
        else:
            column = columns.column_of[number]
            splits = thresholds.get(column, np.zeros(1)).astype(np.float32)
            points = rng.choice(splits, third)
            nudged = points + rng.integers(-2, 3, third) * np.spacing(points)
            near[:, number] = nudged.astype(np.float64) * columns.scale[column] + columns.mean[column]
            half = (feature.maximum - feature.minimum) / 2
            wide[:, number] = rng.uniform(feature.minimum - half, feature.maximum + half, third)
        if feature.missing:
            for rows in (near, wide):
                rows[rng.random(third) < 0.1, number] = np.nan
    stacked = np.stack([known, near, wide], axis=1)
    return np.ascontiguousarray(stacked.reshape(-1, known.shape[1])[:count])
