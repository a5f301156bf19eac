"""Dates, booleans, durations and categories in bodies: what is taken, in JSON and in every type that Arrow has."""

import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tabserve.errors import InvalidInputError
from tabserve.model import Boolean, Category, Classification, Date, Number, Rows, Schema
from tabserve.model.dates import PartRange
from tabserve.web.codecs import JsonRequests, TooManyRowsError, decode_arrow_batch
from tabserve.web.codecs.problems import NEVER_MISSING
from tests.support.arrow import stream

SCHEMA = Schema(
    target="kind",
    features=(
        Number(name="size", minimum=0, maximum=1, mean=0.5, lowest=-1e9, highest=1e9),
        Number(name="wait", unit="seconds", missing=1, minimum=0, maximum=1, mean=0.5, lowest=-1e9, highest=1e9),
        Date(
            name="when",
            first="2024-01-01",
            last="2024-12-31",
            origin="2024-01-01",
            parts=tuple(PartRange(part=part, minimum=0, maximum=1) for part in ("month", "hour", "days")),
        ),
        Boolean(name="flag", trues=2, falses=1, texts=("False", "True")),
        Boolean(name="plain", missing=1, trues=2, falses=1),
        Category(name="colour", categories=("blue", "red"), counts=(1, 2)),
    ),
    task=Classification(classes=("x", "y")),
)
REQUESTS = JsonRequests(SCHEMA, 100)
ROW: dict[str, Any] = {
    "size": 0.5, "wait": 1.5, "when": "2024-03-02T06:00:00", "flag": True, "plain": False, "colour": "red"
}  # fmt: skip
VALUES = [0.5, 1.5, 3.0, 6.0, 61.25, 1.0, 0.0, 1.0]
"""The row as the model takes it: the date as month, hour and days."""


def arrow(**columns: pa.Array) -> Rows:
    """Two equal rows as a stream, decoded; `columns` replace those of the same name."""
    table = pa.table({name: columns.get(name, pa.array([value, value])) for name, value in ROW.items()})
    return decode_arrow_batch(stream(table), REQUESTS)


def problem(error: InvalidInputError) -> tuple[Any, ...]:
    return error.problems[0]["type"], error.problems[0]["loc"], error.problems[0]["msg"]


