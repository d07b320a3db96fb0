"""`[telemetry]` of millrace.toml: where traces are sent."""

from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

from millrace.settings.table import Table

TRACES_PATH: Final = "/v1/traces"
"""What OTLP over HTTP appends to a collector's base address."""


class Telemetry(Struct, frozen=True, kw_only=True):
    """`[telemetry]`. Without an endpoint nothing is traced."""

    otlp_endpoint: str | None = None

    @property
    def traces_url(self) -> str | None:
        return None if self.otlp_endpoint is None else self.otlp_endpoint + TRACES_PATH


def parse_telemetry(table: Table) -> Telemetry:
    """Raises BAD_SETTING for what is not the base address of a collector; a secret in it is not repeated."""
    endpoint = table.optional_text("otlp_endpoint")
    table.finish()
    if endpoint is None:
        return Telemetry()
    if "@" in endpoint or "?" in endpoint:
        raise table.refusal_unseen(
            "otlp_endpoint", "expected no user, password or query in it; a secret goes into OTEL_EXPORTER_OTLP_HEADERS"
        )
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname or endpoint.rstrip("/").endswith(TRACES_PATH):
        raise table.refusal(
            "otlp_endpoint", f"a collector's base address such as http://127.0.0.1:4318, without {TRACES_PATH}", endpoint
        )
    return Telemetry(otlp_endpoint=endpoint.rstrip("/"))
