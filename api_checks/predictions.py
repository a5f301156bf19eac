"""/predict and /predict/batch: valid rows get the right answers."""

import re
import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import requests

from api_checks.client import Api, Row, new_session
from api_checks.expectations import (
    MARKER,
    expect,
    expect_equal,
    expect_refusal,
    expect_status,
    strict_json,
)


def test_reply_has_every_key_of_the_contract(api: Api) -> None:
    """A reply of /predict has every key of the contract, each with its type."""
    reply = api.predict(api.model.example)
    for key, types in api.model.reply_types.items():
        expect(key in reply, f"{key} is missing")
        expect(type(reply[key]) in types, f"{key} is {reply[key]!r}, not {', '.join(kind.__name__ for kind in types)}")


def test_version_and_timestamp_are_well_formed(api: Api) -> None:
    """The version is that of the served model, YYYYMMDD_HHMMSS; the timestamp is the time of the prediction, ISO 8601
    in UTC with microseconds."""
    reply = api.predict(api.model.example)
    expect(re.fullmatch(r"\d{8}_\d{6}", reply["model_version"]) is not None, f"version {reply['model_version']!r}")
    expect_equal("model_version", reply["model_version"], api.json("/model/info")["model_version"])
    expect("." in reply["timestamp"], f"{reply['timestamp']} has no microseconds")
    moment = datetime.fromisoformat(reply["timestamp"])
    expect_equal("the offset from UTC", moment.utcoffset(), timedelta(0))
    expect(abs(datetime.now(moment.tzinfo) - moment) < timedelta(minutes=5), f"{reply['timestamp']} is not now")


def test_same_row_gets_the_same_answer(api: Api) -> None:
    """The same row gets the same answer each time, and each prediction has its own id."""
    first, second = api.predict(api.model.example), api.predict(api.model.example)
    if first["model_version"] == second["model_version"]:
        expect_equal("the second answer", api.model.answer(second), api.model.answer(first))
    expect(first["prediction_id"] != second["prediction_id"], "two predictions share an id")


def test_integers_count_as_numbers(api: Api) -> None:
    """A number may be written with or without a decimal point, and the keys may come in any order."""
    point = api.model.example | {name: float(round(api.model.example[name])) for name in api.model.numbers}
    integer = {name: int(value) if name in api.model.numbers else value for name, value in reversed(point.items())}
    answers = [api.model.answer(api.predict(values)) for values in (integer, point)]
    expect_equal("the answer", answers[0], answers[1])


def test_unusual_values_get_a_warning(api: Api) -> None:
    """A number outside the range seen in training is answered with a warning that names the feature; so is an unknown
    category, or it is refused by name if the server is set to refuse."""
    for values in api.model.rows:
        expect_equal("the warnings for values seen in training", api.predict(values)["warnings"], [])
    unusual = [(api.model.field, api.model.unusual())] if api.model.numbers else []
    unusual += [(name, api.model.example | {name: "never seen in training"}) for name in api.model.categories]
    for name, values in unusual:
        response = api.post("/predict", values)
        if name in api.model.categories and response.status_code == 422:
            expect_refusal(response, 422, field=name)
        else:
            warnings = strict_json(expect_status(response, 200))["warnings"]
            expect_equal("the features with a warning", [warning["feature"] for warning in warnings], [name])


def test_optional_features_may_be_left_out(api: Api) -> None:
    """A feature that some rows lacked in training may be null or left out, with one meaning; others are required."""
    for name in set(api.model.names) - set(api.model.required):
        rest = {key: value for key, value in api.model.example.items() if key != name}
        left_out, null = api.predict(rest), api.predict(rest | {name: None})
        expect_equal("the answer without", api.model.answer(left_out), api.model.answer(null))
        expect_equal("warnings", left_out["warnings"], [])
    for name in api.model.required:
        expect_refusal(api.post("/predict", api.model.example | {name: None}), 422, field=name)


def test_concurrent_callers_get_their_own_answers(api: Api) -> None:
    """Two hundred predictions over sixteen connections at the same time each get the answer for their own row."""
    rows = [(api.model.answer(api.predict(values)), values) for values in api.model.rows] * 67
    sessions: defaultdict[int, requests.Session] = defaultdict(new_session)

    def is_right(row: tuple[Row, Row]) -> bool:
        response = sessions[threading.get_ident()].post(f"{api.url}/predict", json=row[1], timeout=60)
        return api.model.answer(expect_status(response, 200).json()) == row[0]

    with ThreadPoolExecutor(16) as pool:
        wrong = sum(not right for right in pool.map(is_right, rows))
    expect_equal("wrong answers", wrong, 0)


def test_batch_is_answered_in_order(api: Api) -> None:
    """A batch, as records or as columns, gets the answers that each row gets alone, in the same order."""
    example, smallest, largest = api.model.rows
    rows = [smallest, api.model.unusual() if api.model.numbers else example, largest, example][: api.row_limit()]
    columns = {name: [row[name] for row in rows] for name in api.model.names}
    alone = [api.predict(row) for row in rows]
    warned = [(number, warning["feature"]) for number, answer in enumerate(alone) for warning in answer["warnings"]]
    for body in ({"records": rows}, {"columns": columns}):
        reply = strict_json(expect_status(api.post("/predict/batch", body), 200))
        for key in api.model.answer(alone[0]):
            answers = [answer[key] for answer in alone]
            expect_equal(key, reply[key], answers if isinstance(reply[key], list) else answers[0])
        expect_equal("rows with a warning", [(w["row"], w["feature"]) for w in reply["warnings"]], warned)


def test_batch_with_one_bad_row_is_refused(api: Api) -> None:
    """One bad row refuses its whole batch; the error names the row and the field, and nothing is recorded."""

    def send() -> None:
        rows, name = api.model.rows[: api.row_limit() - 1], api.model.field
        bad_value = {"never": MARKER}
        response = api.post("/predict/batch", {"records": [*rows, api.model.example | {name: bad_value}]})
        expect_refusal(response, 422, field=name)
        expect_equal("the row", response.json()["detail"][0]["loc"][-2], len(rows))
        if api.row_limit() > 1 and len(api.model.names) > 1:
            uneven = {"columns": {key: [value] * (1 + (key == name)) for key, value in api.model.example.items()}}
            other = next(key for key in api.model.names if key != name)
            expect_refusal(api.post("/predict/batch", uneven), 422, field=name if api.model.names[0] != name else other)
        for empty in (b"{}", b'{"records":[]}', b'{"columns":{}}', b'{"rows":[]}'):
            expect_refusal(api.post("/predict/batch", empty), 422)

    api.expect_nothing_recorded(send)
