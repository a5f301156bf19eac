"""For any table with a number to predict, the served model gives what scikit-learn gives."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tabserve.model import Predictor
from tabserve.training import EstimatorConfig, compiler, dataset, fitting, parity, regression, schema_inference
from tabserve.training.dataset import Dataset
from tests.support import number_tables
from tests.support.models import metadata

CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "random-forest": ("random-forest", {"n_estimators": 10}),
    "absolute error": ("random-forest", {"n_estimators": 3, "criterion": "absolute_error"}),
    "few leaves": ("random-forest", {"n_estimators": 9, "max_leaf_nodes": 8, "max_features": 0.5}),
    "extra-trees": ("extra-trees", {"n_estimators": 10}),
    "boosting": ("hist-gradient-boosting", {"max_iter": 20}),
    "gamma": ("hist-gradient-boosting", {"max_iter": 20, "loss": "gamma"}),
    "poisson": ("hist-gradient-boosting", {"max_iter": 20, "loss": "poisson"}),
    "ridge": ("ridge", {}),
}

TABLES = {
    "price": number_tables.diamonds,
    "SalePrice": number_tables.houses,
    "fare_amount": number_tables.taxis,
}


@st.composite
def tables(draw: st.DrawFn) -> Dataset:
    """Some columns of the tables of prices and fares, some with gaps, one far from 0, and one of many categories; the
    target in any unit."""
    target = draw(st.sampled_from(sorted(TABLES)))
    rows, seed = draw(st.integers(60, 300)), draw(st.integers(0, 2**32 - 1))
    frame = TABLES[target](rows, seed)
    names = list(frame.columns.drop(target))
    frame = frame[[*draw(st.lists(st.sampled_from(names), min_size=1, unique=True)), target]]
    rng = np.random.default_rng(seed)
    if draw(st.booleans()):
        frame.insert(0, "far away", 1e6 + rng.integers(0, 9, rows) / 8)
    if draw(st.booleans()):
        frame.insert(0, "many categories", [f"c{number}" for number in rng.integers(0, 60, rows)])
    for name in draw(st.lists(st.sampled_from(list(frame.columns.drop(target))), max_size=2)):
        frame[name] = frame[name].mask(rng.random(rows) < 0.3)
    frame[target] = (frame[target] + 1.0) * 10.0 ** draw(st.integers(-12, 12))
    return number_tables.as_dataset(frame, target)


@settings(max_examples=40, deadline=None)
@given(table=tables(), name=st.sampled_from(sorted(CONFIGS)), seed=st.integers(0, 1000))
def test_served_model_of_any_number_gives_what_scikit_learn_gives(table: Dataset, name: str, seed: int) -> None:
    """A model of any table, with any estimator and loss, predicts scikit-learn's numbers: forests to the last bit, the
    others within 1e-9 of the target's spread. A row alone gets the same as in a batch."""
    estimator, hyperparameters = CONFIGS[name]
    training = dataset.split(table, 0.2, seed).training
    pipeline = fitting.fit(training, EstimatorConfig(estimator, hyperparameters), seed)
    schema = schema_inference.infer_schema(training, pipeline)
    about = metadata(schema)
    with TemporaryDirectory() as folder:
        release = compiler.write_release(Path(folder) / "release", pipeline, schema, training, about)
    predictor = Predictor(release)
    rows = parity.probing_rows(pipeline, schema, training, 1500, seed)
    outputs = predictor.outputs(rows)
    difference = parity.check_parity(pipeline, schema, rows, outputs)
    assert difference <= (0 if release.link == "mean" else 1e-9 * regression.model_task(table.target).target_spread)
    alone = [predictor.row_outputs(row)[0] for row in rows[:50].tolist()]
    assert outputs[:50].tolist() == alone
