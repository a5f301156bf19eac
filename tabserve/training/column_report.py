"""What a training makes of each column of a table, what is lost by that, and the option that undoes it."""

from collections.abc import Iterable

from tabserve.model import ColumnFacts
from tabserve.model.dates import part_column
from tabserve.model.metadata import NOT_USED
from tabserve.training.columns import TOO_LARGE, UNDECIDED_DATES, ReadColumn
from tabserve.training.dataset import Dataset
from tabserve.training.encoding import FeatureEncoding


def report_columns(dataset: Dataset, encodings: Iterable[FeatureEncoding]) -> list[ColumnFacts]:
    """The facts of `Dataset.columns`, with what their encoding makes of each; and of the others that are left out.
    `encodings` are those of the columns of `Dataset.features`."""
    by_name = {encoding.name: encoding for encoding in encodings}
    report = []
    for column in dataset.columns:
        if column.becomes == NOT_USED:
            report.append(column)
            continue
        date = dataset.dates.get(column.name)
        name = part_column(column.name, date.parts[0]) if date else column.name
        report.append(_with_encoding(column, by_name[name]))
    known = {one.name for one in report}
    return report + [unused_column(name, why) for name, why in dataset.left_out.items() if name not in known]


def _with_encoding(column: ColumnFacts, encoding: FeatureEncoding) -> ColumnFacts:
    made = column.becomes + encoding.made.removeprefix("the number") if column.becomes else encoding.made
    return column.model_copy(
        update={
            "becomes": made,
            "lost": "; ".join(filter(None, [column.lost, encoding.lost])),
            "undo": "; ".join(filter(None, [column.undo, encoding.undo])),
        }
    )


def unused_column(name: str, reason: str, column: ReadColumn | None = None) -> ColumnFacts:
    """The facts of a column that is left out; `column` is what it was read as, if it was read."""
    if reason == UNDECIDED_DATES:
        return ColumnFacts(
            name=name, read_as=reason, becomes=NOT_USED, lost="all of it", undo="--dates dmy or --dates mdy"
        )
    read_as = reason.removeprefix("a ").removeprefix("an ")
    if reason.startswith("a constant") and "missing" not in reason:
        return ColumnFacts(name=name, read_as=read_as, becomes=NOT_USED)
    undo = f"--keep '{name}'"
    if column and (column.kind == "text" or reason.startswith(TOO_LARGE)):
        undo = column.loss[1] or undo
    return ColumnFacts(name=name, read_as=read_as, becomes=NOT_USED, lost="all of it", undo=undo)
