"""No body whatever is a server error."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from tabserve.model import Release
from tabserve.web import create_app
from tests.support.models import ROW, SETTINGS
from tests.support.sources import FakeSource
from tests.support.waiting import until

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.sampled_from([*ROW, "x"]), children, max_size=5)
    ),
    max_leaves=10,
)

BODIES = (
    st.binary(max_size=200)
    | JSON_VALUES.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass"))
    | st.fixed_dictionaries(dict.fromkeys(ROW, JSON_VALUES)).map(lambda value: json.dumps(value).encode())
    | st.fixed_dictionaries({"records": st.lists(JSON_VALUES, max_size=3)}).map(
        lambda value: json.dumps(value).encode()
    )
    | st.fixed_dictionaries({"columns": JSON_VALUES}).map(lambda value: json.dumps(value).encode())
)

CLOSING = {"[": "]", '{"a":': "}", '[{"a":': "}]"}


def nested(opening: str, depth: int, inner: str) -> str:
    return opening * depth + inner + CLOSING[opening] * depth


NESTED = st.recursive(
    st.sampled_from(["1", "-0.5", "true", "null", '"x"', "NaN", "1e999", "9" * 100]),
    lambda inner: st.builds(
        nested,
        st.sampled_from(list(CLOSING)),
        st.sampled_from([1, 2, 50, 200, 500, 1000, 5000, 100_000]),
        inner,
    ),
    max_leaves=3,
)
"""JSON texts of any depth, mixed of arrays and objects."""


NAMES = st.sampled_from([*ROW, "x", "records", "columns", "sepal_length\\u0000"])


ROW_START = json.dumps(ROW)[:-1]


STRUCTURES = st.one_of(
    NESTED,
    # a good row with a member of any depth: a feature again, or an unknown field
    st.builds(lambda name, text: f'{ROW_START}, "{name}": {text}}}', NAMES, NESTED),
    # the same in a batch, in both forms
    st.builds(lambda form, text: f'{{"{form}": {text}}}', st.sampled_from(["records", "columns"]), NESTED),
    st.builds(lambda name, text: f'{{"records": [{ROW_START}, "{name}": {text}}}]}}', NAMES, NESTED),
    st.builds(lambda name, text: f'{{"columns": {{"sepal_length": [1], "{name}": [{text}]}}}}', NAMES, NESTED),
    # many items, many members, long keys and texts
    st.builds(lambda count, text: "[" + ",".join([text] * count) + "]", st.sampled_from([1, 100]), NESTED),
    st.builds(
        lambda count, text: "{" + ",".join(f'"k{number}": {text}' for number in range(count)) + "}",
        st.sampled_from([1, 30, 3000]),
        st.sampled_from(["1", "[]", "{}", '"x"']),
    ),
    st.builds(lambda size: json.dumps({"x" * size: "y" * size}), st.sampled_from([10, 1000, 100_000])),
)


@pytest.fixture
def client(release: Release) -> Iterator[TestClient]:
    with TestClient(create_app(SETTINGS, FakeSource(release)), raise_server_exceptions=False) as client:
        until(lambda: client.get("/readyz").status_code == 200)
        yield client


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(["/predict", "/predict/batch"]), body=BODIES)
def test_no_bytes_are_a_server_error(client: TestClient, path: str, body: bytes) -> None:
    """Whatever bytes come, the reply is 200 or a 4xx, strict JSON, and an error has at most 16 KiB."""
    expect_answer_or_refusal(client, path, body)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(path=st.sampled_from(["/predict", "/predict/batch"]), text=STRUCTURES)
def test_no_structure_is_a_server_error(
    client: TestClient, caplog: pytest.LogCaptureFixture, path: str, text: str
) -> None:
    """However deep, large or mixed a JSON body is, the reply is 200 or a 4xx, and no decoder fails unexpectedly."""
    expect_answer_or_refusal(client, path, text.encode())
    assert "a decoder failed" not in caplog.text


@pytest.mark.parametrize("depth", [100, 1000, 100_000])
@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
def test_unknown_field_nested_deeply_is_refused(client: TestClient, path: str, depth: int) -> None:
    """A row with an unknown field is refused with 422, however deeply that field is nested."""
    row = f'{ROW_START}, "unknown": {"[" * depth}{"]" * depth}}}'
    body = row if path == "/predict" else f'{{"records": [{row}]}}'
    response = client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 422


@pytest.mark.parametrize("error", [RecursionError(), MemoryError(), OverflowError(), KeyError(1), SystemError()])
def test_any_exception_of_a_decoder_is_a_refusal(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    """Whatever exception decoding raises, the caller gets a 422 and the log one line."""

    def fail(*_: object) -> bool:
        raise error

    monkeypatch.setattr("tabserve.web.codecs.json_requests.has_long_number", fail)
    body = json.dumps(ROW, indent=40)  # long enough to be looked at twice
    response = client.post("/predict", content=body, headers={"Content-Type": "application/json"})
    assert (response.status_code, response.json()["detail"][0]["loc"]) == (422, ["body"])
    assert caplog.text.count("a decoder failed") == 1


def expect_answer_or_refusal(client: TestClient, path: str, body: bytes) -> None:
    response = client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert response.status_code in (200, 413, 422), response.text[:500]
    json.loads(response.content, parse_constant=pytest.fail)
    assert response.status_code == 200 or len(response.content) <= 16 * 1024
