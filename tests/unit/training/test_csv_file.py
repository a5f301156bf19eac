"""CSV as people have it: separator, encoding and the line with the names are found, and told if they are unusual."""

import io
from collections.abc import Sequence

import pytest

from tabserve.errors import DataError
from tabserve.training.csv_file import read_csv
from tabserve.training.csv_layout import SAMPLE_BYTES, find_layout
from tabserve.training.raw_table import RawTable
from tabserve.training.source import TableSource
from tests.support.tables import ROWS, csv_rows

PLAIN = ["x", "z", "y"]
ROW_COUNT = len(ROWS)
THREE_OPTIONS = "--separator, --encoding, --no-header)"


def read(content: str | bytes, target: str = "y", **options: object) -> RawTable:
    """The table, in which the empty text is missing."""
    data = content.encode() if isinstance(content, str) else content
    return read_csv(lambda: io.BytesIO(data), TableSource("t.csv", **options), target).without([""]).named()  # type: ignore[arg-type]


def refusal(content: str | bytes, target: str = "y", **options: object) -> str:
    with pytest.raises(DataError) as error:
        read(content, target, **options)
    return str(error.value)


@pytest.mark.parametrize(
    ("content", "names", "notes"),
    [
        ("x,z,y\n" + csv_rows(), PLAIN, []),
        ("x,z,y\r\n" + csv_rows(end="\r\n"), PLAIN, []),
        ("x,z,y\r" + csv_rows(end="\r"), PLAIN, []),
        ("x, z, y\n" + csv_rows(", "), PLAIN, []),
        ("\ufeffx,z,y\n" + csv_rows(), PLAIN, []),
        ("x;z;y\n" + csv_rows(";").replace(".", ","), PLAIN, ["read with semicolons (other: --separator)"]),
        ("x\tz\ty\n" + csv_rows("\t"), PLAIN, ["read with tabs (other: --separator)"]),
        ("x|z|y\n" + csv_rows("|"), PLAIN, ["read with bars (other: --separator)"]),
        (
            "sep=;\nx;z;y\n" + csv_rows(";"),
            PLAIN,
            ["read with semicolons and with the names of the columns in line 2 (other: --separator, --no-header)"],
        ),
        ('"Age, years","kind","y"\n' + csv_rows(), ["Age, years", "kind", "y"], []),
        ('"Age\nyears","kind","y"\n' + csv_rows(), ["Age\nyears", "kind", "y"], []),
        ('x,"z ""q""",y\n' + csv_rows(), ["x", 'z "q"', "y"], []),
        ("0,1,y\n" + csv_rows(), ["0", "1", "y"], []),
        ("x^z^y\n" + csv_rows("^"), ["x^z^y"], ["read as one column (other: --separator)"]),
        ("\nx,z,y\n" + csv_rows(), PLAIN, ["read with the names of the columns in line 2 (other: --no-header)"]),
        (
            "Sales of y\nMade on 2024-01-01, by Ann\n\nx,z,y\n" + csv_rows(),
            PLAIN,
            ["read with the names of the columns in line 4 (other: --no-header)"],
        ),
        (
            "Sales,,\n,,\nx,z,y\n" + csv_rows(),
            PLAIN,
            ["read with the names of the columns in line 3 (other: --no-header)"],
        ),
        ("x,z,y,,\n" + csv_rows(end=",,\n"), PLAIN, ["left out: 2 empty columns without a name"]),
        ("x,z,y\n" + csv_rows(end=",\n"), PLAIN, ["left out: 1 empty column without a name"]),
        ("x,z,y\n" + csv_rows() + "1.5,p,a,,\n", PLAIN, []),
        (("x,z,y\n" + csv_rows()).encode("utf-16"), PLAIN, ["read as utf-16 (other: --encoding)"]),
        (
            ("T\n\nx;größe;y\n" + csv_rows(";")).encode("cp1252"),
            ["x", "größe", "y"],
            ["read with semicolons, as cp1252 and with the names of the columns in line 3 (other: " + THREE_OPTIONS],
        ),
        (("x,größe,y\n" + csv_rows()).encode("cp1252"), ["x", "größe", "y"], ["read as cp1252 (other: --encoding)"]),
    ],
)  # fmt: skip
def test_layout_is_found(content: str | bytes, names: Sequence[str], notes: Sequence[str]) -> None:
    """Separators, encodings, titles, blank lines and quotes: the columns are those that are meant, and a note says what
    is unlike plain CSV."""
    table = read(content)
    frame = table.frame
    assert list(frame.columns) == names
    if len(names) == 1:
        frame = frame.iloc[:, 0].str.split("^", expand=True)
    assert len(frame) in (ROW_COUNT, ROW_COUNT + 1)
    assert frame.iloc[:ROW_COUNT, 2].tolist() == [row[2] for row in ROWS]
    assert frame.iloc[:ROW_COUNT, 0].str.replace(",", ".").tolist() == [row[0] for row in ROWS]
    assert list(table.notes) == notes


def test_values_keep_what_the_file_has() -> None:
    """Quoted separators, quotes and line breaks, leading zeros, and spaces at the end."""
    table = read('x,z,y\n01,"a, ""b""\nc",yes \n1.0, "d, e",no\n')
    assert table.frame.to_numpy().tolist() == [["01", 'a, "b"\nc', "yes "], ["1.0", "d, e", "no"]]


