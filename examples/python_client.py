# /// script
# requires-python = ">=3.11"
# dependencies = ["requests"]
# ///
"""Predicts one row and a batch over HTTP, and handles a refusal. Needs nothing but `requests`.

    python api.py                                                        in one terminal
    python examples/python_client.py                                     in another one
    python examples/python_client.py --url http://localhost:8000         the same, with the address of the server

The rows are Iris flowers. For a model of your own table, change ROWS: the features and their names are in `/docs`.
"""

import argparse
import sys
import time
from typing import Any

import requests

ROWS = [
    {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2},
    {"sepal_length": 6.7, "sepal_width": 3.1, "petal_length": 5.7, "petal_width": 2.3},
]

TRIES = 3
"""Attempts while the server answers 503, which means: no model can be served now, try again."""


class RefusedError(Exception):
    """The server refused the request. The message names the fields that are wrong, and the request's id in the log."""


def post(session: requests.Session, url: str, body: object) -> dict[str, Any]:
    """Sends JSON and returns the reply. Waits and tries again on a 503.

    Raises:
        RefusedError: the server answered with another status than 200.
        requests.RequestException: no server answered.
    """
    for _ in range(TRIES):
        response = session.post(url, json=body, timeout=30)
        if response.status_code != 503:
            break
        time.sleep(float(response.headers.get("Retry-After", "5")))
    content: dict[str, Any] = response.json()
    if response.status_code == 200:
        return content
    detail = content["detail"]  # one text; of a 422 a list of problems, each with the path to its field
    if isinstance(detail, list):
        detail = "; ".join(f"{'.'.join(map(str, problem['loc'][1:]))}: {problem['msg']}" for problem in detail)
    raise RefusedError(f"status {response.status_code}: {detail} (request {content['request_id']})")


def main() -> int:
    parser = argparse.ArgumentParser(description="Predict one row and a batch over HTTP, and handle a refusal.")
    parser.add_argument("--url", default="http://localhost:8000", help="address of the server (default: %(default)s)")
    url = parser.parse_args().url.rstrip("/")

    with requests.Session() as session:  # keeps its connection open: the next request is faster
        try:
            one = post(session, f"{url}/predict", ROWS[0])
            print(f"one row:   {one['label']}, confidence {one['confidence']:.2f}, by model {one['model_version']}")
            for warning in one["warnings"]:
                print(f"           warning: {warning['feature']}: {warning['message']}")

            many = post(session, f"{url}/predict/batch", {"records": ROWS})
            for number, (label, confidence) in enumerate(zip(many["label"], many["confidence"], strict=True)):
                print(f"batch:     row {number}: {label}, confidence {confidence:.2f}")
        except (RefusedError, requests.RequestException) as error:
            print(f"python_client.py: {error}", file=sys.stderr)
            return 1

        name = next(iter(ROWS[0]))
        try:
            post(session, f"{url}/predict", ROWS[0] | {name: "a text"})
        except RefusedError as refusal:
            print(f"a refusal: {refusal}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