def test_json_row_is_decoded_without_a_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row with a date and a time is decoded by msgspec alone, though it has more colons than members."""
    monkeypatch.setattr("tabserve.web.codecs.json_requests._validated", lambda *_: pytest.fail("pydantic was asked"))
    row = REQUESTS.decode_row(json.dumps(ROW).encode())
    assert row == ROW
    assert SCHEMA.row(row) == VALUES


def test_json_batch_is_decoded_in_chunks() -> None:
    """Records and columns with dates and times are decoded in chunks, and keep the texts of dates."""
    for body in ({"records": [ROW, ROW]}, {"columns": {name: [value] * 2 for name, value in ROW.items()}}):
        rows = REQUESTS._decode_in_chunks(json.dumps(body).encode())
        assert rows is not None
        assert rows.values.tolist() == [VALUES, VALUES]
        assert rows.texts == {"when": [ROW["when"]] * 2, "colour": ["red", "red"]}
        assert SCHEMA.inputs(rows) == [ROW, ROW]


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("when", "2024-02-30", "date_parsing"),
        ("when", "30.1.2024", "date_parsing"),
        ("when", 1.5, "string_type"),
        ("when", True, "string_type"),
        ("flag", "yes", "bool_type"),
        ("flag", 1, "bool_type"),
        ("plain", "True", "bool_type"),
        ("size", True, "float_type"),
        ("colour", True, "string_type"),
    ],
)
def test_value_of_another_kind_is_refused_by_name(name: str, value: object, kind: str) -> None:
    """A day that doesn't exist, another form of date, and texts or numbers for booleans are refused: alone, in records
    and in columns."""
    bad = ROW | {name: value}
    with pytest.raises(InvalidInputError) as alone:
        REQUESTS.decode_row(json.dumps(bad).encode())
    assert problem(alone.value)[:2] == (kind, ["body", name])
    columns = {key: [value] for key, value in bad.items()}
    for body, place in (({"records": [ROW, bad]}, ["records", 1, name]), ({"columns": columns}, ["columns", name, 0])):
        with pytest.raises(InvalidInputError) as caught:
            REQUESTS.decode_batch(json.dumps(body).encode())
        assert problem(caught.value)[:2] == (kind, ["body", *place])


@pytest.mark.parametrize("name", ["size", "when", "flag", "colour"])
def test_null_that_training_never_saw_is_refused_with_that_reason(name: str) -> None:
    """A null in a column without gaps is refused, in JSON and in Arrow, and the message says why."""
    with pytest.raises(InvalidInputError) as caught:
        REQUESTS.decode_row(json.dumps(ROW | {name: None}).encode())
    assert problem(caught.value)[1:] == (["body", name], NEVER_MISSING)
    with pytest.raises(InvalidInputError) as caught:
        arrow(**{name: pa.array([ROW[name], None])})
    assert problem(caught.value) == ("missing", ["body", 1, name], NEVER_MISSING)


MOMENT = datetime(2024, 3, 2, 6, tzinfo=UTC)
NAIVE = MOMENT.replace(tzinfo=None)


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("size", pa.array([Decimal("0.50")] * 2)),
        ("size", pa.array([Decimal("0.5")] * 2, pa.decimal256(60, 30))),
        ("size", pa.array([np.float16(0.5)] * 2)),
        ("wait", pa.array([timedelta(seconds=1.5)] * 2)),
        ("wait", pa.array([1500] * 2, pa.duration("ms"))),
        ("wait", pa.array([1_500_000_000] * 2, pa.duration("ns"))),
        ("wait", pa.array([1500] * 2, pa.time32("ms"))),
        ("wait", pa.array([time(0, 0, 1, 500_000)] * 2, pa.time64("us"))),
        *(("when", pa.array([NAIVE] * 2, pa.timestamp(unit))) for unit in ("s", "ms", "us", "ns")),
        ("when", pa.array([MOMENT] * 2, pa.timestamp("us", "Europe/Berlin"))),
        ("when", pa.array([MOMENT] * 2, pa.timestamp("ns", "UTC"))),
        ("when", pa.array(["2024-03-02T06:00:00Z"] * 2)),
        ("when", pa.array(["2024-03-02 06:00"] * 2, pa.large_string())),
        ("when", pa.array(["2024-03-02T06:00:00"] * 2).dictionary_encode()),
        ("flag", pa.array(["True", "True"])),
        ("flag", pa.array(["True", "True"]).dictionary_encode()),
        ("colour", pa.array(["red", "red"]).dictionary_encode()),
        ("colour", pa.array(["blue", "red"]).cast(pa.large_string()).dictionary_encode().take(pa.array([1, 1]))),
        ("colour", pa.DictionaryArray.from_arrays(pa.array([2, 0], pa.uint16()), pa.array(["red", "blue", "red"]))),
    ],
)  # fmt: skip
def test_every_arrow_type_of_a_value_is_taken(name: str, column: pa.Array) -> None:
    """Decimals, durations, times of day, timestamps with and without a zone, texts and dictionaries give JSON's row."""
    rows = arrow(**{name: column})
    assert rows.values.tolist() == [VALUES, VALUES]
    assert SCHEMA.rows({key: [row[key] for row in SCHEMA.inputs(rows)] for key in ROW}).values.tolist() == [VALUES] * 2


@pytest.mark.parametrize("column", [pa.array([date(2024, 3, 2)] * 2), pa.array([NAIVE] * 2, pa.date64())])
def test_arrow_dates_have_no_time(column: pa.Array) -> None:
    """Columns of dates alone are midnights."""
    rows = arrow(when=column)
    assert rows.values[0, 2:5].tolist() == [3, 0, 61]


def test_gaps_of_an_arrow_stream_are_gaps() -> None:
    """Nulls in columns that may have them are missing values, whatever stands below them."""
    rows = arrow(plain=pa.array([None, True]), wait=pa.array([None, timedelta(seconds=2)]))
    assert np.isnan(rows.values[0, [1, 6]]).all()
    assert rows.values[1, [1, 6]].tolist() == [2, 1]
    assert [row["plain"] for row in SCHEMA.inputs(rows)] == [None, True]


