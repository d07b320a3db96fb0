"""The pages as one ASGI application.

Not Starlette's application class: that one answers an exception with a page of its own and raises it all the same, and
here the gateway is the outermost loop. A page may be cached by nobody, since it shows the address that it was asked by;
a static file by everybody for ever, since its name carries the hash of its content.
"""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from importlib.resources import files
from typing import Final

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from starlette.responses import Response

import millrace
from millrace.base.clock import Clock
from millrace.catalog.catalogue import Catalogue
from millrace.console.examples import REQUEST_ID, chat_curl, chat_python, curl
from millrace.console.host import base_url
from millrace.console.offers import PriceList, offers
from millrace.console.openapi import document
from millrace.console.reference import forms, refusals, sections
from millrace.engines.protocol import Engine, EngineState
from millrace.gateway.app import RECEIPT
from millrace.gateway.exchange import App, Receive, Scope, Send
from millrace.store.database import Database

Page = Callable[[Scope], Awaitable[Response]]

SECURITY: Final = {
    "content-security-policy": (
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
}

FOREVER: Final = "public, max-age=31536000, immutable"
NEVER: Final = "no-store"
DAY: Final = "public, max-age=86400"

HASH_DIGITS: Final = 12
"""48 bits: enough to tell the versions of one file apart."""

MEDIA_TYPES: Final = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}

ADDRESS: Final = "http://[address]"
"""Stands for the server's address in what is rendered once: a long page must not cost a visitor's stream its pace. What
replaces it needs no escaping in HTML, JSON or quotes (host.py), and its brackets make the shell examples quote it."""

EXAMPLE_MODEL: Final = "millrace-tiny"
"""The name in examples where nothing is on offer."""


class Static:
    """The static files, each under a name with its hash: 'style.css' → '/static/style.3f2a….css'."""

    def __init__(self) -> None:
        self.by_path: dict[str, tuple[bytes, str]] = {}
        self.paths: dict[str, str] = {}
        for file in files("millrace.console").joinpath("static").iterdir():
            stem, _, suffix = file.name.rpartition(".")
            if suffix in MEDIA_TYPES:
                content = file.read_bytes()
                digest = hashlib.sha256(content).hexdigest()[:HASH_DIGITS]
                path = f"/static/{stem}.{digest}.{suffix}"
                self.paths[file.name] = path
                self.by_path[path] = content, MEDIA_TYPES[suffix]


class Pages:
    """The pages of one server. An unknown path gets a 404 page, a method that only reads is all that there is."""

    def __init__(self, catalogue: Catalogue, engines: Mapping[str, Engine], prices: PriceList) -> None:
        self._catalogue = catalogue
        self._engines = engines
        self._prices = prices
        self._static = Static()
        self._document = msgspec.json.encode(document(ADDRESS))
        self._references: dict[str, str] = {}
        self._templates = Environment(
            loader=PackageLoader("millrace.console"), autoescape=select_autoescape(default=True), undefined=StrictUndefined,
            trim_blocks=True, lstrip_blocks=True,
        )  # fmt: skip
        self._templates.globals.update(static=self._static.paths, version=millrace.__version__)
        self._pages: dict[str, Page] = {
            "/": self._front, "/docs": self._reference, "/openapi.json": self._openapi, "/favicon.ico": self._icon,
        }  # fmt: skip

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._answer(scope)
        response.headers.update(SECURITY)
        if scope["method"] == "HEAD":
            response.body = b""  # content-length stays that of the page, as RFC 9110 (9.3.2) has it
        await response(scope, receive, send)

    async def _answer(self, scope: Scope) -> Response:
        path = scope["path"]
        page = self._pages.get(path)
        known = page is not None or path in self._static.by_path
        if known and scope["method"] not in ("GET", "HEAD"):
            return self._render(scope, "missing.html", 405, {"allow": "GET, HEAD"}, title="This page is only read")
        if page is not None:
            return await page(scope)
        if path in self._static.by_path:
            content, media_type = self._static.by_path[path]
            return Response(content, media_type=media_type, headers={"cache-control": FOREVER})
        return self._render(scope, "missing.html", 404, title="There is no such page")

    async def _front(self, scope: Scope) -> Response:
        base = base_url(scope)
        in_force = await self._prices.in_force()
        on_offer = offers(self._catalogue, self._engines, in_force or ())
        model = self._example_model()
        return self._render(
            scope, "front.html", offers=on_offer, book_open=in_force is not None,
            ready=sum(offer.ready for offer in on_offer), tiered=any(offer.tiered for offer in on_offer), base=base,
            curl=chat_curl(base, model), python=chat_python(base, model), receipt=curl(base, RECEIPT.path + REQUEST_ID),
        )  # fmt: skip

    async def _reference(self, scope: Scope) -> Response:
        model = self._example_model()
        if model not in self._references:
            self._references[model] = self._text(
                "reference.html", "/docs", sections=sections(ADDRESS, model), forms=forms(ADDRESS), refusals=refusals(),
                base=ADDRESS,
            )  # fmt: skip
        return _html(self._references[model].replace(ADDRESS, base_url(scope)))

    async def _openapi(self, scope: Scope) -> Response:
        body = self._document.replace(ADDRESS.encode(), base_url(scope).encode())
        return Response(body, media_type="application/json", headers={"cache-control": NEVER})

    async def _icon(self, _scope: Scope) -> Response:
        content, media_type = self._static.by_path[self._static.paths["icon.svg"]]
        return Response(content, media_type=media_type, headers={"cache-control": DAY})

    def _example_model(self) -> str:
        """A model that answers now, else the first one."""
        names = [model.name for model in self._catalogue.models]
        ready = [name for name in names if self._engines[name].state is EngineState.READY]
        return next(iter([*ready, *names]), EXAMPLE_MODEL)

    def _render(
        self, scope: Scope, template: str, status: int = 200, headers: Mapping[str, str] | None = None, **values: object
    ) -> Response:
        return _html(self._text(template, scope["path"], **values), status, headers)

    def _text(self, template: str, here: str, **values: object) -> str:
        return self._templates.get_template(template).render(here=here, **values)


def _html(text: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(text, status, {"cache-control": NEVER, **(headers or {})}, "text/html")


def pages(catalogue: Catalogue, engines: Mapping[str, Engine], db: Database, clock: Clock) -> App:
    """The pages of one server."""
    return Pages(catalogue, engines, PriceList(db, clock))
