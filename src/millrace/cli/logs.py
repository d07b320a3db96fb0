"""Logging, configured here once: to stderr, one line an event, and never a secret in it."""

import logging
import re
import sys
import time
from typing import Final

from millrace.tenants.secret import LENGTH, PREFIX

_SECRET: Final = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{LENGTH - len(PREFIX)}}}")


class _Formatter(logging.Formatter):
    """UTC, and with every key masked, also one inside a traceback."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def format(self, record: logging.LogRecord) -> str:
        return _SECRET.sub(f"{PREFIX}<secret>", super().format(record))


def log_to_stderr() -> None:
    """Our own events from INFO on, those of libraries from WARNING on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("millrace").setLevel(logging.INFO)
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # its warnings are what strangers send
