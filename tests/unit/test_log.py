"""Log lines: one an event, whatever a caller put into it."""

import json
import logging

import pytest

from tabserve.log import JsonFormatter, TextFormatter


def record(**extra: object) -> logging.LogRecord:
    logger = logging.getLogger("tabserve.test")
    return logger.makeRecord(logger.name, logging.WARNING, __file__, 1, "request", (), None, extra=extra)


def test_an_event_is_one_line_with_its_fields() -> None:
    """A line has the time in UTC, the level, the event, and every field."""
    line = TextFormatter().format(record(status=422, path="/predict"))
    assert line.endswith("Z WARNING request status=422 path=/predict")


@pytest.mark.parametrize("value", ["a\nb", 'a" level="x', "a b", "a\x1b[31m", "a=b", "\u2028", ""])
def test_a_value_cannot_pose_as_a_line_or_a_field(value: str) -> None:
    """Line ends, quotes, blanks and control characters in a value come out quoted, in one line."""
    line = TextFormatter().format(record(path=value))
    assert len(line.splitlines()) == 1
    assert json.loads(line.partition("path=")[2]) == value


def test_json_lines_are_json() -> None:
    """In the other style a line is one JSON object with the same fields, and an exception is one of them."""
    try:
        raise ZeroDivisionError("by zero")
    except ZeroDivisionError as error:
        event = record(status=500)
        event.exc_info = (type(error), error, error.__traceback__)
    (line,) = JsonFormatter().format(event).splitlines()
    found = json.loads(line)
    assert (found["level"], found["event"], found["status"]) == ("warning", "request", 500)
    assert "ZeroDivisionError: by zero" in found["exception"]
