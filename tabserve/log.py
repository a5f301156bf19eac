"""The log: one line an event, for a terminal or for a collector. Standard library only.

A module logs through `log = logging.getLogger("tabserve.<package>")`: a message that names the event, and its fields as
`extra`. Only a command that serves calls `configure`.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Literal

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}


class TextFormatter(logging.Formatter):
    """`2026-11-23T18:05:50.123Z INFO    model live model_version=20261123_180550`.

    A value that isn't one plain word is quoted, so no value can look like another line or another field.
    """

    def format(self, record: logging.LogRecord) -> str:
        words = [_timestamp(record), f"{record.levelname:7}", _one_line(record.getMessage())]
        words += [f"{name}={_quoted(value)}" for name, value in _fields(record).items()]
        return " ".join(words) + _traceback(self, record)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `time`, `level`, `event`, the fields of the event, and `exception` if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        event: dict[str, Any] = {
            "time": _timestamp(record),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        event |= _fields(record)
        if traceback := _traceback(self, record):
            event["exception"] = traceback.strip()
        return json.dumps(event, default=str)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """The fields that were logged as `extra`."""
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def _timestamp(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _one_line(text: str) -> str:
    return text.replace("\r", "\\r").replace("\n", "\\n")


def _quoted(value: object) -> str:
    text = str(value)
    plain = text.isprintable() and text and not set(text) & set(' "=\\')
    return text if plain else json.dumps(text)


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    return "\n" + formatter.formatException(record.exc_info) if record.exc_info else ""


def configure(level: str, style: Literal["text", "json"]) -> None:
    """Sends the events of every logger to stderr in this style, but not uvicorn's own line for each request."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in ("tabserve", "uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(level.upper())
    logging.getLogger("uvicorn.access").disabled = True
