"""Tables for a terminal and for docs/LOG.md, and the conditions that a measurement was made under."""

import os
import platform
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from msgspec import Struct
from rich.console import Console
from rich.table import Table as RichTable

LOG: Final = Path(__file__).parents[1] / "docs" / "LOG.md"

_LOG_HEAD: Final = """\
# Measurements

Newest last. Only ratios within one block mean anything: what is compared ran in turns on the same cores.
"""


class Table(Struct, frozen=True):
    """Rows under headings; the first column is words, the others numbers."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


class Conditions(Struct, frozen=True):
    """Of the machine, when the measurement began."""

    began: str
    cores: int
    processor: str
    load: str
    python: str

    @classmethod
    def now(cls) -> "Conditions":
        return cls(
            began=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            cores=len(os.sched_getaffinity(0)),
            processor=_processor(),
            load=f"{os.getloadavg()[0]:.2f}",
            python=platform.python_version(),
        )

    def sentence(self) -> str:
        return f"{self.began}, {self.cores} cores ({self.processor}), load average before {self.load}, Python {self.python}"


def show(conditions: Conditions, tables: Sequence[Table], remarks: Sequence[str] = ()) -> None:
    """Print to the terminal, plain where it is piped."""
    console = Console(width=None if os.isatty(1) else 140, highlight=False)
    console.print(conditions.sentence())
    for table in tables:
        drawn = RichTable(title=table.title, title_justify="left", caption=table.note or None, caption_justify="left")
        for place, heading in enumerate(table.headings):
            drawn.add_column(heading, justify="right" if place else "left")
        for row in table.rows:
            drawn.add_row(*row)
        console.print(drawn)
    for remark in remarks:
        console.print(remark, soft_wrap=True)


def append(title: str, conditions: Conditions, tables: Sequence[Table], remarks: Sequence[str] = ()) -> None:
    """A dated section at the end of docs/LOG.md, which is begun where there is none."""
    text = LOG.read_text(encoding="utf-8") if LOG.exists() else _LOG_HEAD
    section = [f"## {conditions.began[:10]} {title}", f"{conditions.sentence()}.", *map(_markdown, tables)]
    if remarks:
        section.append("\n".join(f"- {remark}" for remark in remarks))
    LOG.write_text(text.rstrip("\n") + "\n\n" + "\n\n".join(section) + "\n", encoding="utf-8")


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def spread(values: Sequence[float], digits: int = 0) -> str:
    """The median, and the least and the most of the rounds."""
    shown = f"{median(values):,.{digits}f}"
    return shown if len(values) == 1 else f"{shown} ({min(values):,.{digits}f}–{max(values):,.{digits}f})"


def _markdown(table: Table) -> str:
    lines = [f"**{table.title}**", "", "| " + " | ".join(table.headings) + " |"]
    lines.append("|" + "|".join("---" if place == 0 else "---:" for place in range(len(table.headings))) + "|")
    lines += ["| " + " | ".join(row) + " |" for row in table.rows]
    if table.note:
        lines += ["", table.note]
    return "\n".join(lines)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
