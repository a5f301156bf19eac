"""Dates: which texts are dates, and which numbers the model gets of them."""

from datetime import datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tabserve.model import Boolean, Classification, Date, Number, Schema
from tabserve.model.dates import PARTS, PartRange, date_numbers, is_date, iso_text, read_date, row_numbers

FIRST = datetime.fromisoformat("2024-01-01")


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-02-29", "2024-02-29T00:00:00"),
        ("2024-02-29T23:59", "2024-02-29T23:59:00"),
        ("2024-02-29 23:59:58.5", "2024-02-29T23:59:58.500000"),
        ("2024-02-29T23:59:58.123456789", "2024-02-29T23:59:58.123456"),
        ("2024-02-29T23:00:00Z", "2024-02-29T23:00:00"),
        ("2024-02-29T23:00:00-02:00", "2024-03-01T01:00:00"),
        ("2024-02-29T01:00+0530", "2024-02-28T19:30:00"),
    ],
)
def test_iso_texts_are_read(text: str, moment: str) -> None:
    """A date with or without a time; with a zone it becomes UTC; below a microsecond it is cut."""
    assert read_date(text).isoformat() == moment


@pytest.mark.parametrize(
    "text",
    ["", "2023-02-29", "2024-2-1", "20240201", "2024-W05-1", "2024-02-01T", "2024-02-01T24:61", "2024-02-01Z", "today",
     "2024-02-01\n", " 2024-02-01", "٢٠٢٤-02-01", "0001-01-01T00:00+01:00", "9999-12-31T23:00-02:00",
     "2024-02-01T1:00"],
)  # fmt: skip
def test_other_texts_are_no_dates(text: str) -> None:
    """Days that don't exist, other forms of ISO 8601, and moments before year 1 or after 9999 are no dates."""
    assert not is_date(text)


def test_parts_of_a_moment() -> None:
    """Year, month, day, weekday (Monday is 1), hour, and days since the first, with fractions. A gap is NaN."""
    moment = read_date("2024-02-01T18:00:00")
    assert row_numbers(moment, PARTS, FIRST) == [2024, 2, 1, 4, 18, 31.75]
    assert np.isnan(row_numbers(None, PARTS, FIRST)).all()


@given(moments=st.lists(st.none() | st.datetimes(), min_size=1, max_size=20))
def test_rows_together_get_the_numbers_that_each_gets_alone(moments: list[datetime | None]) -> None:
    """Any moments, and gaps: not a bit differs. The text of a moment is read as that moment."""
    together = date_numbers(moments, PARTS, FIRST)
    alone = [row_numbers(moment, PARTS, FIRST) for moment in moments]
    assert np.array_equal(together, alone, equal_nan=True)
    assert [moment and read_date(iso_text(moment)) for moment in moments] == moments


@pytest.fixture
def schema() -> Schema:
    parts = (PartRange(part="year", minimum=2024, maximum=2024), PartRange(part="month", minimum=1, maximum=6))
    return Schema(
        target="kind",
        features=(
            Number(name="a", minimum=0, maximum=1, mean=0.5, lowest=-9, highest=9),
            Date(name="when", missing=1, first="2024-01-01", last="2024-06-30", origin="2024-01-01", parts=parts),
            Boolean(name="flag", missing=1, trues=2, falses=1, texts=("true",)),
            Number(name="b", minimum=0, maximum=1, mean=0.5, lowest=-9, highest=9),
        ),
        task=Classification(classes=("x", "y")),
    )


def test_row_has_the_parts_of_a_date_in_its_place(schema: Schema) -> None:
    """A date becomes its parts, a boolean 1 or 0, and a gap NaN in all parts; a batch gets the same as each row, and
    gives back what was sent."""
    sent: list[dict[str, Any]] = [
        {"a": 1.0, "when": "2024-03-05", "flag": True, "b": 2.0},
        {"a": 3.0, "when": None, "flag": False, "b": 4.0},
        {"a": 5.0, "when": "2026-07-01T10:00Z", "flag": None, "b": 6.0},
    ]
    alone = np.array([schema.row(row) for row in sent])
    expected = np.array([[1, 2024, 3, 1, 2], [3, np.nan, np.nan, 0, 4], [5, 2026, 7, np.nan, 6]])
    assert np.array_equal(alone, expected, equal_nan=True)
    rows = schema.rows({name: [row[name] for row in sent] for name in schema.feature_names})
    assert np.array_equal(rows.values, alone, equal_nan=True)
    assert schema.inputs(rows) == sent
    assert schema.inputs(rows[1:]) == sent[1:]
    assert schema.row({"a": 1.0, "b": 2.0, "flag": "true"})[3] == 1


def test_only_parts_that_come_again_warn(schema: Schema) -> None:
    """A month that training didn't see is warned of, under the name of the date. A later year isn't."""
    later = schema.row({"a": 0.0, "when": "2030-03-01", "flag": True, "b": 0.0})
    assert schema.warnings(later) == ()
    july = schema.row({"a": 0.0, "when": "2030-07-01", "flag": True, "b": 0.0})
    (warning,) = schema.warnings(july)
    assert (warning.feature, warning.message) == ("when", "month 7 is outside the training range 1 to 6")
    assert schema.rows_with_warnings(np.array([later, july])) == [1]


@pytest.mark.parametrize(
    ("values", "fits"),
    [
        ({"a": 1.0, "b": 1.0}, True),
        ({"a": 1.0, "b": 1.0, "when": "2024-01-01", "flag": True}, True),
        ({"a": 1.0, "b": 1.0, "when": "soon"}, False),
        ({"a": 1.0, "b": 1.0, "when": True}, False),
        ({"a": 1.0, "b": 1.0, "flag": 1.0}, False),
        ({"a": 1.0, "b": 1.0, "flag": "yes"}, False),
        ({"a": True, "b": 1.0}, False),
    ],
)
def test_record_fits_if_each_value_is_of_its_kind(schema: Schema, values: dict[str, Any], fits: bool) -> None:
    """A record from elsewhere fits if dates are ISO texts, booleans booleans, and numbers numbers."""
    assert schema.fits(values) == fits


def test_model_that_lacks_a_text_of_a_boolean_cannot_answer(schema: Schema) -> None:
    """A model that doesn't take the texts that callers may send, or has a feature of another kind or unit, can't stand
    in for this one."""
    number, date, flag, last = schema.features
    plain = flag.model_copy(update={"texts": ()})
    other = schema.model_copy(update={"features": (number, date, plain, last)})
    assert schema.incompatibility(schema) is None
    assert other.incompatibility(schema) is None
    assert schema.incompatibility(other) == "it takes other texts for flag than the champion"
    waiting = number.model_copy(update={"unit": "seconds"})
    for changed in ((waiting, date, flag, last), (number, last, flag, date)):
        reason = schema.incompatibility(Schema.model_validate(schema.model_copy(update={"features": changed})))
        assert reason
        assert reason.startswith("it has other features")


def test_schema_survives_its_json(schema: Schema) -> None:
    """The schema is the same after its JSON is read, and can be hashed."""
    again = Schema.model_validate_json(schema.model_dump_json())
    assert again == schema
    assert hash(again) == hash(schema)


def test_schema_with_an_impossible_date_is_refused() -> None:
    """A release can't have a range that is no date, nor a text that is no boolean."""
    with pytest.raises(ValidationError):
        Date(
            name="when", first="soon", last="2024-01-01", origin="2024-01-01",
            parts=(PartRange(part="year", minimum=1, maximum=2),),
        )  # fmt: skip
    with pytest.raises(ValidationError):
        Boolean(name="flag", trues=1, falses=1, texts=("yes",))
