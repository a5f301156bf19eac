"""What the columns of a table are read as, through the real reading of files."""

from dataclasses import replace
from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tabserve.errors import DataError
from tabserve.model import Boolean, Category, Date, Number, Schema
from tabserve.training import ColumnOptions, EstimatorConfig
from tabserve.training.column_report import report_columns
from tabserve.training.dataset import Dataset
from tabserve.training.ingest import load_table
from tabserve.training.pipeline import build_pipeline, encodings_for
from tabserve.training.schema_inference import infer_schema

ROWS = 60
DAYS = [date(2024, 1, 1) + timedelta(days=int(day)) for day in np.random.default_rng(0).integers(0, 360, ROWS)]


def load(folder: Path, values: Any, *, ending: str = "csv", **options: Any) -> Dataset:
    """A table of the column `x` with these values, one of categories, and the target `y`."""
    table = pd.DataFrame({"x": values, "z": list("ppq") * 20, "y": ["a", "b"] * 30})
    file = folder / f"table.{ending}"
    if ending == "csv":
        table.to_csv(file, index=False)
    else:
        table.to_parquet(file)
    return load_table(file, ColumnOptions("y", **options), rows_needed=7)


def schema_of(table: Dataset) -> Schema:
    """The schema of a model of the whole table."""
    pipeline = build_pipeline(table, EstimatorConfig(), seed=0)
    pipeline[:-1].fit(table.features, table.target)
    return infer_schema(table, pipeline)


def test_disguised_numbers_are_features_with_an_example(tmp_path: Path) -> None:
    """Currency, per cent and decimal commas are numbers, and the report shows how one of them was read."""
    for texts, number, read_as in (
        ([f"${number:,}" for number in range(1000, 61_000, 1000)][::-1], 60_000, "number: $60,000 is 60000"),
        ([f"{number}%" for number in range(10, 70)][::-1], 69, "number: 69% is 69"),
        ([f"{number},25" for number in range(60)][::-1], 59.25, "number: 59,25 is 59.25"),
    ):
        table = load(tmp_path, texts)
        assert table.features["x"][0] == number
        assert table.columns[0].read_as == read_as
        assert isinstance(schema_of(table).features[0], Number)


def test_ambiguous_decimal_sign_is_told_and_can_be_overruled(tmp_path: Path) -> None:
    """`1,234` is read as 1234, the report says with which option it is 1.234, and that option does it."""
    texts = [f"{number % 9 + 1},{number:03}" for number in range(ROWS)]
    table = load(tmp_path, texts)
    assert table.features["x"][1] == 2001
    assert (table.columns[0].lost, table.columns[0].undo) == ("the fraction, if , is the decimal sign", "--decimal ,")
    assert load(tmp_path, texts, decimal=",").features["x"][1] == 2.001
    points = [text.replace(",", ".") for text in texts]
    assert load(tmp_path, points).features["x"][1] == 2.001
    assert load(tmp_path, points, decimal=",").features["x"][1] == 2001


def test_codes_keep_their_zeros(tmp_path: Path) -> None:
    """Digits with leading zeros are categories, as the table writes them."""
    table = load(tmp_path, ["01234", "00099", "98765"] * 20)
    (feature, _) = schema_of(table).features
    assert isinstance(feature, Category)
    assert feature.categories == ("00099", "01234", "98765")
    assert table.columns[0].read_as == "code: with leading zeros"


@pytest.mark.parametrize(
    ("values", "ending", "texts"),
    [
        ([True, False, False] * 20, "csv", ("False", "True")),
        (["true", "FALSE", None] * 20, "csv", ("FALSE", "true")),
        ([True, False, False] * 20, "parquet", ()),
        (pd.array([True, None, False] * 20, dtype="boolean"), "parquet", ()),
        ([True, None, False] * 20, "parquet", ()),
    ],
)
def test_booleans_are_booleans(values: Any, ending: str, texts: tuple[str, ...], tmp_path: Path) -> None:
    """True and false, in a file of texts or of booleans, with gaps or without, are a boolean feature, which knows how
    the table writes them."""
    table = load(tmp_path, values, ending=ending)
    (feature, _) = schema_of(table).features
    assert isinstance(feature, Boolean)
    missing = int(pd.isna(pd.Series(values)).sum())
    assert (feature.trues, feature.falses, feature.missing) == (20, 40 - missing, missing)
    assert feature.texts == texts


def test_yes_and_no_stay_categories(tmp_path: Path) -> None:
    """Other texts for true and false are categories; so are booleans if the option says so."""
    assert isinstance(schema_of(load(tmp_path, ["yes", "no"] * 30)).features[0], Category)
    assert isinstance(schema_of(load(tmp_path, [True, False] * 30, categorical=["x"])).features[0], Category)


