"""Numbers in disguise are read as the numbers that people mean."""

import pandas as pd
import pytest

from tabserve.training.number_formats import DecimalSign, is_code, read_disguised


def texts(*values: str | None) -> pd.Series:
    return pd.Series(values, dtype="str")


@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        (["$1,000", "$2,001.50"], [1000, 2001.5]),
        (["-$5", "$-5", "$ 5"], [-5, -5, 5]),
        (["5 €", "6,50€"], [5, 6.5]),
        (["USD 1,000.00", "USD 2"], [1000, 2]),
        (["10%", "12 %", "-0.5 %"], [10, 12, -0.5]),
        (["0,09", "-2,25", "1"], [0.09, -2.25, 1]),
        (["1.234,5", "1.000.000"], [1234.5, 1_000_000]),
        (["1 000", "12", "1\u202f234\u202f567"], [1000, 12, 1_234_567]),
        (["1'000.5", "1\u2019000"], [1000.5, 1000]),
        (["\u22121,5", "2"], [-1.5, 2]),
        (["1,234", "1,2"], [1.234, 1.2]),
        (["1,234", "1,234,567"], [1234, 1_234_567]),
        (["0,123", "1,234"], [0.123, 1.234]),
        ([" 1,5 ", ",5"], [1.5, 0.5]),
    ],
)
def test_disguised_numbers_are_read(values: list[str], numbers: list[float]) -> None:
    """Currencies, per cent, groups of thousands and decimal commas: each text is its number, and a gap stays one."""
    found = read_disguised(texts(*values, None), None)
    assert found
    assert found.values.tolist()[:-1] == numbers
    assert found.values.isna().tolist() == [False] * len(numbers) + [True]
    assert dict(zip(values, numbers, strict=True))[found.example[0]] == found.example[1]


@pytest.mark.parametrize(
    "values",
    [
        ["$5", "7"],
        ["$5", "€5"],
        ["5%", "6"],
        ["5 kg"],
        ["1,23,456"],
        ["1.5", "2,5", "1.234.567"],
        ["12,34.5"],
        ["--5"],
        ["-$-5"],
        ["1 2"],
        ["a", "1"],
        ["%"],
        ["1.2.3"],
    ],
)
def test_other_texts_are_not_numbers(values: list[str]) -> None:
    """Mixed units, other units, odd groups, and both decimal signs in one column are no numbers."""
    assert read_disguised(texts(*values), None) is None


@pytest.mark.parametrize(
    ("values", "decimal", "numbers", "is_ambiguous"),
    [
        (["1,234", "5,678"], None, [1234, 5678], True),
        (["1,234", "5,678"], ".", [1234, 5678], True),
        (["1,234", "5,678"], ",", [1.234, 5.678], True),
        (["1.5", "2.25"], ",", [1.5, 2.25], False),
        (["12 %", "1 000 %"], None, [12, 1000], False),
    ],
)
def test_point_is_the_decimal_sign_where_both_are_possible(
    values: list[str], decimal: DecimalSign | None, numbers: list[float], is_ambiguous: bool
) -> None:
    """`1,234` alone is 1234, and with the other decimal sign 1.234. A sign that doesn't fit the values changes
    nothing."""
    found = read_disguised(texts(*values), decimal)
    assert found
    assert (found.values.tolist(), found.is_ambiguous) == (numbers, is_ambiguous)


def test_digits_with_a_leading_zero_are_codes() -> None:
    """A column is one of codes if all texts are digits, and one has a leading zero."""
    assert is_code(texts("01234", "98765"))
    assert not is_code(texts("0", "10"))
    assert not is_code(texts("0.5", "01"))
    assert not is_code(texts("12", "34"))
