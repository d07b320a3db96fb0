"""The pages as one ASGI application."""

from collections.abc import Mapping

from starlette.applications import Starlette

from millrace.base.clock import Clock
from millrace.catalog.catalogue import Catalogue
from millrace.engines.protocol import Engine
from millrace.gateway.exchange import App
from millrace.store.database import Database


def pages(catalogue: Catalogue, engines: Mapping[str, Engine], db: Database, clock: Clock) -> App:
    """The pages of one server."""
    return Starlette()