@pytest.mark.parametrize(
    ("values", "ending", "read_as"),
    [
        ([day.isoformat() for day in DAYS], "csv", "date"),
        ([f"{day.month}/{day.day}/{day.year}" for day in DAYS], "csv", "date: month first"),
        ([f"{day.day}.{day.month}.{day.year}" for day in DAYS], "csv", "date: day first"),
        ([f"{day:%d %b %Y}" for day in DAYS], "csv", "date"),
        ([f"{day:%Y%m%d}" for day in DAYS], "csv", f"date: {DAYS[0]:%Y%m%d} is {DAYS[0]}"),
        ([int(f"{day:%Y%m%d}") for day in DAYS], "parquet", f"date: {DAYS[0]:%Y%m%d} is {DAYS[0]}"),
        (DAYS, "parquet", "date"),
        (pd.to_datetime(pd.Series(DAYS)), "parquet", "date"),
        (pd.to_datetime(pd.Series(DAYS)).dt.tz_localize("UTC"), "parquet", "date"),
        (pd.to_datetime(pd.Series(DAYS)).astype("datetime64[ns]"), "parquet", "date"),
    ],
)
def test_dates_become_their_parts(values: Any, ending: str, read_as: str, tmp_path: Path) -> None:
    """Dates in every form are the same numbers: those of their parts that vary."""
    table = load(tmp_path, values, ending=ending)
    assert table.columns[0].read_as == read_as
    assert table.columns[0].becomes == "month, day, weekday, days since the first"
    (feature, _) = schema_of(table).features
    assert isinstance(feature, Date)
    assert (feature.first, feature.last) == (min(DAYS).isoformat(), max(DAYS).isoformat())
    expected = [(day.month, day.day, day.isoweekday(), (day - min(DAYS)).days) for day in DAYS]
    assert table.features.drop(columns="z").to_numpy().tolist() == [list(map(float, parts)) for parts in expected]
    assert feature.codes([day.isoformat() for day in DAYS]).tolist() == table.features.drop(columns="z").values.tolist()
    assert len(set(table.feature_of.values())) == 2


def test_times_in_a_zone_count_in_utc(tmp_path: Path) -> None:
    """Timestamps with a zone become UTC, and the report says what that loses."""
    times = pd.date_range("2024-01-01", periods=ROWS, freq="7h", tz="America/New_York")
    table = load(tmp_path, times, ending="parquet")
    assert table.features["x.hour"][0] == 5
    assert (table.columns[0].lost, table.columns[0].undo) == (
        "its zone, America/New_York: times count in UTC", "--categorical 'x'",
    )  # fmt: skip


def test_undecided_dates_are_left_out_unless_the_option_decides(tmp_path: Path) -> None:
    """Where no number is above 12 the column isn't used, the report says why, and --dates reads it."""
    texts = [f"{number % 12 + 1}/{number % 7 + 1}/2024" for number in range(ROWS)]
    table = load(tmp_path, texts)
    assert table.left_out["x"] == "dates: day or month first? no day is above 12"
    assert (table.columns[0].becomes, table.columns[0].undo) == ("not used", "--dates dmy or --dates mdy")
    assert load(tmp_path, texts, dates="dmy").features["x.day"][1] == 2
    assert load(tmp_path, texts, dates="mdy").features["x.month"][1] == 2


@pytest.mark.parametrize(
    ("values", "ending"),
    [
        ([f"{row % 24}:{row:02}" for row in range(ROWS)], "csv"),
        ([time(row % 24, row) for row in range(ROWS)], "parquet"),
    ],
)
def test_times_of_day_are_seconds(values: Any, ending: str, tmp_path: Path) -> None:
    """Texts and typed times are a number of seconds since midnight, and the report shows one."""
    table = load(tmp_path, values, ending=ending)
    assert table.columns[0].read_as in ("duration: in seconds, 0:00 is 0", "duration: in seconds, 00:00:00 is 0")
    assert table.features["x"].tolist() == [3600.0 * (row % 24) + 60 * row for row in range(ROWS)]
    (feature, _) = schema_of(table).features
    assert isinstance(feature, Number)
    assert feature.unit == "seconds"


