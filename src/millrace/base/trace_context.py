"""The trace that the running request is part of, for whoever calls another server on its behalf (W3C Trace Context)."""

from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Final

trace_headers: Final[ContextVar[Mapping[str, str]]] = ContextVar("trace_headers", default=MappingProxyType({}))
"""`traceparent` and `tracestate` to send along; none where nothing is traced."""
