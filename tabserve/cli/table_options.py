"""The options that say which table is trained on, and how it is read. The training and the pipeline have them.

Standard library only, as `pipeline` needs it.
"""

import argparse
import codecs
from pathlib import Path
from typing import TYPE_CHECKING

from tabserve.errors import SettingsError
from tabserve.store_uri import absolute_store
from tabserve.training import METRICS
from tabserve.training.source import STANDARD_INPUT, TableSource

if TYPE_CHECKING:
    from tabserve.settings import Settings

COLUMN_OPTIONS = (
    ("--drop", "columns to leave out"),
    ("--id", "columns that only identify the row"),
    ("--categorical", "columns whose values are categories, even if they are numbers"),
    ("--keep", "columns to use, even if they look useless: free texts, identifiers, constants"),
)

OF_A_TABLE = (
    "target", "task", "drop", "id", "categorical", "keep", "dates", "decimal", "split_by", "query", "separator",
    "encoding", "missing", "no_header", "sheet",
)  # fmt: skip
"""The options that need --data."""

REMOTE = ("http", "https", "ftp", "s3", "gs", "abfs", "hdfs", "file")
"""Addresses with such a begin are no databases."""


def add_table_options(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--data", type=table_place, metavar="PLACE",
        help="the table: a file of CSV, Parquet, Feather, JSON lines or Excel; a folder, or a quoted pattern, of "
        "Parquet; - for standard input; or the address of a database, with --query (default: Iris)",
    )  # fmt: skip
    group.add_argument("--target", metavar="COLUMN", help="the target column of the table")
    group.add_argument(
        "--task", choices=METRICS,
        help="what to predict: classes, or a number (default: a number if the target has fractions or more than 15 "
        "different whole numbers)",
    )  # fmt: skip
    for option, description in COLUMN_OPTIONS:
        group.add_argument(option, nargs="+", action="extend", default=[], metavar="COLUMN", help=description)
    group.add_argument(
        "--dates", choices=["dmy", "mdy"],
        help="what comes first in dates like 1/2/2024, if no day above 12 says it: the day or the month",
    )  # fmt: skip
    group.add_argument(
        "--decimal", choices=[".", ","], metavar="SIGN",
        help="point or comma: the decimal sign of numbers like 1,234, if no other value of the column says it "
        "(default: .)",
    )  # fmt: skip
    group.add_argument(
        "--split-by", metavar="COLUMN",
        help="hold out the latest rows by this column of dates or numbers, and cross-validate forward in time "
        "(default: hold out rows at random)",
    )  # fmt: skip
    group.add_argument("--query", metavar="SQL", help="the query of a database whose result is the table")
    group.add_argument(
        "--separator", type=separator, metavar="CHARACTER", help="between the columns of CSV; tab (default: as found)"
    )
    group.add_argument("--encoding", type=encoding, metavar="NAME", help="of CSV, such as cp1252 (default: as found)")
    group.add_argument(
        "--missing", nargs="*", action="extend", metavar="TEXT",
        help="the texts that count as missing, besides the empty one (default for CSV and Excel: NA, null and others)",
    )  # fmt: skip
    group.add_argument(
        "--no-header", action="store_true", help="CSV or Excel without names of columns: they are called 1, 2, 3 …"
    )
    group.add_argument("--sheet", metavar="NAME", help="of Excel (default: the first one that isn't empty)")


def table_problem(given: argparse.Namespace) -> str | None:
    """Which of these options don't go together, and what to do; None if all do."""
    source = table_source(given)
    if source is None:
        used = [name for name in OF_A_TABLE if getattr(given, name) not in (None, False, [])]
        return f"argument {_option(used[0])}: it is about a table; name the table with --data" if used else None
    if not given.target:
        return "argument --data: name the target column of the table with --target"
    if source.is_database and not given.query:
        return "argument --data: a database needs the query of the table: --query 'select …'"
    if given.query and not source.is_database:
        return "argument --query: it is for a database; --data is its address, such as postgresql://host/name"
    return None


def table_source(given: argparse.Namespace) -> TableSource | None:
    """The table that the options name; None for Iris."""
    if not given.data:
        return None
    return TableSource(
        place=given.data,
        query=given.query,
        separator=given.separator,
        encoding=given.encoding,
        missing=given.missing,
        has_header=not given.no_header,
        sheet=given.sheet,
    )


def require_model_name(source: TableSource | None, settings: "Settings") -> None:
    """Raises SettingsError if nothing names the model: neither a setting, nor an option, nor the file of the table."""
    if source and source.file is None and "model_name" not in settings.model_fields_set:
        raise SettingsError(f"--data: name the model with --model-name, because {source.name} is no file with a name")


# -- types of values


def table_place(text: str) -> str:
    """A file gets its absolute path at once, because logging to MLflow changes the working directory.

    A message of argparse would show an address with its password, so every problem has a message of its own.
    """
    scheme, is_address, _ = text.partition("://")
    if text == STANDARD_INPUT:
        return text
    if not is_address:
        return str(Path(text).absolute())
    if scheme.lower() in REMOTE:
        raise argparse.ArgumentTypeError(f"{scheme}:// can't be read: download the table, and name its file")
    if scheme.startswith("sqlite"):
        try:
            return absolute_store(text, Path.cwd())
        except ValueError:
            raise argparse.ArgumentTypeError(f"it names no file: {scheme}:///table.db or /absolute/table.db") from None
    return text


def separator(text: str) -> str:
    character = "\t" if text in ("tab", r"\t") else text
    if len(character) != 1 or not character.isascii() or character in '"\r\n':
        raise argparse.ArgumentTypeError(f"{text!r} is not one character, such as ';', or tab")
    return character


def encoding(text: str) -> str:
    try:
        return codecs.lookup(text).name
    except LookupError:
        raise argparse.ArgumentTypeError(f"{text!r} is no encoding that Python knows, such as cp1252") from None


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
