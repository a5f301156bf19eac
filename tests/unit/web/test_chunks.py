"""Batches decoded in chunks: the same rows as from the whole body, and nothing accepted that the whole would refuse."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tabserve.errors import InvalidInputError
from tabserve.model import Classification, Schema
from tabserve.web.codecs import JsonRequests, TooManyRowsError, chunks
from tests.support.bodies import SPLICES
from tests.support.models import Trained

MAX_ROWS = 5000
NAMES = ("sepal_length", "sepal_width", "petal_length", "petal_width")

Form = Callable[..., bytes]
"""Rows → a body with them: `by_columns` or `by_records`."""


@pytest.fixture(scope="module")
def requests(trained: Trained) -> JsonRequests:
    return JsonRequests(trained.schema, MAX_ROWS)


def random_rows(count: int) -> list[list[float]]:
    rows: list[list[float]] = np.random.default_rng(count).uniform(0, 9, (count, 4)).tolist()
    return rows


def by_columns(rows: list[list[Any]], **layout: Any) -> bytes:
    columns = dict(zip(NAMES, map(list, zip(*rows, strict=True)), strict=True))
    return json.dumps({"columns": columns}, **layout).encode()


def by_records(rows: list[list[Any]], **layout: Any) -> bytes:
    return json.dumps({"records": [dict(zip(NAMES, row, strict=True)) for row in rows]}, **layout).encode()


@pytest.mark.parametrize("count", [1, 2, 300, MAX_ROWS])
@pytest.mark.parametrize("form", [by_columns, by_records])
@pytest.mark.parametrize("layout", [{}, {"separators": (",", ":")}, {"indent": 3}])
def test_chunks_give_the_rows_of_the_whole(
    requests: JsonRequests, count: int, form: Form, layout: dict[str, Any]
) -> None:
    """A good body is decoded in chunks, in both forms and any layout, and gives the same rows as the whole body."""
    rows = random_rows(count)
    body = form(rows, **layout)
    from_chunks = requests._decode_in_chunks(body)
    assert from_chunks is not None
    assert from_chunks.values.tolist() == requests._decode_whole(body).values.tolist() == rows


def test_large_body_is_split_into_small_chunks() -> None:
    """No chunk is much larger than `chunks.BYTES`, and the chunks of a column hold all its values."""
    rows = random_rows(MAX_ROWS)
    by_name = chunks.split_columns(by_columns(rows), 4)
    assert by_name is not None
    by_row = chunks.split_records(by_records(rows))
    assert by_row is not None
    widths = list(by_name.pop(b"petal_width"))
    for parts in (widths, *map(list, by_name.values()), list(by_row)):
        assert len(parts) > 5
        assert max(map(len, parts)) < chunks.BYTES + 200
    assert [value for part in widths for value in json.loads(part)] == [row[3] for row in rows]


MISTAKES: list[Callable[[bytes], bytes]] = [
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
"""Each makes a good body bad."""


@pytest.mark.parametrize("mistake", range(len(MISTAKES)))
@pytest.mark.parametrize("form", [by_columns, by_records])
@pytest.mark.parametrize("count", [2, 3000])
def test_bad_body_is_refused_as_a_whole(requests: JsonRequests, mistake: int, form: Form, count: int) -> None:
    """A body with a mistake is not accepted in chunks. It is decoded as a whole, which refuses it with the reason."""
    body = MISTAKES[mistake](form(random_rows(count)))
    assert requests._decode_in_chunks(body) is None
    with pytest.raises((InvalidInputError, TooManyRowsError)):
        requests.decode_batch(body)


@pytest.mark.parametrize("form", [by_columns, by_records])
def test_batch_over_the_row_limit_is_refused(requests: JsonRequests, form: Form) -> None:
    """A body with one row more than the limit is refused in both forms, and the error names the limit."""
    with pytest.raises(TooManyRowsError, match=str(MAX_ROWS)):
        requests.decode_batch(form(random_rows(MAX_ROWS + 1)))


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_chunks_accept_nothing_that_the_whole_refuses(requests: JsonRequests, data: st.DataObject) -> None:
    """If a good body in which some bytes are replaced is accepted in chunks, it is also accepted as a whole, and gives
    the same rows."""
    form = data.draw(st.sampled_from([by_columns, by_records]))
    body = bytearray(form(random_rows(data.draw(st.sampled_from([1, 2, 700])))))
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(body)))
        length, replacement = data.draw(st.integers(0, 3)), data.draw(st.sampled_from(SPLICES))
        body[start : start + length] = replacement
    from_chunks = requests._decode_in_chunks(bytes(body))
    if from_chunks is not None:
        assert from_chunks.values.tolist() == requests._decode_whole(bytes(body)).values.tolist()


def test_feature_names_that_need_escaping_are_decoded(trained: Trained) -> None:
    """Features whose names hold quotes, backslashes or letters beyond ASCII are decoded, whether the body escapes these
    letters or not."""
    names = ['a"b', "c\\d", "länge", "x"]
    features = [
        feature.model_copy(update={"name": name}) for feature, name in zip(trained.schema.features, names, strict=True)
    ]
    schema = Schema(target="kind", features=tuple(features), task=Classification(classes=("a", "b")))
    requests = JsonRequests(schema, 10)
    for ascii_only in (True, False):
        body = json.dumps({"columns": {name: [1.0, 2.0] for name in names}}, ensure_ascii=ascii_only).encode()
        assert requests.decode_batch(body).values.tolist() == [[1.0] * 4, [2.0] * 4]
