"""Log lines: one line an event, whatever values it has."""

import json
import logging

import pytest

from tabserve.log import JsonFormatter, TextFormatter


def record(**extra: object) -> logging.LogRecord:
    logger = logging.getLogger("tabserve.test")
    return logger.makeRecord(logger.name, logging.WARNING, __file__, 1, "request", (), None, extra=extra)


def test_event_is_one_line_with_its_fields() -> None:
    """A line has the time in UTC, the level, the event and every field."""
    line = TextFormatter().format(record(status=422, path="/predict"))
    assert line.endswith("Z WARNING request status=422 path=/predict")


@pytest.mark.parametrize("value", ["a\nb", 'a" level="x', "a b", "a\x1b[31m", "a=b", "\u2028", ""])
def test_value_cannot_look_like_a_line_or_a_field(value: str) -> None:
    """A value with line ends, quotes, blanks or control characters is quoted, in one line."""
    line = TextFormatter().format(record(path=value))
    assert len(line.splitlines()) == 1
    assert json.loads(line.partition("path=")[2]) == value


def test_json_line_is_one_object() -> None:
    """In the JSON style a line is one object with the same fields; an exception is one of them."""
    try:
        raise ZeroDivisionError("by zero")
    except ZeroDivisionError as error:
        event = record(status=500)
        event.exc_info = (type(error), error, error.__traceback__)
    (line,) = JsonFormatter().format(event).splitlines()
    fields = json.loads(line)
    assert (fields["level"], fields["event"], fields["status"]) == ("warning", "request", 500)
    assert "ZeroDivisionError: by zero" in fields["exception"]
