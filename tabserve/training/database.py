"""Reads the result of a query of a database, through SQLAlchemy."""

import pandas as pd

from tabserve.errors import DataError
from tabserve.store_uri import database_file
from tabserve.training.raw_table import RawTable
from tabserve.training.source import TableSource

CHUNK_ROWS = 50_000
"""The database hands over so many rows at a time."""


def read_query(source: TableSource) -> RawTable:
    """The result of the query, in its order. PostgreSQL and SQLite refuse a query that writes; with other databases it
    is rolled back.

    Raises:
        DataError: the address is no database's, its driver isn't installed, or the database refuses the query. The
            message holds no user and no password.
    """
    import sqlalchemy
    from sqlalchemy.exc import SQLAlchemyError

    if (file := database_file(source.place)) and not file.exists():  # SQLite would make it
        raise DataError(f"{source.name} can't be read: there is no such file")
    engine = None
    try:
        engine = sqlalchemy.create_engine(source.place)
        with engine.connect() as connection:
            connection.execution_options(stream_results=True)
            if engine.dialect.name == "postgresql":
                connection.execution_options(postgresql_readonly=True)
            elif engine.dialect.name == "sqlite":
                connection.exec_driver_sql("PRAGMA query_only = ON")
            chunks = list(pd.read_sql_query(str(source.query), connection, chunksize=CHUNK_ROWS))
    except ModuleNotFoundError as error:
        hint = "pip install 'psycopg[binary]'" if "psycopg" in str(error) else f"pip install {error.name}"
        raise DataError(f"{source.name} can't be read: the driver {error.name} isn't installed: {hint}") from None
    except SQLAlchemyError as error:
        # `from None`: the cause shows the address
        reason = " ".join(str(getattr(error, "orig", None) or error).split())
        raise DataError(f"{source.name} can't be read: {source.without_secrets(reason)[:300]}") from None
    finally:
        if engine is not None:
            engine.dispose()
    return RawTable(pd.concat(chunks, ignore_index=True))
