"""`predict`: what the record of one row holds."""

import re
import time
from datetime import UTC, datetime, timedelta

import pytest

from tabserve.inference import predict
from tabserve.model import ClassOutcome, InputWarning, Predictor, Value

UNKNOWN_COLOUR = InputWarning("colour", "not one of the 3 categories seen in training")
RARE_COLOUR = InputWarning("colour", "too rare in training: the model doesn't tell it from other rare categories")

ISO_8601 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00")


@pytest.mark.parametrize(
    ("inputs", "outcome"),
    [
        ({"size": 1.0, "colour": "red"}, ClassOutcome(0, [0.75, 0.25], 0.75, "no", ("no",), 0.9)),
        ({"size": 6.0, "colour": "blue"}, ClassOutcome(1, [0.25, 0.75], 0.75, "yes", ("yes",), 0.9)),
        ({"size": 6.0, "colour": "red"}, ClassOutcome(0, [0.5, 0.5], 0.5, "no", ("no",), 0.9)),
        ({"size": None, "colour": "blue"}, ClassOutcome(0, [0.75, 0.25], 0.75, "no", ("no",), 0.9)),
        ({"colour": "blue"}, ClassOutcome(0, [0.75, 0.25], 0.75, "no", ("no",), 0.9)),
    ],
)
def test_record_holds_the_decision(predictor: Predictor, inputs: dict[str, Value], outcome: ClassOutcome) -> None:
    """The record has the decision for the row, and the version of the model that made it. There are no warnings for
    values within the training range, nor for missing ones."""
    record = predict(predictor, inputs, time.perf_counter())
    assert record.outcome == outcome
    assert record.model_version == predictor.model_version
    assert record.warnings == ()


@pytest.mark.parametrize(
    "inputs",
    [
        {"size": 6.0, "colour": "green"},
        {"size": 6, "colour": "red"},
        {"colour": "red"},
        {"size": None, "colour": "red"},
        {"colour": "red", "size": 6.0},
    ],
)
def test_record_holds_the_inputs_as_sent(predictor: Predictor, inputs: dict[str, Value]) -> None:
    """An unknown category keeps its text, an integer stays an integer, a missing value is not filled in, and the order
    stays."""
    record = predict(predictor, dict(inputs), time.perf_counter())
    assert list(record.inputs.items()) == list(inputs.items())
    assert [type(value) for value in record.inputs.values()] == [type(value) for value in inputs.values()]


@pytest.mark.parametrize(
    ("inputs", "warnings"),
    [
        ({"size": 10.5, "colour": "red"}, [InputWarning("size", "10.5 is outside the training range 0 to 10")]),
        ({"size": -1.0, "colour": "red"}, [InputWarning("size", "-1 is outside the training range 0 to 10")]),
        ({"size": 6.0, "colour": "green"}, [UNKNOWN_COLOUR]),
        ({"size": 6.0, "colour": "grey"}, [RARE_COLOUR]),
        (
            {"size": 99.0, "colour": "green"},
            [InputWarning("size", "99 is outside the training range 0 to 10"), UNKNOWN_COLOUR],
        ),
    ],
)
def test_value_outside_the_training_range_is_warned_of(
    predictor: Predictor, inputs: dict[str, Value], warnings: list[InputWarning]
) -> None:
    """A number outside the range that training saw, an unknown category, and one that the model doesn't tell from
    others are warned of. The row is predicted all the same."""
    record = predict(predictor, inputs, time.perf_counter())
    assert list(record.warnings) == warnings
    assert isinstance(record.outcome, ClassOutcome)
    assert sum(record.outcome.prediction_proba) == 1


def test_reply_has_the_keys_of_the_contract(predictor: Predictor) -> None:
    """The reply has the decision, the model version, the timestamp, the id and the warnings, and neither inputs nor
    latency."""
    record = predict(predictor, {"size": 6.0, "colour": "green"}, time.perf_counter())
    assert record.reply() == {
        "prediction": 1,
        "prediction_proba": [0.25, 0.75],
        "confidence": 0.75,
        "label": "yes",
        "prediction_set": ("yes",),
        "coverage": 0.9,
        "model_version": predictor.model_version,
        "timestamp": record.timestamp,
        "prediction_id": record.prediction_id,
        "warnings": (UNKNOWN_COLOUR,),
    }


def test_latency_counts_from_the_complete_body(predictor: Predictor) -> None:
    """The latency is in milliseconds, from `started` to the finished prediction."""
    record = predict(predictor, {"colour": "red"}, time.perf_counter() - 2.5)
    assert 2500 < record.latency_ms < 60_000


def test_prediction_ids_are_unique(predictor: Predictor) -> None:
    """Every prediction has an id of its own, of 32 hex digits, even for the same inputs at the same time."""
    ids = {predict(predictor, {"colour": "red"}, 0).prediction_id for _ in range(1000)}
    assert len(ids) == 1000
    assert all(re.fullmatch(r"[0-9a-f]{32}", prediction_id) for prediction_id in ids)


def test_timestamp_is_the_time_of_the_prediction(predictor: Predictor) -> None:
    """The timestamp is the current time in UTC, as ISO 8601 with microseconds."""
    before = datetime.now(UTC)
    timestamp = predict(predictor, {"colour": "red"}, 0).timestamp
    assert ISO_8601.fullmatch(timestamp)
    # two clocks of the system may differ by some milliseconds
    assert before - timedelta(seconds=1) < datetime.fromisoformat(timestamp) < datetime.now(UTC) + timedelta(seconds=1)


@pytest.mark.parametrize(
    ("nanoseconds", "timestamp"),
    [
        (0, "1970-01-01T00:00:00.000000+00:00"),
        (1_733_063_467_000_000_999, "2024-12-01T14:31:07.000000+00:00"),
        (1_733_063_467_000_042_000, "2024-12-01T14:31:07.000042+00:00"),
        (1_733_063_467_999_999_999, "2024-12-01T14:31:07.999999+00:00"),
        (1_733_063_468_000_000_000, "2024-12-01T14:31:08.000000+00:00"),
    ],
)
def test_timestamp_always_has_six_decimals(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch, nanoseconds: int, timestamp: str
) -> None:
    """Microseconds are cut, not rounded, and written with leading and trailing zeros."""
    monkeypatch.setattr(time, "time_ns", lambda: nanoseconds)
    assert predict(predictor, {"colour": "red"}, 0).timestamp == timestamp
