"""A client of the API, and the served model as the API describes it."""

import contextlib
import json
from collections.abc import Callable
from functools import cached_property
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import requests

from api_checks.expectations import ANSWER_TYPES, RECORD_TYPES, expect_status, strict_json

Row = dict[str, Any]

IRIS_FEATURES = {"sepal_length", "sepal_width", "petal_length", "petal_width"}


def new_session() -> requests.Session:
    """A session that ignores the proxies that the environment names."""
    session = requests.Session()
    session.trust_env = False
    return session


class Api:
    """The API under test, at its address."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.session = new_session()

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.session.get(self.url + path, timeout=30, **options)

    def json(self, path: str) -> Any:
        """The strict JSON of a GET that must succeed."""
        return strict_json(expect_status(self.get(path), 200))

    def post(self, path: str, body: object, content_type: str | None = "application/json") -> requests.Response:
        """POSTs bytes as they are, anything else as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": content_type} if content_type else {}
        return self.session.post(self.url + path, data=data, headers=headers, timeout=60)

    def predict(self, values: Row) -> Any:
        """The reply to a row that must be predicted."""
        return strict_json(expect_status(self.post("/predict", values), 200))

    @cached_property
    def model(self) -> "ServedModel":
        return ServedModel(self)

    def body_limit(self) -> int:
        """The largest body of /predict in bytes, as this server documents it."""
        return int(self.json("/openapi.json")["paths"]["/predict"]["post"]["x-max-body-bytes"])

    def row_limit(self) -> int:
        """The most rows of a batch, as this server documents it."""
        schemas = self.json("/openapi.json")["components"]["schemas"]
        return int(schemas["BatchByRecords"]["properties"]["records"]["maxItems"])

    def status_of_unfinished(self, path: str, body: bytes) -> int:
        """The status of a POST that announces no length, sends `body`, and never says that the body is complete."""
        address = urlsplit(self.url)
        connection = HTTPConnection(address.hostname or "", address.port or 80, timeout=30)
        with contextlib.closing(connection):
            connection.putrequest("POST", address.path + path)
            connection.putheader("Content-Type", "application/json")
            connection.putheader("Transfer-Encoding", "chunked")
            connection.endheaders()
            connection.send(b"%x\r\n%b\r\n" % (len(body), body))
            return connection.getresponse().status

    def expect_nothing_recorded(self, send: Callable[[], None]) -> None:
        """Expects that `send` changes neither the history nor the counters of predictions.

        Other clients may be predicting at the same time, so it has three tries.
        """
        for _ in range(3):
            before = self._recorded()
            send()
            after = self._recorded()
            if before == after:
                return
        raise AssertionError(f"refused input changed the recorded predictions from {before} to {after}")

    def _recorded(self) -> tuple[int, int, str | None]:
        history = self.json("/predictions/history?limit=1")
        newest = history["predictions"][0]["prediction_id"] if history["predictions"] else None
        return self.json("/metrics")["predictions_total"], history["total"], newest


class ServedModel:
    """The model as the API describes it, and rows for it.

    Attributes:
        task: `classification` or `regression`.
        names: of the features, in the order of the model.
        numbers, categories, booleans, dates: the features of each kind, by name, as /model/info shows them.
        required: the names of the features that can't be left out.
        rows: three valid rows: the documentation's example, the smallest and the largest values seen in training.
    """

    def __init__(self, api: Api) -> None:
        info = api.json("/model/info")
        features = info["features"]
        self.task: str = info["task"]
        self.names: list[str] = [feature["name"] for feature in features]
        by_kind: dict[str, dict[str, Any]] = {"number": {}, "category": {}, "boolean": {}, "date": {}}
        for feature in features:
            by_kind[feature["kind"]][feature["name"]] = feature
        self.numbers, self.categories = by_kind["number"], by_kind["category"]
        self.booleans, self.dates = by_kind["boolean"], by_kind["date"]
        self.required: list[str] = [feature["name"] for feature in features if not feature["missing"]]
        self.example: Row = api.json("/openapi.json")["components"]["schemas"]["PredictRequest"]["examples"][0]
        self.rows = [self.example, self._row("minimum", 0, "first"), self._row("maximum", -1, "last")]

    def _row(self, number: str, category: int, date: str) -> Row:
        values = {name: feature[number] for name, feature in self.numbers.items()}
        values |= {name: list(feature["categories"])[category] for name, feature in self.categories.items()}
        values |= dict.fromkeys(self.booleans, category == 0)
        values |= {name: feature[date] for name, feature in self.dates.items()}
        return {name: values[name] for name in self.names}

    @property
    def reply_types(self) -> dict[str, set[type]]:
        """The keys of a reply of /predict."""
        return ANSWER_TYPES[self.task] | RECORD_TYPES

    def answer(self, reply: Row) -> Row:
        """The answer in a reply of /predict."""
        return {key: reply[key] for key in ANSWER_TYPES[self.task]}

    @property
    def is_of_iris(self) -> bool:
        return set(self.names) == IRIS_FEATURES

    @property
    def field(self) -> str:
        """A feature to break: a number if there is one, since most can be wrong with a number."""
        return next(iter(self.numbers), self.names[0])

    def unusual(self) -> Row:
        """The example with one number far outside the range seen in training."""
        feature = self.numbers[self.field]
        return self.example | {self.field: feature["maximum"] + 10 * (feature["maximum"] - feature["minimum"]) + 1}

    def body(self, **changed: str) -> bytes:
        """The example as JSON, with the raw text of some values changed."""
        values = {name: json.dumps(value) for name, value in self.example.items()} | changed
        return ("{" + ",".join(f"{json.dumps(name)}:{value}" for name, value in values.items()) + "}").encode()

    def body_with(self, members: str) -> bytes:
        """The example as JSON, with the raw text of more members."""
        return self.body()[:-1] + f",{members}}}".encode()
