"""For any table, the served model gives what scikit-learn gives."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tabserve.model import Predictor, Rows
from tabserve.training import (
    EncodingOptions,
    EstimatorConfig,
    TaskKind,
    compiler,
    dataset,
    fitting,
    parity,
    schema_inference,
    task_training,
)
from tabserve.training.config import ENCODINGS
from tabserve.training.dataset import Dataset
from tests.support.models import metadata

KINDS = (
    "on a grid", "normal", "whole", "far away", "constant", "few categories", "many categories", "rare categories",
)  # fmt: skip

SMALL: dict[str, dict[str, Any]] = {
    "random-forest": {"n_estimators": 10},
    "extra-trees": {"n_estimators": 10},
    "hist-gradient-boosting": {"max_iter": 10},
    "logistic-regression": {},
    "ridge": {},
}


def column(kind: str, rows: int, rng: np.random.Generator) -> Any:
    match kind:
        case "on a grid":
            return np.round(rng.integers(0, 60, rows) * 0.1, 1)
        case "normal":
            return rng.normal(0, 10.0 ** rng.integers(-4, 5), rows)
        case "whole":
            return rng.integers(-3, 200, rows).astype(float)
        case "far away":
            return 1e6 + rng.integers(0, 9, rows) / 8
        case "constant":
            return np.full(rows, 2.5)
        case "few categories":
            return rng.choice(["a", "ä b", ""], rows)
        case "many categories":
            return np.array([f"c{number}" for number in rng.integers(0, 40, rows)])
    return rng.choice(["x", "y", "once", "twice"], rows, p=[0.6, 0.39, 0.005, 0.005])


@st.composite
def tables(draw: st.DrawFn, task: TaskKind) -> Dataset:
    """Tables of up to six columns, numbers and categories, each of which may lack values; with two to five classes, or
    with a number as target."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = draw(st.integers(60, 300))
    features = pd.DataFrame(index=range(rows))
    for number, kind in enumerate(draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=6))):
        values = pd.Series(column(kind, rows, rng), name=f"{kind} ({number})")
        values = values.astype("float64" if values.dtype.kind == "f" else "str")
        features[values.name] = values.mask(rng.random(rows) < draw(st.sampled_from([0, 0, 0.02, 0.4])))
    if task == "classification":
        classes = draw(st.integers(2, 5))
        numbers = pd.Series(rng.permutation(np.arange(rows) % classes), name="kind")
        target = numbers.map("class {}".format).astype(object)
    else:
        target = pd.Series(column(draw(st.sampled_from(["on a grid", "normal", "whole"])), rows, rng), name="amount")
    missing = {str(name): int(count) for name, count in features.isna().sum().items() if count}
    return Dataset("drawn", features, target, task_training(task).model_task(target), missing)


TASKS: tuple[TaskKind, ...] = ("classification", "regression")

tables_and_estimators = st.sampled_from(TASKS).flatmap(
    lambda task: st.tuples(tables(task), st.sampled_from(sorted(SMALL.keys() & task_training(task).estimators)))
)


encodings = st.builds(
    EncodingOptions, st.sampled_from(ENCODINGS), st.sampled_from([1, 5, 30, 0.02]), st.booleans()
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(drawn=tables_and_estimators, encoding=encodings, seed=st.integers(0, 1000))
def test_served_model_of_any_table_gives_what_scikit_learn_gives(
    drawn: tuple[Dataset, str], encoding: EncodingOptions, seed: int
) -> None:
    """A model of any table, of numbers and categories with and without missing values, and any estimator and encoding,
    predicts for every row what scikit-learn predicts: a forest to the last bit, any other with probabilities within
    1e-6, or a number within 1e-9 of the target's spread. A row alone gets the same as in a batch."""
    table, estimator = drawn
    training = dataset.split(table, 0.2, seed).training
    pipeline = fitting.fit(training, EstimatorConfig(estimator, SMALL[estimator], encoding), seed)
    schema = schema_inference.infer_schema(training, pipeline)
    with TemporaryDirectory() as folder:
        release = compiler.write_release(Path(folder) / "release", pipeline, schema, training, metadata(schema))
    predictor = Predictor(release)
    rows = parity.probing_rows(pipeline, schema, training, 1500, seed)
    outputs = predictor.outputs(rows)
    difference = parity.check_parity(pipeline, schema, rows, outputs)
    assert difference == 0 or release.link != "mean"
    alone, unlike_training = zip(*map(predictor.row_outputs, rows[:50].tolist()), strict=True)
    assert np.abs(outputs[:50] - alone).max() <= (1e-15 if release.link == "softmax" else 0)
    assert list(unlike_training) == [bool(schema.warnings(row)) for row in rows[:50].tolist()]
    received = schema.rows({str(name): values.astype(object).where(values.notna(), None).tolist()
                            for name, values in table.features.items()})  # fmt: skip
    assert np.array_equal([schema.row(record) for record in schema.inputs(received)], received.values, equal_nan=True)
    expected = task_training(table.task.kind).outputs(pipeline, table.features)
    assert predictor.outputs(received.values) == pytest.approx(expected, abs=1e-6 * schema.task.output_scale)
    assert isinstance(received, Rows)
