"""Logging, configured here once: to stderr, one line an event, and never a secret in it.

An event may carry fields (`extra={"fields": …}`): in text they follow its name as name=value, in JSON they are members of
its object. What strangers sent can stand in them, so a value that could break its line, or speak to a terminal, is escaped.
"""

import json
import logging
import re
import sys
import time
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from millrace.settings.logs import Format, Logs
from millrace.tenants.secret import LENGTH, PREFIX

_SECRET: Final = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{LENGTH - len(PREFIX)}}}")
_MASK: Final = f"{PREFIX}<secret>"

_PLAIN: Final = re.compile(r"[!#-&(-<>-\[\]-~]+")
"""ASCII that is seen, without quotes, the backslash and =."""

_encode: Final = msgspec.json.Encoder().encode


class _Formatter(logging.Formatter):
    """In UTC. The text of a second is made once for all events in it."""

    _second = -1
    _rendered = ""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802, ARG002 - the standard library's
        second = int(record.created)
        if second != self._second:
            self._rendered = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = second
        return f"{self._rendered}.{int(record.msecs):03d}Z"


class TextFormatter(_Formatter):
    """For people: time, level, logger, event and its fields; a traceback follows on lines of its own."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        return _masked(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the standard library's name
        line = super().formatMessage(record)
        fields = _fields(record)
        return f"{line} {render_fields(fields)}" if fields else line


class JsonFormatter(_Formatter):
    """For programs: one object a line with time, level, logger, event, its fields, and the traceback as `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        event: dict[str, Any] = {
            "time": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "event": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            event["exception"] = self.formatException(record.exc_info)
        return _masked(_encode(event).decode())


def render_fields(fields: Mapping[str, object]) -> str:
    """'a=1 b="two words"'."""
    return " ".join([f"{name}={_value(value)}" for name, value in fields.items()])


def log_to_stderr(logs: Logs = Logs()) -> None:  # noqa: B008 - frozen
    """Our own events from INFO on, those of libraries from WARNING on. Called again it replaces what was set before."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if logs.format is Format.JSON else TextFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    # No line names its thread, process or task, so nobody need look for them.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.getLogger("millrace").setLevel(logging.INFO)
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # its warnings are what strangers send


def _masked(line: str) -> str:
    """With every key masked, also one inside a traceback."""
    return _SECRET.sub(_MASK, line)


def _fields(record: logging.LogRecord) -> Mapping[str, object]:
    fields: Mapping[str, object] = getattr(record, "fields", {})
    return fields


def _value(value: object) -> str:
    text = str(value)
    if isinstance(value, bool):
        return text.lower()
    if isinstance(value, int | float):
        return text
    if _PLAIN.fullmatch(text):
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())
