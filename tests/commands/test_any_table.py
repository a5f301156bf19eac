"""For any table, the served model gives what scikit-learn gives."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
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
from tabserve.model.dates import iso_text, read_date
from tabserve.training import (
    ColumnOptions,
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
from tabserve.training.dataset import Dataset, DateColumn
from tabserve.training.features import choose_features
from tabserve.web.codecs import JsonRequests, decode_arrow_batch
from tests.support.arrow import stream
from tests.support.models import metadata

SMALL: dict[str, dict[str, Any]] = {
    "random-forest": {"n_estimators": 10},
    "extra-trees": {"n_estimators": 10},
    "hist-gradient-boosting": {"max_iter": 10},
    "logistic-regression": {},
    "ridge": {},
}


def column(kind: str, rows: int, rng: np.random.Generator) -> Any:
    return COLUMNS[kind](rows, rng)


COLUMNS: Mapping[str, Callable[[int, np.random.Generator], Any]] = {
    "on a grid": lambda rows, rng: np.round(rng.integers(0, 60, rows) * 0.1, 1),
    "normal": lambda rows, rng: rng.normal(0, 10.0 ** rng.integers(-4, 5), rows),
    "whole": lambda rows, rng: rng.integers(-3, 200, rows).astype(float),
    "far away": lambda rows, rng: 1e6 + rng.integers(0, 9, rows) / 8,
    "constant": lambda rows, _: np.full(rows, 2.5),
    "few categories": lambda rows, rng: rng.choice(["a", "ä b", ""], rows),
    "many categories": lambda rows, rng: np.array([f"c{number}" for number in rng.integers(0, 40, rows)]),
    "rare categories": lambda rows, rng: rng.choice(["x", "y", "once", "twice"], rows, p=[0.6, 0.39, 0.005, 0.005]),
    "dates": lambda rows, rng: np.datetime_as_string(np.datetime64("1969-11-01") + rng.integers(0, 800, rows)),
    "times": lambda rows, rng: np.char.add(
        np.datetime_as_string(np.datetime64("2024-02-27T21:00:00.5", "us") + rng.integers(0, 10**12, rows)),
        rng.choice(["", "Z", "+05:30"], rows),
    ),
    "named dates": lambda rows, rng: pd.Series(
        pd.Timestamp("1999-11-01") + pd.to_timedelta(rng.integers(0, 800, rows), "D")
    ).dt.strftime("%d %b %Y"),
    "compact dates": lambda rows, rng: np.char.replace(
        np.datetime_as_string(np.datetime64("1969-11-01") + rng.integers(0, 800, rows)), "-", ""
    ),
    "times of day": lambda rows, rng: np.char.mod("%d:", rng.integers(0, 24, rows)) + rng.choice(["00", "59:30"], rows),
    "booleans": lambda rows, rng: rng.choice(["True", "False"], rows),
}
"""Kind of a column → so many values of it."""


@dataclass(frozen=True)
class DrawnTable:
    """A table, and its rows as callers send them: feature → values, None where one is missing."""

    dataset: Dataset
    sent: Mapping[str, list[Any]]


@st.composite
def tables(draw: st.DrawFn, task: TaskKind) -> DrawnTable:
    """Tables of up to six columns of any kind, each of which may lack values; with two to five classes, or with a
    number as target."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = draw(st.integers(60, 300))
    features, sent = pd.DataFrame(index=range(rows)), {}
    booleans: dict[str, tuple[str, ...]] = {}
    dates: dict[str, DateColumn] = {}
    durations: set[str] = set()
    for number, kind in enumerate(draw(st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, max_size=6))):
        values = pd.Series(column(kind, rows, rng), name=f"{kind} ({number})")
        values = values.astype("float64" if values.dtype.kind == "f" else "str")
        values = values.mask(rng.random(rows) < draw(st.sampled_from([0, 0, 0.02, 0.4])))
        sent[str(values.name)] = values.astype(object).where(values.notna(), None).tolist()
        if kind in ("dates", "times", "booleans", "named dates", "compact dates", "times of day"):
            chosen = choose_features(values.to_frame(), ColumnOptions("kind"))
            features = features.assign(**chosen.columns)
            booleans |= chosen.booleans
            dates |= chosen.dates
            durations |= chosen.durations
            if kind in ("named dates", "compact dates"):
                moments = chosen.dates[str(values.name)].values
                sent[str(values.name)] = [None if pd.isna(moment) else iso_text(moment) for moment in moments]
            if kind == "times of day":
                seconds = chosen.columns[str(values.name)]
                sent[str(values.name)] = seconds.astype(object).where(seconds.notna(), None).tolist()
        else:
            features[values.name] = values
    if task == "classification":
        classes = draw(st.integers(2, 5))
        numbers = pd.Series(rng.permutation(np.arange(rows) % classes), name="kind")
        target = numbers.map("class {}".format).astype(object)
    else:
        target = pd.Series(column(draw(st.sampled_from(["on a grid", "normal", "whole"])), rows, rng), name="amount")
    missing = {str(name): int(count) for name, count in features.isna().sum().items() if count}
    model_task = task_training(task).model_task(target)
    drawn = Dataset("drawn", features, target, model_task, missing, booleans=booleans, dates=dates)
    return DrawnTable(replace(drawn, durations=frozenset(durations)), sent)


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
    drawn: tuple[DrawnTable, str], encoding: EncodingOptions, seed: int
) -> None:
    """A model of any table, of columns of any kind with and without missing values, and any estimator and encoding,
    predicts for every row what scikit-learn predicts: a forest to the last bit, any other with probabilities within
    1e-6, or a number within 1e-9 of the target's spread. A row alone gets the same as in a batch, and JSON and Arrow
    are decoded to the same rows."""
    table, estimator = drawn
    whole = table.dataset
    training = dataset.split(whole, 0.2, seed).training
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
    assert outputs[:50].tolist() == list(alone)
    assert list(unlike_training) == [bool(schema.warnings(row)) for row in rows[:50].tolist()]
    received = schema.rows(table.sent)
    assert np.array_equal([schema.row(record) for record in schema.inputs(received)], received.values, equal_nan=True)
    expected = task_training(whole.task.kind).outputs(pipeline, whole.features)
    assert predictor.outputs(received.values) == pytest.approx(expected, abs=1e-6 * schema.task.output_scale)
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
