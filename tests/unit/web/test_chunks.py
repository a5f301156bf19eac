"""Large bodies in pieces: the same rows as from the whole, and nothing accepted that the whole would refuse."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tabserve.errors import InvalidInputError
from tabserve.model.task import Classification
from tabserve.web.codecs import JsonRequests, TooManyRowsError, chunks
from tests.support.bodies import PUT
from tests.support.models import Trained

MOST = 5000
NAMES = ("sepal_length", "sepal_width", "petal_length", "petal_width")


@pytest.fixture(scope="module")
def requests(trained: Trained) -> JsonRequests:
    return JsonRequests(trained.schema, MOST)


def rows(count: int) -> list[list[float]]:
    drawn: list[list[float]] = np.random.default_rng(count).uniform(0, 9, (count, 4)).tolist()
    return drawn


def by_columns(values: list[list[Any]], **layout: Any) -> bytes:
    columns = dict(zip(NAMES, map(list, zip(*values, strict=True)), strict=True))
    return json.dumps({"columns": columns}, **layout).encode()


def by_records(values: list[list[Any]], **layout: Any) -> bytes:
    return json.dumps({"records": [dict(zip(NAMES, row, strict=True)) for row in values]}, **layout).encode()


@pytest.mark.parametrize("count", [1, 2, 300, MOST])
@pytest.mark.parametrize("form", [by_columns, by_records])
@pytest.mark.parametrize("layout", [{}, {"separators": (",", ":")}, {"indent": 3}])
def test_pieces_give_the_same_rows(requests: JsonRequests, count: int, form: Any, layout: dict[str, Any]) -> None:
    """However many rows, in whichever form and layout: the pieces are used, and give the rows of the whole."""
    values = rows(count)
    body = form(values, **layout)
    found = requests._decode_in_chunks(body)
    assert found is not None
    assert found.values.tolist() == requests._decode_whole(body).values.tolist() == values


def test_large_bodies_come_in_small_pieces() -> None:
    """No piece is much larger than the size of one, and together they are the body."""
    values = rows(MOST)
    by_name = chunks.split_columns(by_columns(values), 4)
    assert by_name is not None
    by_row = chunks.split_records(by_records(values))
    assert by_row is not None
    widths = list(by_name.pop(b"petal_width"))
    for parts in (widths, *map(list, by_name.values()), list(by_row)):
        assert len(parts) > 5
        assert max(map(len, parts)) < chunks.BYTES + 200
    assert [value for part in widths for value in json.loads(part)] == [row[3] for row in values]


BAD = [
    lambda good: good.replace(b", ", b",, ", 1), lambda good: good[:-1], lambda good: good + b"x",
    lambda good: good.replace(b"]", b",]", 1), lambda good: good.replace(b"[", b"[,", 1),
    lambda good: good.replace(b"]", b",true]", 1), lambda good: good.replace(b"]}", b"],}", 1),
    lambda good: good.replace(b"sepal_width", b"sepal_length", 1), lambda good: good.replace(b"sepal_width", b"x", 1),
    lambda good: good.replace(b"]", b",null]", 1), lambda good: good.replace(b"]", b',"1"]', 1),
    lambda good: good.replace(b"]", b",1e39]", 1), lambda good: good.replace(b"]", b",NaN]", 1),
    lambda good: good.replace(b"]", b",0." + b"1" * 70 + b"]", 1), lambda good: good.replace(b"]", b",1]", 1),
    lambda good: good.replace(b"{", b'{"more": 1, ', 1), lambda good: good.replace(b"}", b', "more": 1}', 1),
    lambda good: good.replace(b"}", b', "petal_width": 1}', 1), lambda good: b"[" + good + b"]",
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(BAD)))
@pytest.mark.parametrize("form", [by_columns, by_records])
@pytest.mark.parametrize("count", [2, 3000])
def test_what_is_bad_is_left_to_the_whole(requests: JsonRequests, number: int, form: Any, count: int) -> None:
    """A body with anything wrong in it is not accepted in pieces, and refused as a whole with the reason."""
    body = BAD[number](form(rows(count)))
    assert requests._decode_in_chunks(body) is None
    with pytest.raises((InvalidInputError, TooManyRowsError)):
        requests.decode_batch(body)


@pytest.mark.parametrize("form", [by_columns, by_records])
def test_a_row_more_than_the_cap_is_refused(requests: JsonRequests, form: Any) -> None:
    """A body with one row more than may be is refused for that, in either form."""
    with pytest.raises(TooManyRowsError, match=str(MOST)):
        requests.decode_batch(form(rows(MOST + 1)))


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_pieces_accept_nothing_more(requests: JsonRequests, data: st.DataObject) -> None:
    """Whatever bytes are put into a good body: if the pieces accept it, the whole does too, and gives the same rows."""
    form = data.draw(st.sampled_from([by_columns, by_records]))
    body = bytearray(form(rows(data.draw(st.sampled_from([1, 2, 700])))))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body)))
        cut, put = data.draw(st.integers(0, 3)), data.draw(st.sampled_from(PUT))
        body[at : at + cut] = put
    found = requests._decode_in_chunks(bytes(body))
    if found is not None:
        assert found.values.tolist() == requests._decode_whole(bytes(body)).values.tolist()


def test_a_name_that_needs_escaping_comes_through(trained: Trained) -> None:
    """Features whose names hold quotes, backslashes or other letters than ASCII's are parsed too, if as a whole."""
    names = ['a"b', "c\\d", "länge", "x"]
    features = [
        feature.model_copy(update={"name": name}) for feature, name in zip(trained.schema.features, names, strict=True)
    ]
    requests = JsonRequests(
        type(trained.schema)(target="kind", features=tuple(features), task=Classification(classes=("a", "b"))), 10
    )
    for ascii_only in (True, False):
        body = json.dumps({"columns": {name: [1.0, 2.0] for name in names}}, ensure_ascii=ascii_only).encode()
        assert requests.decode_batch(body).values.tolist() == [[1.0] * 4, [2.0] * 4]
