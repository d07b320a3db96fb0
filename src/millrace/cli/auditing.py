"""One audit in a process of its own, started by the server: where the books are on stdin, what it found on stdout.

The place may have a password in it, so it is no argument, which everybody on the machine could read.
"""

import contextlib
import os
import sys
import threading
from typing import Final

import msgspec

from millrace import schema
from millrace.base.clock import SystemClock
from millrace.base.errors import Refusal
from millrace.gateway.nightly import Place, Report
from millrace.money.audit.examine import examine
from millrace.money.audit.heads import render_heads

NICE: Final = 19
"""The lowest priority there is: whatever serves requests goes first."""


def main() -> None:
    """Audit what came since the last mark, and print a `Report`."""
    os.nice(NICE)
    place = msgspec.json.decode(sys.stdin.buffer.readline(), type=Place)
    threading.Thread(target=_end_with_the_server, daemon=True).start()
    try:
        with contextlib.closing(schema.connect(place.opened())) as db:
            findings = examine(db, SystemClock().now(), since_mark=True)
    except Refusal as refusal:
        sys.exit(f"millrace audit: {refusal.sentence}")
    report = Report(
        rows=findings.rows, since=findings.since, checks=len(findings.checks), heads=render_heads(findings.heads),
        failed=tuple(f"{check.name}: {check.detail}" for check in findings.checks if not check.ok),
    )  # fmt: skip
    sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")


def _end_with_the_server() -> None:
    """Standard input ends when the server does, however it ends. What was written without a mark counts for nothing."""
    while os.read(0, 1):  # past Python's buffer, whose lock would keep an interpreter that ends from ending
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
