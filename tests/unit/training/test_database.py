"""A query of a database is a table; what can't be read is one line without user and password."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest

from tabserve.errors import DataError
from tabserve.training.source import TableSource
from tabserve.training.table_file import read_table

FRAME = pd.DataFrame({"x": [1.5, None, 3.0], "code": ["01", "1", None], "y": [1, 2, 1]})


@pytest.fixture
def address(tmp_path: Path) -> str:
    with closing(sqlite3.connect(tmp_path / "t.db")) as connection:
        FRAME.to_sql("measured", connection, index=False)
    return f"sqlite:///{tmp_path}/t.db"


def read(address: str, query: str) -> pd.DataFrame:
    return read_table(TableSource(address, query=query), "y").frame


def refusal(address: str, query: str = "select 1") -> str:
    with pytest.raises(DataError) as error:
        read(address, query)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


def test_result_of_a_query_is_the_table(address: str) -> None:
    """With its nulls, its texts, and a colon or a percent sign in the query."""
    frame = read(address, "select x, code, y from measured where code is null or code like '%1' and code != ':a'")
    pd.testing.assert_frame_equal(frame.astype({"code": object}), FRAME.astype({"code": object}))


def test_query_that_writes_is_refused(address: str, tmp_path: Path) -> None:
    """And the table is as before."""
    for query in ("delete from measured", "drop table measured", "insert into measured values (1, '1', 1) returning y"):
        assert "can't be read" in refusal(address, query)
    assert len(read(address, "select * from measured")) == 3
    assert "there is no such file" in refusal(f"sqlite:///{tmp_path}/none.db")
    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("postgresql://bob:s3cret@127.0.0.1:1/db", "refused"),
        ("postgresql://bob:s3cret@127.0.0.1:port/db?password=s3cret", "can't be read"),
        ("mysql+nothing://bob:s3cret@host/db", "can't be read"),
        ("db2://bob:s3cret@host/db", "can't be read"),
        ("mysql+pymysql://bob:s3cret@host/db", "pip install pymysql"),
    ],
)
def test_database_that_cannot_be_reached_is_one_line_without_secrets(address: str, message: str) -> None:
    """A server that is away, an address that is none, and a driver that isn't installed."""
    text = refusal(address)
    assert message in text
    assert "bob" not in text
    assert "s3cret" not in text


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("postgresql://bob:s3cret@host:5432/db?sslmode=require", "postgresql://host:5432/db"),
        ("postgresql://bob:s3cret@s3cret?s3cret@host/db", "postgresql://host/db"),
        ("postgresql://bob:s3cret%2F@host/db", "postgresql://host/db"),
        ("sqlite+pysqlcipher://:s3cret@//data/t.db?kdf_iter=64000", "sqlite+pysqlcipher:////data/t.db"),
    ],
)
def test_name_of_a_database_has_no_secrets(address: str, name: str) -> None:
    source = TableSource(address)
    assert (source.name, source.display_place) == (name, name)
    assert "s3cret" not in repr(source)
    message = source.without_secrets(f"no access of bob to {address}")
    assert "s3cret" not in message
    assert "sqlite" in name or "bob" not in message
