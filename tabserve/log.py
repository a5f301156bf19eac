"""One line an event, for a terminal or for a collector. Standard library only."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Literal

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}


def fields(record: logging.LogRecord) -> dict[str, Any]:
    """What was given as `extra`."""
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def timestamp(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class TextFormatter(logging.Formatter):
    """`2026-11-23T18:05:50.123Z INFO    model live model_version=20261123_180550`; a value that isn't one plain word is
    quoted, so that no value can look like a line or a field of its own."""

    def format(self, record: logging.LogRecord) -> str:
        words = [timestamp(record), f"{record.levelname:7}", _one_line(record.getMessage())]
        words += [f"{name}={_quoted(value)}" for name, value in fields(record).items()]
        return " ".join(words) + _traceback(self, record)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `time`, `level`, `event`, the event's own fields, and `exception` if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        event: dict[str, Any] = {
            "time": timestamp(record),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        event |= fields(record)
        if traceback := _traceback(self, record):
            event["exception"] = traceback.strip()
        return json.dumps(event, default=str)


def _one_line(text: str) -> str:
    return text.replace("\r", "\\r").replace("\n", "\\n")


def _quoted(value: object) -> str:
    text = str(value)
    plain = text.isprintable() and text and not set(text) & set(' "=\\')
    return text if plain else json.dumps(text)


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    return "\n" + formatter.formatException(record.exc_info) if record.exc_info else ""


def configure(level: str, style: Literal["text", "json"]) -> None:
    """Sends every logger's events to stderr in this style; uvicorn's too, save its own line for each request."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in ("tabserve", "uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(level.upper())
    logging.getLogger("uvicorn.access").disabled = True