@pytest.mark.parametrize(("repeats", "becomes"), [(3, ""), (1, "not used")])
def test_dates_that_are_not_read_say_how_to_write_them(repeats: int, becomes: str, tmp_path: Path) -> None:
    """Dates with short years are categories or texts, and the report says what to do."""
    days = [f"{day % 28 + 1}/{day % 12 + 1}/{day // 12 + 10}" for day in range(ROWS // repeats)] * repeats
    column = load(tmp_path, days).columns[0]
    assert (column.becomes, column.undo) == (becomes, "write them as 2024-01-31")


def test_target_of_eight_digits_is_a_number(tmp_path: Path) -> None:
    """A date can't be predicted."""
    (tmp_path / "t.csv").write_text("x,y\n" + "".join(f"{row % 7},{20240101 + row % 28}\n" for row in range(ROWS)))
    assert load_table(tmp_path / "t.csv", ColumnOptions("y"), 7).task.kind == "regression"


def test_durations_are_seconds_and_decimals_numbers(tmp_path: Path) -> None:
    """Durations are numbers of seconds, and decimals the nearest doubles."""
    table = load(tmp_path, pd.Series([timedelta(milliseconds=100 * n) for n in range(ROWS)][::-1]), ending="parquet")
    (feature, _) = schema_of(table).features
    assert isinstance(feature, Number)
    assert (feature.maximum, feature.unit) == (5.9, "seconds")
    decimals = [Decimal(n) / 100 for n in range(ROWS)][::-1]
    assert load(tmp_path, decimals, ending="parquet").features["x"].tolist() == list(map(float, decimals))


def test_part_of_a_date_must_not_be_a_column_already(tmp_path: Path) -> None:
    """A column that has the name of a part of a date is a problem that says what to do."""
    (tmp_path / "table.csv").write_text("x,x.day,y\n" + "".join(f"{day},1,a\n{day},2,b\n" for day in DAYS))
    with pytest.raises(DataError, match=r"column 'x\.day' has the name of a part of the date 'x': rename one of them"):
        load_table(tmp_path / "table.csv", ColumnOptions("y"), 7)


def test_date_outside_of_the_calendar_is_a_problem(tmp_path: Path) -> None:
    """A timestamp after the year 9999 is one line that names the column."""
    times = pd.Series(np.array(["20000-01-01"] + ["2024-01-01"] * (ROWS - 1), "datetime64[s]"))
    with pytest.raises(DataError, match="column 'x' can't be read: it holds dates outside of the years 1 to 9999"):
        load(tmp_path, times, ending="parquet")


@pytest.mark.parametrize(
    "values",
    [
        [f"text {number}" for number in range(ROWS)],
        [f"text {number % 58}" for number in range(ROWS)],
        list(range(ROWS)),
    ],
)
def test_useless_column_can_be_kept(values: Any, tmp_path: Path) -> None:
    """A column that is left out is not used, and the option that the report names uses it."""
    left_out = load(tmp_path, values)
    assert "x" not in left_out.features
    assert (left_out.columns[0].becomes, left_out.columns[0].undo) == ("not used", "--keep 'x'")
    kept = load(tmp_path, values, keep=["x"])
    assert "x" in kept.features
    assert "x" not in kept.left_out


def test_each_loss_names_the_option_that_undoes_it(tmp_path: Path) -> None:
    """Of every column that is read or left out, the report has a line; each loss has an option."""
    table = pd.DataFrame(
        {
            "note": [f"text {number}" for number in range(ROWS)],
            "when": [f"{number % 12 + 1}/{number % 7 + 1}/2024" for number in range(ROWS)],
            "price": [f"$1,{number:03}" for number in range(ROWS)],
            "time": ["2024-01-01T10:00:00+02:00", "2024-01-02T10:00:00+02:00"] * 30,
            "same": ["x"] * ROWS,
            "y": ["a", "b"] * 30,
        }
    )
    table.to_csv(tmp_path / "table.csv", index=False)
    loaded = load_table(tmp_path / "table.csv", ColumnOptions("y"), 7)
    facts = report_columns(loaded, encodings_for(loaded, EstimatorConfig()))
    assert [one.name for one in facts] == ["note", "when", "price", "time", "same"]
    assert [one.name for one in facts if one.lost] == ["note", "when", "price", "time"]
    assert all(bool(one.lost) == bool(one.undo) for one in facts)


def test_column_that_was_left_out_before_is_reported_too(tmp_path: Path) -> None:
    """A column that is left out by another rule than those of its values has a line, too."""
    table = replace(load(tmp_path, [1.5, 2.5, 3.5] * 20), left_out={"row": "an identifier: it numbers the rows"})
    last = report_columns(table, encodings_for(table, EstimatorConfig()))[-1]
    assert (last.name, last.read_as, last.undo) == ("row", "identifier: it numbers the rows", "--keep 'row'")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["q", "p"] * 30, "--split-by 'x': it holds neither dates nor numbers"),
        (["2024-01-01", "2024-01-02", None] * 20, "--split-by 'x': 20 rows lack it: fill it, or remove these rows"),
        (["1/2/2024", "2/2/2024"] * 30, "--split-by 'x': dates: day or month first?"),
    ],
)
def test_column_that_orders_no_rows_is_a_problem(values: Any, message: str, tmp_path: Path) -> None:
    """--split-by needs a column of dates or numbers without gaps."""
    with pytest.raises(DataError) as error:
        load(tmp_path, values, split_by="x")
    assert message in str(error.value)
