"""`[logs]` of millrace.toml: how events are written to stderr, and what is written of each request."""

from enum import StrEnum

from msgspec import Struct

from millrace.settings.table import Table


class Format(StrEnum):
    """How one event is one line."""

    TEXT = "text"
    JSON = "json"


class Logs(Struct, frozen=True, kw_only=True):
    """`[logs]`."""

    format: Format = Format.TEXT
    requests: bool = True
    """A line for each request at its end."""
    prompts: bool = False
    """With what was asked and what was answered in it."""


def parse_logs(table: Table) -> Logs:
    """Raises BAD_SETTING for a form that there is not, and for texts in lines that are not written."""
    default = Logs()
    form = table.text("format", default.format.value)
    if form not in set(Format):
        raise table.refusal("format", f"one of {', '.join(Format)}", form)
    logs = Logs(
        format=Format(form),
        requests=table.flag("requests", default=default.requests),
        prompts=table.flag("prompts", default=default.prompts),
    )
    if logs.prompts and not logs.requests:
        raise table.refusal("prompts", "false where requests = false: the texts stand in the lines of requests", True)
    table.finish()
    return logs
