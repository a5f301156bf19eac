"""Tables as people have them: what is inferred, what is left out, and that all problems are reported together."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tabserve.errors import DataError
from tabserve.training import ColumnOptions
from tabserve.training.dataset import Dataset
from tabserve.training.ingest import load_table
from tabserve.training.source import TableSource
from tests.support.models import classes_of
from tests.support.project import PENGUINS

# Palmer penguins, https://allisonhorst.github.io/palmerpenguins, CC0
SPECIES = ColumnOptions("species")
ROWS = 40


def frame(**columns: object) -> pd.DataFrame:
    """A good table of 40 rows; `columns` replace its own, or are added."""
    rng = np.random.default_rng(0)
    own = {"size": rng.normal(5, 1, ROWS).round(2), "colour": list("rgrg") * 10, "kind": ["cat", "dog"] * 20}
    return pd.DataFrame(own | columns)


def load(table: pd.DataFrame, folder: Path, columns: ColumnOptions | None = None) -> Dataset:
    table.to_csv(folder / "table.csv", index=False)
    return load_table(folder / "table.csv", columns or ColumnOptions("kind"), rows_needed=7)


def problems(table: pd.DataFrame, folder: Path, columns: ColumnOptions | None = None) -> list[str]:
    with pytest.raises(DataError) as error:
        load(table, folder, columns)
    return str(error.value).splitlines()


def test_types_and_gaps_of_a_real_table_are_inferred() -> None:
    """Texts are categories, whole numbers are numbers, and NA is missing."""
    table = load_table(PENGUINS, SPECIES, 7)
    kinds = {name: column.dtype.kind for name, column in table.features.items()}
    assert kinds == {
        "island": "O", "bill_length_mm": "f", "bill_depth_mm": "f", "flipper_length_mm": "f", "body_mass_g": "f",
        "sex": "O", "year": "f",
    }  # fmt: skip
    assert classes_of(table.task) == ("Adelie", "Chinstrap", "Gentoo")
    assert len(table) == 344
    assert table.missing == {
        "bill_length_mm": 2, "bill_depth_mm": 2, "flipper_length_mm": 2, "body_mass_g": 2, "sex": 11,
    }  # fmt: skip
    assert table.left_out == {}


def test_every_format_gives_the_same_table(tmp_path: Path) -> None:
    """CSV, compressed CSV and Parquet give the same table, with the classes as the table writes them."""
    table = frame(grade=[1, 2] * 20, flag=[True, False] * 20)
    table.to_csv(tmp_path / "table.csv", index=False)
    (tmp_path / "table.csv.gz").write_bytes(gzip.compress((tmp_path / "table.csv").read_bytes()))
    table.to_parquet(tmp_path / "table.parquet")
    loaded = [
        load_table(tmp_path / f"table.{ending}", ColumnOptions(target), 7)
        for target in ("grade", "flag")
        for ending in ("csv", "csv.gz", "parquet")
    ]
    assert [classes_of(table.task) for table in loaded] == [("1", "2")] * 3 + [("False", "True")] * 3
    for other in loaded[1:3]:
        pd.testing.assert_frame_equal(other.frame, loaded[0].frame)
    for other in loaded[4:]:
        pd.testing.assert_frame_equal(other.frame, loaded[3].frame)


def test_classes_keep_their_spelling(tmp_path: Path) -> None:
    """Leading zeros stay, whole numbers get no decimal point if some are missing, and rows without a class are left
    out."""
    table = load(frame(kind=["01", "1"] * 20), tmp_path)
    assert classes_of(table.task) == ("01", "1")
    unlabelled = frame(kind=[None] + [1.0, 2.0] * 19 + [2.0])
    unlabelled.to_parquet(tmp_path / "table.parquet")
    table = load_table(tmp_path / "table.parquet", ColumnOptions("kind"), 7)
    assert (classes_of(table.task), len(table), table.unlabelled) == (("1", "2"), 39, 1)


def test_useless_columns_are_left_out_with_the_reason(tmp_path: Path) -> None:
    """Constants, identifiers, undecided dates and free texts are no features, and the reason is given; --categorical
    overrules that."""
    table = frame(
        number=range(1, ROWS + 1),
        key=[f"k{number}" for number in range(ROWS)],
        same=["x"] * ROWS,
        fixed=[1.5] * ROWS,
        day=["1/2/2026", "2/1/2026"] * 20,
        note=[f"text {number % 37}" for number in range(ROWS)],
        essay=["x" * 201, "y"] * 20,
        code=[7, 8] * 20,
    )
    loaded = load(table, tmp_path, ColumnOptions("kind", drop=["colour"], id=["size"], categorical=["code"]))
    assert list(loaded.features.columns) == ["code"]
    assert loaded.features.code.tolist()[:2] == ["7", "8"]
    assert loaded.left_out == {
        "colour": "--drop",
        "size": "--id",
        "number": "an identifier: it numbers the rows",
        "key": "an identifier: different in each row",
        "same": "a constant: always 'x'",
        "fixed": "a constant: always 1.5",
        "day": "dates: day or month first? no day is above 12",
        "note": "free text: 37 different texts in 40 rows",
        "essay": "free text: up to 201 characters",
    }
    assert "day" in load(table, tmp_path, ColumnOptions("kind", categorical=["day"])).features


def test_many_valued_column_is_a_category_if_its_texts_repeat(tmp_path: Path) -> None:
    """A column of which at least a fifth of the rows share their text with another row is a category, however many
    different texts it has."""
    table = pd.concat([frame(code=[f"c{number % 30}" for number in range(ROWS)])] * 60, ignore_index=True)
    table["code"] += [f"/{number // 80}" for number in range(len(table))]
    loaded = load(table, tmp_path)
    assert loaded.features.code.nunique() == 900
    assert loaded.left_out == {}
    for alike, is_category in ((8, True), (7, False)):
        names = [f"n{max(number, alike - 1)}" for number in range(ROWS)]
        assert ("name" in load(frame(name=names), tmp_path).features) == is_category


def test_gaps_of_a_column_of_one_value_are_a_feature(tmp_path: Path) -> None:
    """A column that holds one value or none is a feature, of numbers or texts, unless nearly all rows are alike."""
    table = frame(
        flag=["x"] * 30 + [None] * 10,
        number=[1.5] * 10 + [None] * 30,
        most=["x"] * 31 + [None] * 9,
        kind=["a", "b"] * 20,
    )
    loaded = load(table, tmp_path)
    assert {"flag", "number"} < set(loaded.features.columns)
    assert loaded.left_out == {"most": "a constant: always 'x', or missing in 9 rows"}


def test_all_problems_are_reported_together(tmp_path: Path) -> None:
    """Each problem is a line that names the file and the column, and all are reported together."""
    table = frame(
        empty=[None] * ROWS, mixed=[1, 2, 3, "many"] * 10, far=[1.0, np.inf] * 20, kind=["cat"] * 39 + ["dog"]
    )
    table.insert(0, "size ", table["size"])
    lines = problems(table, tmp_path, ColumnOptions("kind", drop=["colur"], categorical=["kind"]))
    assert [line.removeprefix("table.csv: ") for line in lines] == [
        (
            "--drop: there is no column 'colur'; did you mean 'colour'? "
            "There are size, size, colour, kind, empty, mixed, far"
        ),
        "--categorical: 'kind' is the target",
        "2 columns are named 'size': give each a different name",
        "column 'empty' is empty: --drop 'empty'",
        (
            "column 'mixed' mixes numbers with 10 texts, the first 'many' in row 4: "
            "--missing 'many' if it means that the value is missing, or repair them, or --categorical 'mixed', or "
            "--drop 'mixed'"
        ),
        "column 'far' holds infinity: repair it, or --drop 'far'",
        "each class of 'kind' needs 7 rows; 'dog' has 1: use fewer --folds, or remove these rows",
    ]


@pytest.mark.parametrize(
    ("table", "target", "message"),
    [
        (frame(), "knd", "--target: there is no column 'knd'; did you mean 'kind'? There are size, colour, kind"),
        (frame(kind=["cat"] * ROWS), "kind", "the target 'kind' needs at least two classes, and has only 'cat'"),
        (frame(kind=[None] * ROWS), "kind", "it has 0 rows with a target value, and needs at least 20"),
        (frame().head(19), "kind", "it has 19 rows with a target value, and needs at least 20"),
        (
            pd.concat([frame().assign(kind=[f"{part}.{number}" for number in range(ROWS)]) for part in "abc"]),
            "kind",
            "120 different values, and at most 100 classes are possible, 20 if they are numbers with fractions: join",
        ),
        (frame()[["kind"]], "kind", "no column is left to learn from: the target is the only one"),
        (
            frame(size=range(ROWS), colour="red"),
            "kind",
            "('size': an identifier: it numbers the rows; 'colour': a constant: always 'red'): --keep NAME",
        ),
    ],
)
def test_table_that_no_model_can_learn_from_is_refused(
    table: pd.DataFrame, target: str, message: str, tmp_path: Path
) -> None:
    """A target that is missing, has less than two classes or is a quantity, too few rows, and no features are
    refused."""
    assert any(message in line for line in problems(table, tmp_path, ColumnOptions(target)))


@pytest.mark.parametrize(("fewest", "remedy"), [(5, "use fewer --folds"), (6, "join them with other classes")])
def test_fewer_folds_are_advised_only_if_they_help(fewest: int, remedy: str, tmp_path: Path) -> None:
    """With the fewest folds, too, a class needs some rows."""
    frame(kind=["cat"] * 35 + ["dog"] * 5).to_csv(tmp_path / "table.csv", index=False)
    with pytest.raises(DataError, match=f"'dog' has 5: {remedy}, or remove these rows"):
        load_table(tmp_path / "table.csv", ColumnOptions("kind"), 7, fewest_rows=fewest)


def test_texts_that_count_as_missing_are_shown_and_never_take_a_class_away_in_silence(tmp_path: Path) -> None:
    """A class that is written `None` is told with its rows, and --missing keeps it."""
    table = frame(kind=["None", "mild", "severe", "mild"] * 10, colour=["NA", "red", "", "blue"] * 10)
    loaded = load(table, tmp_path)
    assert classes_of(loaded.task) == ("mild", "severe")
    read_as_missing, rows_left_out = loaded.notes
    assert read_as_missing == "read as missing: 'NA' 10, '' 10, 'None' 10 (other: --missing)"
    assert rows_left_out == (
        "warning: 10 rows are left out, because their kind is 'None', which counts as missing. If it is a class, name "
        "what is missing instead, such as --missing NA"
    )
    kept = load_table(TableSource(str(tmp_path / "table.csv"), missing=["NA"]), ColumnOptions("kind"), 7)
    assert classes_of(kept.task) == ("None", "mild", "severe")
    assert kept.missing == {"colour": 20}
    assert kept.notes == ("read as missing: 'NA' 10, '' 10 (other: --missing)",)


def test_missing_number_to_predict_is_no_class(tmp_path: Path) -> None:
    """Texts that count as missing in a column of numbers to predict are shown, without the advice for classes."""
    table = frame(size=["NA", "NA", *(number + 0.5 for number in range(38))])
    loaded = load(table, tmp_path, ColumnOptions("size"))
    assert (loaded.unlabelled, loaded.notes) == (2, ("read as missing: 'NA' 2 (other: --missing)",))


@pytest.mark.parametrize(
    ("column", "values", "reason"),
    [
        ("age", [20 + 7 * row % 20 for row in range(ROWS)], "it has 20 different whole numbers"),
        ("score", [0.5 * (row % 11) - 1 for row in range(ROWS)], "it has fractions"),
    ],
)
def test_numeric_target_is_a_number_to_predict(column: str, values: list[float], reason: str, tmp_path: Path) -> None:
    """An age in years, and multiples of 0.5, are numbers to predict, and the table says why."""
    loaded = load(frame(**{column: values}), tmp_path, ColumnOptions(column))
    assert (loaded.task.kind, loaded.task_reason) == ("regression", reason)
    assert loaded.target.tolist() == values


@pytest.mark.parametrize(
    ("written", "decimal", "number", "reason"),
    [
        ("1.{:03},5", None, 1020.5, "it has fractions (1.020,5 is 1020.5)"),
        ("${},020", None, 20_020, "it has 40 different whole numbers ($20,020 is 20020; other: --decimal ,)"),
        ("{},020", ",", 20.02, "it has fractions (20,020 is 20.02; other: --decimal .)"),
        ("{}.020", ",", 20_020, "it has 40 different whole numbers (20.020 is 20020; other: --decimal .)"),
        ("{},250 %", ",", 20.25, "it has fractions (20,250 % is 20.25; other: --decimal .)"),
    ],
)
def test_target_of_disguised_numbers_is_a_number(
    written: str, decimal: Any, number: float, reason: str, tmp_path: Path
) -> None:
    """A target with a currency, per cent, groups of thousands or decimal commas is read as other columns are; --decimal
    decides what its values leave open, and the reason shows one of them."""
    texts = [written.format(20 + row) for row in range(ROWS)]
    for kind in (None, "regression"):
        frame(price=texts).to_csv(tmp_path / "table.csv", index=False)
        loaded = load_table(tmp_path / "table.csv", ColumnOptions("price", decimal=decimal), 7, kind)
        assert loaded.task.kind == "regression"
        assert loaded.target[0] == number
        assert loaded.task_reason == (reason if kind is None else f"--task says so{reason[reason.index(' (') :]}")


def test_text_among_numbers_may_be_named_as_missing(tmp_path: Path) -> None:
    """The refusal names the option, and with it the column is one of numbers."""
    table = frame(size=["-", *map(str, range(1, 20))] * 2)
    assert any("--missing '-' if it means that the value is missing" in line for line in problems(table, tmp_path))
    loaded = load_table(TableSource(str(tmp_path / "table.csv"), missing=["-"]), ColumnOptions("kind"), 7)
    assert loaded.missing == {"size": 2}
    assert loaded.features["size"].dtype == np.float64


def test_unusual_layout_is_told_with_the_table_and_with_a_wrong_target(tmp_path: Path) -> None:
    """Whoever sees other columns than they expect learns how the file was read."""
    frame().to_csv(tmp_path / "table.csv", sep=";", index=False)
    assert load_table(tmp_path / "table.csv", ColumnOptions("kind"), 7).notes == (
        "read with semicolons (other: --separator)",
    )
    with pytest.raises(DataError, match=r"(?s)read with semicolons.*there is no column 'king'; did you mean 'kind'"):
        load_table(tmp_path / "table.csv", ColumnOptions("king"), 7)


def test_index_is_left_out_unless_it_is_named(tmp_path: Path) -> None:
    """pandas writes it as a column without a name."""
    frame().to_csv(tmp_path / "table.csv")
    index = {"column_1": "an index: it has no name, and another value in each row"}
    assert load_table(tmp_path / "table.csv", ColumnOptions("kind"), 7).left_out == index
    named = load_table(tmp_path / "table.csv", ColumnOptions("kind", categorical=["column_1"]), 7)
    assert list(named.features.columns) == ["column_1", "size", "colour"]
