"""What a reply must be. Each function raises AssertionError with the difference."""

import json
from typing import Any

import requests

MARKER = "Zk7q-never-echo-me"
"""Stands in bad input; no error may repeat it."""

LARGEST_ERROR = 16 * 1024
"""Bytes of the largest error."""


ANSWER_TYPES: dict[str, dict[str, set[type]]] = {
    "classification": {
        "prediction": {int},
        "prediction_proba": {list},
        "confidence": {float},
        "label": {str, int, float, bool},
    },
    "regression": {"prediction": {float}, "interval": {list}, "coverage": {float}},
}
"""Task → the keys of a reply of /predict that are its answer. The same row gets the same values."""

RECORD_TYPES: dict[str, set[type]] = {
    "model_version": {str},
    "timestamp": {str},
    "prediction_id": {str},
    "warnings": {list},
}
"""The other keys of a reply of /predict."""


def expect(condition: bool, failure: str) -> None:
    if not condition:
        raise AssertionError(failure)


def expect_equal(name: str, actual: object, expected: object) -> None:
    expect(actual == expected, f"{name} is {actual!r}, not {expected!r}")


def expect_status(response: requests.Response, *allowed: int) -> requests.Response:
    expect(response.status_code in allowed, f"status {response.status_code}, not {allowed}: {response.text[:300]}")
    return response


def strict_json(response: requests.Response) -> Any:
    """The body of a reply that is announced as JSON, and is JSON in the strict sense: no NaN, no Infinity."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    expect_equal("the content type", response.headers.get("content-type", "").split(";")[0], "application/json")
    return json.loads(response.content, parse_constant=refuse)


def expect_refusal(response: requests.Response, *statuses: int, field: str | None = None) -> None:
    """Expects a 4xx of a bounded size that names the field and the request, and doesn't repeat the input."""
    allowed = statuses or tuple(range(400, 500))
    expect(response.status_code in allowed, f"status {response.status_code}: {response.text[:200]}")
    expect(len(response.content) <= LARGEST_ERROR, f"the error has {len(response.content)} bytes")
    content = strict_json(response)
    expect(bool(content["detail"]), "detail is empty")
    expect_equal("request_id", content["request_id"], response.headers["x-request-id"])
    expect(MARKER not in response.text, "the error repeats the input")
    if field is not None:
        named = [problem["loc"][-1] for problem in content["detail"]]
        expect(field in named, f"the error names {named}, not {field}")