@pytest.mark.parametrize(
    ("name", "column", "kind"),
    [
        ("size", pa.array([True, False]), "float_type"),
        ("size", pa.array([timedelta(1)] * 2), "float_type"),
        ("size", pa.array([time(1)] * 2), "float_type"),
        ("size", pa.array([1, 2]).dictionary_encode(), "float_type"),
        ("when", pa.array([1, 2]), "date_type"),
        ("when", pa.array([timedelta(1)] * 2), "date_type"),
        ("when", pa.array(["2024-02-01", "soon"]), "date_parsing"),
        ("when", pa.array([0, 10**13], pa.timestamp("s")), "date_parsing"),
        ("when", pa.array([0, 2**31 - 1], pa.date32()), "date_parsing"),
        ("flag", pa.array([1, 0]), "bool_type"),
        ("flag", pa.array(["True", "yes"]), "bool_type"),
        ("plain", pa.array(["True", "False"]), "bool_type"),
        ("colour", pa.array([True, False]), "string_type"),
        ("colour", pa.array(["red", "x" * 801]).dictionary_encode(), "string_too_long"),
    ],
)
def test_arrow_column_of_another_type_is_refused_by_name(name: str, column: pa.Array, kind: str) -> None:
    """Other types, texts that are no dates or booleans, and dates outside of the calendar are refused."""
    with pytest.raises(InvalidInputError) as caught:
        arrow(**{name: column})
    assert problem(caught.value)[0] == kind
    assert kind == "string_too_long" or name in problem(caught.value)[1]


def test_dictionaries_may_change_and_grow() -> None:
    """Each record batch is read with the dictionary that came before it: replaced, or longer by a delta."""
    schema = pa.table({name: [value] for name, value in ROW.items() if name != "colour"}).append_column(
        "colour", pa.array(["red"]).dictionary_encode()
    ).schema  # fmt: skip
    for options in ({}, {"emit_dictionary_deltas": True}):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
            for texts in (["red"], ["red", "blue"]):
                colours = pa.DictionaryArray.from_arrays(pa.array([len(texts) - 1], pa.int32()), pa.array(texts))
                arrays = [pa.array([value]) for name, value in ROW.items() if name != "colour"]
                writer.write_batch(pa.record_batch([*arrays, colours], schema=schema))
        rows = decode_arrow_batch(sink.getvalue().to_pybytes(), REQUESTS)
        assert rows.texts["colour"] == ["red", "blue"]


BODY = stream(pa.table({name: pa.array([value] * 3) for name, value in ROW.items()} | {
    "when": pa.array([NAIVE] * 3), "size": pa.array([Decimal("0.5")] * 3), "wait": pa.array([timedelta(1)] * 3),
    "colour": pa.array(["red", "blue", "red"]).dictionary_encode(),
}))  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damaged_stream_is_refused_or_gives_rows_of_the_right_shape(data: st.DataObject) -> None:
    """Any bytes of a stream with every kind of column are changed: it is refused, or gives rows of the right shape."""
    body = bytearray(BODY)
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        rows = decode_arrow_batch(bytes(body), REQUESTS)
    except (InvalidInputError, TooManyRowsError):
        return
    assert rows.values.shape[1] == len(VALUES)
    assert all(len(texts) == len(rows) for texts in rows.texts.values())
    assert np.isfinite(rows.values[:, [0, 2, 3, 4, 5, 7]]).all()


@settings(max_examples=300, deadline=None)
@given(
    text=st.text(max_size=40) | st.sampled_from(["2024-02-29", "2023-02-29", "2024-02-29T10:00:00Z"])
    | st.from_regex(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d)?)?", fullmatch=True),
    flag=st.sampled_from(["true", "false", '"True"', '"False"', '"true"', "1", "null"]),
    again=st.sampled_from(["", ',"when":"2024-01-01T00:00"', ',"extra":"a:b"', ',"extra":{"a":{"b":1}}']),
)  # fmt: skip
def test_fast_validation_accepts_nothing_more_than_pydantic(text: str, flag: str, again: str) -> None:
    """Any texts for a date, values for a boolean, and members more: what msgspec accepts, pydantic accepts too, with
    the same values."""
    body = json.dumps(ROW | {"when": text, "flag": "*"}).replace('"*"', flag).encode()[:-1] + again.encode() + b"}"
    try:
        values = REQUESTS.decode_row(body)
    except InvalidInputError:
        return
    assert not again
    assert values == REQUESTS._types.row.validate_json(body)
    assert np.isfinite(SCHEMA.row(values)).all()
