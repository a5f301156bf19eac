"""Tables as people have them: what is inferred, what is left out, and that all problems are reported together."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tabserve.errors import DataError
from tabserve.training import ColumnOptions
from tabserve.training.dataset import Dataset
from tabserve.training.ingest import load_table
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
            "repair them, or --categorical 'mixed', or --drop 'mixed'"
        ),
        "column 'far' holds infinity",
        "each class of 'kind' needs 7 rows; 'dog' has 1: use fewer --folds, or remove these rows",
    ]


@pytest.mark.parametrize(
    ("table", "target", "message"),
    [
        (frame(), "knd", "--target: there is no column 'knd'; did you mean 'kind'? There are size, colour, kind"),
        (frame(kind=["cat"] * ROWS), "kind", "the target 'kind' needs at least two classes, and has only 'cat'"),
        (frame(kind=[None] * ROWS), "kind", "it has 0 rows with a target value, and needs at least 20"),
        (frame().head(19), "kind", "it has 19 rows with a target value, and needs at least 20"),
        (frame()[["kind"]], "kind", "no column is left to learn from"),
    ],
)
def test_table_that_no_model_can_learn_from_is_refused(
    table: pd.DataFrame, target: str, message: str, tmp_path: Path
) -> None:
    """A target that is missing, has less than two classes or is a quantity, too few rows, and no features are
    refused."""
    assert any(message in line for line in problems(table, tmp_path, ColumnOptions(target)))


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (b"a;b;kind\n1;2;x\n", "t.csv", "has semicolons between its columns: save it with commas"),
        (b"a\tb\n1\t2\n", "t.csv", "has tabs between its columns"),
        (b"1.5,2.5,x\n2,3,y\n", "t.csv", "begins with '1.5,2.5,x', which is no header"),
        (b"a,b\n1,2,3\n", "t.csv", "has 2 names in its header, but 3 columns"),
        (b"a,b\n1,2\n1,2,3\n", "t.csv", "can't be read"),
        ("länge,b\n1,2\n".encode("latin-1"), "t.csv", "is not UTF-8 (byte 1)"),
        (b"a,b\n1,\xff\n", "t.csv", "is not UTF-8"),
        (b"", "t.csv", "can't be read"),
        (b"a,b\n1,2\n", "t.csv.gz", "can't be read"),
        (b"a,b\n1,2\n", "t.parquet", "can't be read"),
        (b"a,b\n1,2\n", "t.xls", "its name must end in .csv"),
        (None, "t.csv", "can't be read: No such file or directory"),
    ],
)
def test_file_that_is_no_table_is_refused_in_one_line(
    content: bytes | None, name: str, message: str, tmp_path: Path
) -> None:
    """A wrong delimiter, a missing header, an odd row, another encoding, another format, no file: each is one line."""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as error:
        load_table(tmp_path / name, ColumnOptions("kind"), 7)
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 1
