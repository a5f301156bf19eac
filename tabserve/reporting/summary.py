"""What a training shows in the terminal: the table before, and the model after."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pandas.api.types import is_numeric_dtype

from tabserve.model import ColumnFacts, ModelMetadata, RegisteredVersion
from tabserve.model.dates import iso_text, part_column
from tabserve.model.metadata import NOT_USED
from tabserve.model.task import listed
from tabserve.reporting.tasks import task_reporting
from tabserve.reporting.text import SHOWN, is_measured, most_frequent, number_text, with_deviation, wrapped_table
from tabserve.training import METRICS, TaskKind, metric_text
from tabserve.training.columns import TEXT_REASONS
from tabserve.training.dataset import Dataset
from tabserve.training.lookalikes import find_lookalikes

MANY_COLUMNS = 30
"""With more columns, those of which the same is made share a line."""

NARROWEST, WIDEST = 80, 120
"""How many characters wide the table of columns is at least, and at most."""

SHARES = (0.33, 0.25, 0.21, 0.21)
"""The share of that width for each of its columns: name, what it was read as, what it becomes, what is lost."""


def describe_dataset(dataset: Dataset, facts: Sequence[ColumnFacts], width: int = 100) -> str:
    """The table: its target column, what is made of each column and what is lost by that, and which rows are left
    out. `facts` are those of the columns, and `width` is that of the terminal, in characters."""
    lines = [f"{dataset.name}: {len(dataset)} rows; {task_reporting(dataset.task.kind).describe_target(dataset)}"]
    if dataset.unlabelled:
        lines.append(f"left out: {dataset.unlabelled} rows without a value in {dataset.target.name}")
    if len(facts) > MANY_COLUMNS:
        columns = _merged(facts)
    else:
        columns = [(one.name, _read_as(dataset, one), one.becomes, _lost(one)) for one in facts]
    head, room = ("column", "read as", "becomes", "lost"), min(max(width, NARROWEST), WIDEST) - 2
    lines += ["  " + line for line in wrapped_table([head, *columns], SHARES, room)]
    if texts := [name for name, reason in dataset.left_out.items() if reason.startswith(TEXT_REASONS)]:
        many = len(texts) > 1
        lines.append(f"{len(texts)} column{'s' * many} of text {'are' if many else 'is'} not used: {listed(texts, 20)}")
    return "\n".join(lines)


def _read_as(dataset: Dataset, column: ColumnFacts) -> str:
    """What a column was read as, with its values."""
    name, read_as = column.name, column.read_as
    if column.becomes == NOT_USED:
        return read_as
    if date := dataset.dates.get(name):
        first, last = (iso_text(moment.to_pydatetime()) for moment in (date.values.min(), date.values.max()))
        values, first_column = f"{first} to {last}", part_column(name, date.parts[0])
    else:
        values, first_column = _values(dataset, name), name
    missing = dataset.missing.get(first_column, 0)
    return f"{read_as}; {values}" + f"; {missing} missing" * (missing > 0)


def _values(dataset: Dataset, name: str) -> str:
    column = dataset.features[name]
    if name in dataset.booleans:
        return most_frequent({"true": int(column.sum()), "false": int((column == 0).sum())})
    if is_numeric_dtype(column.dtype):
        return f"{number_text(column.min())} to {number_text(column.max())}"
    return most_frequent(column.value_counts().to_dict())


def _lost(column: ColumnFacts) -> str:
    return f"{column.lost} ({column.undo})" if column.undo else column.lost


def _merged(columns: Sequence[ColumnFacts]) -> list[tuple[str, ...]]:
    """A line for all columns of which the same is made, with their names."""
    names: dict[tuple[str, ...], list[str]] = {}
    for one in columns:
        is_used = one.becomes != NOT_USED
        read_as = one.read_as if is_used else one.read_as.split(":")[0]
        lost = (_lost(one) if is_used else one.lost).replace(f"'{one.name}'", "COLUMN")
        names.setdefault((read_as, one.becomes, lost), []).append(one.name)
    return [(f"{listed(own)} ({len(own)} columns)" if len(own) > 1 else own[0], *line) for line, own in names.items()]


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
    if dataset.dates and dataset.order is None:
        name = next(iter(dataset.dates))
        warnings.append(
            f"note: {name!r} is a date: --split-by '{name}' holds out the latest rows, as a model in use meets them"
        )
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
            *task_reporting(kind).summary_lines(metadata),
            "",
            f"  artifacts   {folder}",
            f"  MLflow      run {version.run_id} in {tracking_uri}",
            f"              {page}",
        ]
    )