def test_only_spaces_after_separators_are_removed() -> None:
    """Those within quotes belong to a value. A file that has no others isn't rewritten."""
    table = read('x,y\n"  a, b",c\n' * 3 + "1, 2\n")
    assert table.frame.to_numpy().tolist()[-1] == ["1", "2"]
    quoted = b'x,y\n"a, b",c\n'
    assert not find_layout(quoted, TableSource("t.csv"), "y", is_whole=True).has_spaces
    assert find_layout(quoted + b"1, 2\n", TableSource("t.csv"), "y", is_whole=True).has_spaces


def test_separator_in_texts_is_not_taken_for_the_separator() -> None:
    """The name of the target says which one splits the line with the names."""
    table = read("x,z,y\n" + "".join(f"{x},a;b;c;d;e,{y}\n" for x, _, y in ROWS))
    assert list(table.frame.columns) == PLAIN


@pytest.mark.parametrize("header", [",x,z,y", "x,z,y"])
def test_column_of_row_names_is_an_index(header: str) -> None:
    """pandas gives it an empty name, and R none: it is left out, with the reason."""
    table = read(f"{header}\n" + "".join(f"r{number},{','.join(row)}\n" for number, row in enumerate(ROWS)))
    assert list(table.frame.columns) == ["column_1", *PLAIN]
    assert table.left_out == {"column_1": "an index: it has no name, and another value in each row"}


def test_other_column_without_a_name_gets_one() -> None:
    """It may be a feature. A note says what it is called."""
    table = read("x,,y\n" + csv_rows())
    assert list(table.frame.columns) == ["x", "column_2", "y"]
    assert table.notes == ["column 2 has no name, and is called column_2"]


def test_text_that_stops_being_utf8_after_the_sample_is_read_as_cp1252() -> None:
    """The first part of the file looks like UTF-8; the whole file is read again."""
    rows = csv_rows() * (SAMPLE_BYTES // len(csv_rows()) + 1)
    table = read(("x,z,y\n" + rows + "1,ü,a\n").encode("cp1252"))
    assert table.frame.iloc[-1].tolist() == ["1", "ü", "a"]
    assert table.notes == ["read as cp1252 (other: --encoding)"]


def test_short_lines_are_completed_and_named() -> None:
    """Their last values are missing. The number is that of the line in the file, whatever blank lines and quoted line
    breaks come before it."""
    table = read('\n\nx,z,y\n1,"a\nb",c\n\n2,d\n3,e,f\n4\n')
    assert table.frame.fillna("-").to_numpy().tolist() == [
        ["1", "a\nb", "c"], ["2", "d", "-"], ["3", "e", "f"], ["4", "-", "-"],
    ]  # fmt: skip
    assert table.notes[-1] == "lines 7, 9 have fewer values than there are columns: the last ones are missing"


def test_options_overrule_what_is_found() -> None:
    """A separator that nothing guesses, an encoding that looks like another one, and a file without names."""
    assert list(read("x:z:y\n1:2:3\n", separator=":").frame.columns) == PLAIN
    assert read("x,y\nж,2\n".encode("cp1251"), encoding="cp1251").frame["x"].tolist() == ["ж"]
    assert read("x,y\n1,2\n".encode("utf-16-le"), encoding="utf-16-le").frame["y"].tolist() == ["2"]
    headless = read("Title\n1,2,a\n3,4,b\n", target="3", has_header=False)
    assert headless.frame.to_dict("list") == {"1": ["1", "3"], "2": ["2", "4"], "3": ["a", "b"]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "it is empty"),
        (" \n\n", "it is empty"),
        ("1.5,2.5,b\n2,3,y\n", "begins with '1.5,2.5,b', which are values and no names of columns"),
        ("x,z,y\n" + csv_rows() + "1,2,3,4\n", "line 34 has more values than the 3 columns x, z, y: repair the lines"),
        ("x,z,y\n" + csv_rows().replace(".", ","), "lines 2, 3, 4, 5, 6 and 27 more have more values"),
        ("x,z,y\n" + csv_rows() + "1,2,3,4\n" * 7, "lines 34, 35, 36, 37, 38 and 2 more have more values"),
        ("x,z,y\n" + csv_rows() + '1,2,"3\n4,5,6\n', "line 34 opens quotes that are never closed"),
        ("x,z,y\n" + csv_rows() + '1,"2,3\n4,5,6\n', "line 34 opens quotes that are never closed"),
        ("x,y\n1,2\n".encode("utf-16-le"), "If it is UTF-16, add --encoding utf-16-le"),
        (b"x,y\n1,\x81\n", "is neither UTF-8 nor cp1252: name its encoding with --encoding"),
        ("<!DOCTYPE html><table>", "it is a page of HTML or XML, not a table"),
    ],
)  # fmt: skip
def test_file_that_is_no_csv_is_refused_in_one_line(content: str | bytes, message: str) -> None:
    """The line says what is wrong and where, and what to do."""
    assert message in refusal(content)
    assert len(refusal(content).splitlines()) == 1


def test_wrong_encoding_is_refused() -> None:
    """An encoding that was named isn't replaced by another one, wherever the file stops having it."""
    far = b"x,z,y\n" + csv_rows().encode() * (SAMPLE_BYTES // 200) + b"1,\xe4\x81,a\n"
    assert "t.csv is not cp1252: name another --encoding" in refusal(far)
    assert "t.csv is not utf-8: name another --encoding" in refusal(far, encoding="utf-8")
    assert "is not ascii (byte 0): name another --encoding" in refusal("äx,y\n1,2\n", encoding="ascii")
