"""The options about a table: what goes together, and that no password is shown."""

import argparse
from pathlib import Path

import pytest

from tabserve.cli.table_options import (
    add_table_options,
    require_model_name,
    table_problem,
    table_source,
)
from tabserve.errors import SettingsError
from tabserve.settings import Settings
from tabserve.training.source import TableSource


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_table_options(parser)
    return parser.parse_args(arguments)


def test_options_say_where_and_how_a_table_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file gets its absolute path. A lone minus, and texts that begin with one, may count as missing."""
    monkeypatch.chdir(tmp_path)
    given = parsed(
        "--data", "t.csv", "--target", "y", "--separator", "tab", "--encoding", "latin1", "--missing", "-", "-999",
        "--missing=-nan", "--no-header", "--sheet", "S",
    )  # fmt: skip
    assert table_source(given) == TableSource(
        str(tmp_path / "t.csv"), None, "\t", "iso8859-1", ["-", "-999", "-nan"], has_header=False, sheet="S"
    )
    assert table_problem(given) is None
    for arguments, missing in ((["--missing"], []), ([], None)):
        source = table_source(parsed("--data", "t.csv", "--target", "y", *arguments))
        assert source
        assert source.missing == missing
    address = table_source(parsed("--data", "sqlite:///t.db", "--query", "select 1", "--target", "y"))
    assert address
    assert address.place == f"sqlite:///{tmp_path}/t.db"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--target", "y"], "argument --target: it is about a table; name the table with --data"),
        (["--no-header"], "argument --no-header: it is about a table"),
        (["--data", "t.csv"], "argument --data: name the target column"),
        (["--data", "postgresql://u:s3cret@h/d", "--target", "y"], "a database needs the query of the table"),
        (["--data", "t.csv", "--target", "y", "--query", "select 1"], "argument --query: it is for a database"),
    ],
)
def test_options_that_do_not_go_together_are_refused(arguments: list[str], problem: str) -> None:
    """The message says what to add."""
    message = table_problem(parsed(*arguments))
    assert message
    assert problem in message
    assert "s3cret" not in message


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--data", "https://u:s3cret@host/t.csv"], "https:// can't be read: download the table"),
        (["--data", "s3://s3cret/t.csv"], "s3:// can't be read"),
        (["--data", "sqlite://s3cret"], "it names no file"),
        (["--separator", ";;"], "is not one character"),
        (["--separator", '"'], "is not one character"),
        (["--encoding", "utf-9"], "is no encoding that Python knows"),
    ],
)
def test_value_that_makes_no_sense_is_refused(
    arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without showing an address, which may hold a password."""
    with pytest.raises(SystemExit):
        parsed(*arguments)
    message = capsys.readouterr().err
    assert problem in message
    assert "s3cret" not in message


def test_table_that_is_no_single_file_needs_a_name_for_the_model(tmp_path: Path) -> None:
    """An option or a setting gives it."""
    unnamed = Settings.load(tmp_path)
    for place in ("-", str(tmp_path), str(tmp_path / "*.parquet"), "postgresql://u:s3cret@h/d"):
        with pytest.raises(SettingsError, match="name the model with --model-name") as error:
            require_model_name(TableSource(place), unnamed)
        assert "s3cret" not in str(error.value)
        require_model_name(TableSource(place), Settings.load(tmp_path, model_name="m"))
    require_model_name(TableSource(str(tmp_path / "t.csv")), unnamed)
    require_model_name(None, unnamed)
