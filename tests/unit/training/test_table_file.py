"""Tables of every format and from every place: the first bytes of a file say what it is, whatever its name is."""

import bz2
import gzip
import io
import lzma
import os
import threading
import zipfile
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tabserve.errors import DataError
from tabserve.training.raw_table import RawTable
from tabserve.training.source import TableSource
from tabserve.training.table_file import read_table
from tests.support.tables import ROWS, Cell, csv_rows, workbook

CSV = ("x,z,y\n" + csv_rows()).encode()
FRAME = pd.DataFrame(ROWS, columns=["x", "z", "y"]).astype({"x": float})


def read(place: Path | str, target: str = "y", **options: object) -> RawTable:
    return read_table(TableSource(str(place), **options), target)  # type: ignore[arg-type]


def parquet() -> bytes:
    content = io.BytesIO()
    FRAME.to_parquet(content)
    return content.getvalue()


def excel() -> bytes:
    return workbook({"Sheet": [["x", "z", "y"], *FRAME.itertuples(index=False, name=None)]})


def feather() -> bytes:
    content = io.BytesIO()
    FRAME.to_feather(content)
    return content.getvalue()


def zipped() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("folder/table.csv", CSV)
        archive.writestr("__MACOSX/folder/._table.csv", b"\0")
    return content.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        CSV, gzip.compress(CSV), bz2.compress(CSV), lzma.compress(CSV), pa.Codec("zstd").compress(CSV, asbytes=True),
        zipped(), parquet(), feather(), excel(), FRAME.to_json(orient="records", lines=True).encode(),
        FRAME.to_json(orient="records").encode(), gzip.compress(FRAME.to_json(orient="records", lines=True).encode()),
    ],
    ids=["csv", "gz", "bz2", "xz", "zst", "zip", "parquet", "feather", "excel", "lines", "list", "lines.gz"],
)  # fmt: skip
@pytest.mark.parametrize("place", ["file", "standard input"])
def test_every_format_gives_the_same_table(
    content: bytes, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a file whose name says nothing, and from standard input."""
    (tmp_path / "data").write_bytes(content)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    frame = read(tmp_path / "data" if place == "file" else "-").frame
    assert frame.astype({"x": float}).to_numpy().tolist() == FRAME.to_numpy().tolist()
    assert list(frame.columns) == ["x", "z", "y"]


def test_pipe_is_read_once(tmp_path: Path) -> None:
    """As a shell makes one of `<(command)`."""
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(gzip.compress(CSV),))
    writer.start()
    assert len(read(tmp_path / "pipe").frame) == len(FRAME)
    writer.join()


def test_folder_and_pattern_of_parquet_are_one_table(tmp_path: Path) -> None:
    """The rows come in the order of the files' names. A column that a file lacks is missing there; a whole number and a
    fraction fit together; folders such as year=2024 are a column."""
    for year, frame in ((2024, FRAME.assign(n=1)), (2025, FRAME.assign(n=0.5, more="m"))):
        folder = tmp_path / "table" / f"year={year}"
        folder.mkdir(parents=True)
        frame.to_parquet(folder / "part-0.parquet")
    (tmp_path / "table" / "_SUCCESS").touch()
    for place in (tmp_path / "table", tmp_path / "t*" / "*" / "*.parquet"):
        frame = read(place).frame
        assert len(frame) == 2 * len(FRAME)
        assert frame["n"].tolist() == [1.0] * len(FRAME) + [0.5] * len(FRAME)
        assert frame["more"].isna().sum() == len(FRAME)
        assert frame["year"].astype(int).tolist() == [2024] * len(FRAME) + [2025] * len(FRAME)


def test_files_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    """One has texts where another one has numbers; or there are none."""
    FRAME.to_parquet(tmp_path / "a.parquet")
    FRAME.assign(x="a").to_parquet(tmp_path / "b.parquet")
    with pytest.raises(DataError, match="its files have other types for a column"):
        read(tmp_path)
    (tmp_path / "empty").mkdir()
    for place in (tmp_path / "empty", tmp_path / "*.pq"):
        with pytest.raises(DataError, match="there are no Parquet files"):
            read(place)


def test_index_of_pandas_is_a_column(tmp_path: Path) -> None:
    """A target in the index is found, an index without a name is left out as an index, and one that counts the rows is
    none. Names that are whole numbers are names."""
    FRAME.set_index("y").to_parquet(tmp_path / "named.parquet")
    assert list(read(tmp_path / "named.parquet").frame.columns) == ["y", "x", "z"]
    FRAME.set_axis([f"r{number}" for number in range(len(FRAME))]).to_parquet(tmp_path / "texts.parquet")
    table = read(tmp_path / "texts.parquet")
    assert list(table.frame.columns) == ["column_1", "x", "z", "y"]
    assert list(table.left_out) == ["column_1"]
    FRAME.set_axis([0, 1, 2], axis=1).to_parquet(tmp_path / "numbers.parquet")
    assert list(read(tmp_path / "numbers.parquet", target="2").frame.columns) == ["0", "1", "2"]


def test_workbook_is_read_as_it_looks(tmp_path: Path) -> None:
    """Titles, empty rows and empty sheets are skipped, cells keep their types, and a mixed column has texts in which
    whole numbers have no decimal point."""
    rows: list[list[Cell]] = [
        ["Report", None, None, None, None],
        [],
        ["x", "flag", "when", "code", "y"],
        [1, True, date(2024, 2, 3), 7, "NA"],
        [2.5, False, date(2024, 3, 4), "A1", "b "],
        [None, None, None, None, "b"],
    ]
    (tmp_path / "t.xlsx").write_bytes(workbook({"Notes": [], "Data": rows}))
    table = read(tmp_path / "t.xlsx")
    assert table.frame.drop(columns="when").astype(object).fillna("-").to_numpy().tolist() == [
        [1.0, True, "7", "-"], [2.5, False, "A1", "b "], ["-", "-", "-", "b"],
    ]  # fmt: skip
    assert table.frame["when"].dt.strftime("%Y-%m-%d").tolist()[:2] == ["2024-02-03", "2024-03-04"]
    assert table.read_as_missing == {"y": {"NA": 1}}
    assert table.notes == [
        "read from the sheet 'Data' of 2 (other: --sheet)",
        "read with the names of the columns in row 3 (other: --no-header)",
    ]
    assert read(tmp_path / "t.xlsx", sheet="Data", has_header=False).frame.columns.tolist() == ["1", "2", "3", "4", "5"]
    with pytest.raises(DataError, match=r"has no sheet 'Dat'\. There are Notes, Data$"):
        read(tmp_path / "t.xlsx", sheet="Dat")


def test_json_lines_keep_texts_and_nulls(tmp_path: Path) -> None:
    """Leading zeros stay, a key that a row lacks is missing, and a nested value is a text."""
    (tmp_path / "t.jsonl").write_text('{"x": "01", "y": "a", "n": {"k": [1]}}\n\n{"y": null, "b": true, "n": 2}\n')
    frame = read(tmp_path / "t.jsonl").frame
    assert frame.astype(object).where(frame.notna(), None).to_dict("records") == [
        {"x": "01", "y": "a", "n": '{"k":[1]}', "b": None},
        {"x": None, "y": None, "n": 2, "b": True},
    ]


def test_missing_texts_are_those_of_the_option_in_typed_files_too(tmp_path: Path) -> None:
    """Without the option, a text in Parquet is that text. Numbers may be named, too."""
    FRAME.assign(z="NA", n=[-999, 5] * 16).to_parquet(tmp_path / "t.parquet")
    assert read(tmp_path / "t.parquet").read_as_missing == {}
    table = read(tmp_path / "t.parquet", missing=["NA", "-999"])
    assert table.read_as_missing == {"z": {"NA": 32}, "n": {"-999": 16}}
    assert table.frame.isna().sum().to_dict() == {"x": 0, "z": 32, "y": 0, "n": 16}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "t can't be read: No such file or directory"),
        (parquet()[:300], "can't be read"),
        (excel()[:300], "can't be read"),
        (feather()[:300], "can't be read"),
        (gzip.compress(CSV, mtime=0)[:50], "can't be read"),
        (b"\x89PNG\r\n\x1a\n\0\0\0", "it holds bytes of 0"),
        (b'{"x": 1}\n{"x": \n', "line 2 is no JSON"),
        (b'{"x": 1}\n[2]\n', "line 2 is no JSON object"),
        (b'[{"x": 1}, 2]', "entry 2 of its list is no object"),
        (b"[]", "it has no columns"),
        (workbook({"Empty": []}), "it is empty"),
    ],
)
def test_file_that_cannot_be_used_is_refused_in_one_line(content: bytes | None, message: str, tmp_path: Path) -> None:
    """Damaged files of each format, other files, and none."""
    if content is not None:
        (tmp_path / "t").write_bytes(content)
    with pytest.raises(DataError) as error:
        read(tmp_path / "t")
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@settings(max_examples=150, deadline=None)
@given(data=st.data(), make=st.sampled_from([lambda: CSV, parquet, excel, feather]))
def test_no_damage_leads_to_anything_but_a_table_or_one_line(data: st.DataObject, make: Callable[[], bytes]) -> None:
    """A file of any format in which bytes are changed, removed and added gives a table, or a DataError of one line."""
    content = bytearray(make())
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, len(content)))
        length = data.draw(st.sampled_from([0, 1, 1, 4, 100]))
        content[place : place + length] = data.draw(st.binary(max_size=8))
    source = TableSource("-")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(bytes(content))))
        table, refusal = None, "one line"
        try:
            table = read_table(source, "y")
        except DataError as error:
            refusal = str(error)
    assert len(refusal.splitlines()) == 1
    assert table is None or all(isinstance(name, str) and name for name in table.frame.columns)
