"""For any table, the served model gives what scikit-learn gives."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tabserve.model import Boolean, Category, Date, Predictor, Schema
from tabserve.model.dates import read_date
from tabserve.training import (
    ColumnOptions,
    EstimatorConfig,
    compiler,
    dataset,
    fitting,
    parity,
    schema_inference,
    task_training,
)
from tabserve.training.dataset import Dataset, DateColumn
from tabserve.training.features import choose_features
from tabserve.web.codecs import JsonRequests, decode_arrow_batch
from tests.support.arrow import stream
from tests.support.models import metadata

KINDS = (
    "on a grid", "normal", "whole", "far away", "few categories", "many categories", "rare categories",
    "dates", "times", "booleans",
)  # fmt: skip

SMALL: dict[str, dict[str, Any]] = {
    "random-forest": {"n_estimators": 10},
    "extra-trees": {"n_estimators": 10},
    "hist-gradient-boosting": {"max_iter": 10},
    "logistic-regression": {},
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
        case "few categories":
            return rng.choice(["a", "ä b", ""], rows)
        case "many categories":
            return np.array([f"c{number}" for number in rng.integers(0, 40, rows)])
        case "dates":
            return np.datetime_as_string(np.datetime64("1969-11-01") + rng.integers(0, 800, rows))
        case "times":
            seconds = np.datetime64("2024-02-27T21:00:00.5", "us") + rng.integers(0, 10**12, rows)
            return np.char.add(np.datetime_as_string(seconds), rng.choice(["", "Z", "+05:30"], rows))
        case "booleans":
            return rng.choice(["True", "False"], rows)
    return rng.choice(["x", "y", "once", "twice"], rows, p=[0.6, 0.39, 0.005, 0.005])


@dataclass(frozen=True)
class DrawnTable:
    """A table, and its rows as callers send them: feature → values, None where one is missing."""

    dataset: Dataset
    sent: Mapping[str, list[Any]]


@st.composite
def tables(draw: st.DrawFn) -> DrawnTable:
    """Tables of up to six columns of any kind, each of which may lack values, with two to five classes."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = draw(st.integers(60, 300))
    features, sent = pd.DataFrame(index=range(rows)), {}
    booleans: dict[str, tuple[str, ...]] = {}
    dates: dict[str, DateColumn] = {}
    for number, kind in enumerate(draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=6))):
        values = pd.Series(column(kind, rows, rng), name=f"{kind} ({number})")
        values = values.astype("float64" if values.dtype.kind == "f" else "str")
        values = values.mask(rng.random(rows) < draw(st.sampled_from([0, 0, 0.02, 0.4])))
        sent[str(values.name)] = values.astype(object).where(values.notna(), None).tolist()
        if kind in ("dates", "times", "booleans"):
            chosen = choose_features(values.to_frame(), ColumnOptions("kind"))
            features = features.assign(**chosen.columns)
            booleans |= chosen.booleans
            dates |= chosen.dates
        else:
            features[values.name] = values
    classes = draw(st.integers(2, 5))
    target = pd.Series(rng.permutation(np.arange(rows) % classes), name="kind").map("class {}".format).astype(object)
    missing = {str(name): int(count) for name, count in features.isna().sum().items() if count}
    task = task_training("classification").model_task(target)
    dataset = Dataset("drawn", features, target, task, missing, booleans=booleans, dates=dates)
    return DrawnTable(dataset, sent)


def as_arrow(schema: Schema, sent: Mapping[str, list[Any]]) -> pa.Table:
    """The rows as pandas hands them to Arrow: timestamps, booleans, and categories as a dictionary."""
    columns = {}
    for feature in schema.features:
        values = sent[feature.name]
        match feature:
            case Date():
                moments = [None if text is None else read_date(text) for text in values]
                columns[feature.name] = pa.array(moments, pa.timestamp("us"))
            case Boolean():
                columns[feature.name] = pa.array([None if text is None else text == "True" for text in values])
            case Category():
                columns[feature.name] = pa.array(values, pa.string()).dictionary_encode()
            case _:
                columns[feature.name] = pa.array(values, pa.float64())
    return pa.table(columns)


@settings(max_examples=40, deadline=None)
@given(table=tables(), estimator=st.sampled_from(sorted(SMALL)), seed=st.integers(0, 1000))
def test_served_model_of_any_table_gives_what_scikit_learn_gives(table: DrawnTable, estimator: str, seed: int) -> None:
    """A model of any table, of columns of any kind with and without missing values, and any estimator, predicts the
    class that scikit-learn predicts for every row, with its probabilities to 1e-7 (forests) or 1e-6. A row alone gets
    the same as in a batch, and JSON and Arrow are decoded to the same rows."""
    whole = table.dataset
    training = dataset.split(whole, 0.2, seed).training
    pipeline = fitting.fit(training, EstimatorConfig(estimator, SMALL[estimator]), seed)
    schema = schema_inference.infer_schema(training)
    with TemporaryDirectory() as folder:
        release = compiler.write_release(Path(folder) / "release", pipeline, schema, training, metadata(schema))
    predictor = Predictor(release)
    rows = parity.probing_rows(pipeline, schema, training, 1500, seed)
    outputs = predictor.outputs(rows)
    parity.check_parity(pipeline, schema, rows, outputs)
    alone, unlike_training = zip(*map(predictor.row_outputs, rows[:50].tolist()), strict=True)
    assert np.abs(outputs[:50] - alone).max() <= (0 if release.link == "mean" else 1e-15)
    assert list(unlike_training) == [bool(schema.warnings(row)) for row in rows[:50].tolist()]
    received = schema.rows(table.sent)
    assert np.array_equal([schema.row(record) for record in schema.inputs(received)], received.values, equal_nan=True)
    assert predictor.outputs(received.values) == pytest.approx(pipeline.predict_proba(whole.features), abs=1e-6)
    requests = JsonRequests(schema, len(whole))
    records = [dict(zip(table.sent, record, strict=True)) for record in zip(*table.sent.values(), strict=True)]
    for decoded in (
        requests.decode_batch(json.dumps({"columns": table.sent}).encode()),
        requests.decode_batch(json.dumps({"records": records}).encode()),
        decode_arrow_batch(stream(as_arrow(schema, table.sent)), requests),
    ):
        assert np.array_equal(decoded.values, received.values, equal_nan=True)
    row = requests.decode_row(json.dumps(records[0]).encode())
    assert np.array_equal(schema.row(row), received.values[0], equal_nan=True)
