"""What a training shows in the terminal: the table before, and the model after."""

from collections.abc import Mapping
from pathlib import Path

from pandas.api.types import is_numeric_dtype

from tabserve.model import ModelMetadata, RegisteredVersion
from tabserve.reporting.tasks import task_reporting
from tabserve.reporting.text import SHOWN, is_measured, most_frequent, with_deviation
from tabserve.training import METRICS, TaskKind, metric_text
from tabserve.training.dataset import Dataset
from tabserve.training.lookalikes import find_lookalikes


def describe_dataset(dataset: Dataset) -> str:
    """The table: its target column, each feature, and which columns and rows are left out."""
    columns = []
    for name, column in dataset.features.items():
        if is_numeric_dtype(column.dtype):
            kind, values = "number", f"{column.min():g} to {column.max():g}"
        else:
            kind, values = "category", most_frequent(column.value_counts().to_dict())
        columns.append((str(name), kind, str(dataset.missing.get(str(name), "")), values))
    columns += [(name, "left out", "", reason) for name, reason in dataset.left_out.items()]
    columns = [("column", "kind", "missing", "values"), *columns]
    widths = [max(len(cells[number]) for cells in columns) for number in range(3)]
    lines = [f"{dataset.name}: {len(dataset)} rows; {task_reporting(dataset.task.kind).describe_target(dataset)}"]
    if dataset.unlabelled:
        lines.append(f"left out: {dataset.unlabelled} rows without a value in {dataset.target.name}")
    lines += [
        f"  {name:{widths[0]}}  {kind:{widths[1]}}  {missing:>{widths[2]}}  {values}"
        for name, kind, missing, values in columns
    ]
    return "\n".join(lines)


def dataset_warnings(dataset: Dataset, leakage: Mapping[str, float]) -> list[str]:
    """What somebody should know of a table before trusting a model of it, a line each. `leakage`: feature → its score,
    as `find_leakage` gives it."""
    target, task = dataset.target.name, task_reporting(dataset.task.kind)
    warnings = [
        f"warning: {name!r} alone predicts {target} {task.describe_leakage(score)}: is it known before {target} is? "
        f"If not, --drop '{name}'"
        for name, score in leakage.items()
    ]
    warnings += [
        f"warning: {name} has values that look alike: {_listed_groups(groups)}. If they mean the same, repair the table"
        for name, groups in find_lookalikes(dataset).items()
    ]
    return warnings + task.dataset_warnings(dataset)


def _listed_groups(groups: list[list[str]]) -> str:
    more = f", and {len(groups) - SHOWN} more" * (len(groups) > SHOWN)
    return ", ".join(" and ".join(map(repr, group)) for group in groups[:SHOWN]) + more


def headline(metadata: ModelMetadata, kind: TaskKind) -> str:
    """How good the model is on the held-out rows, in a line."""
    return ", ".join(f"{name} {metric_text(metadata.metrics[f'test_{name}'])}" for name in METRICS[kind].headline)


def training_summary(
    version: RegisteredVersion,
    verdict: str,
    metadata: ModelMetadata,
    kind: TaskKind,
    *,
    folder: Path,
    tracking_uri: str,
    page: str,
) -> str:
    """What a training shows at its end: the version, how good it is, where its artifacts are, and the page of its
    run."""
    metrics = metadata.metrics
    names = [name for name in task_reporting(kind).summary_metrics if is_measured(metrics, name)]
    values = {name: metric_text(metrics[f"test_{name}"]) for name in names}
    width, digits = max(18, *map(len, names)), max(8, *map(len, values.values()))
    rows = [f"  {name:{width}} {values[name]:>{digits}}   {with_deviation(metrics, name)}" for name in names]
    return "\n".join(
        [
            "",
            f"{version.model_version}, version {version.registry_version} in the registry: {verdict}",
            "",
            f"  {'':{width}} {'held out':>{digits}}   cross-validation",
            *rows,
            *task_reporting(kind).summary_lines(metrics),
            "",
            f"  artifacts   {folder}",
            f"  MLflow      run {version.run_id} in {tracking_uri}",
            f"              {page}",
        ]
    )
