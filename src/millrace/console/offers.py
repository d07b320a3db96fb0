"""What the front page says of each model: its state, its lengths and its prices in every currency of the book."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from millrace.base.clock import NS_PER_S, Clock
from millrace.base.errors import Refusal
from millrace.base.money import render_amount
from millrace.catalog.catalogue import Catalogue
from millrace.catalog.model import Model
from millrace.engines.protocol import Engine, EngineState
from millrace.money.rating.book import PriceTier, PriceVersion
from millrace.money.rating.store import all_prices
from millrace.store.database import Database

FRESH_NS: Final = 2 * NS_PER_S
"""How long the prices on the page are used before the book is read again: a page without a key must cost next to nothing."""

PLACES_MIN: Final = 2

STATES: Final = {
    EngineState.DECLARED: "not started",
    EngineState.LOADING: "loading",
    EngineState.READY: "ready",
    EngineState.DRAINING: "stopping",
    EngineState.STOPPED: "stopped",
    EngineState.FAILED: "not available",
}
"""In words for customers. Why an engine failed is for the operator and not on a public page."""

Price = tuple[str, str, str]
"""Input, cached input and output per 1,000,000 tokens."""


class Line(Struct, frozen=True):
    """One line of a price list; `length` says for which input lengths."""

    currency: str
    length: str
    price: Price


class Offer(Struct, frozen=True, kw_only=True):
    """A model as the page shows it."""

    name: str
    state: str
    ready: bool
    embeds: bool
    context_tokens: str
    max_output_tokens: str
    lines: tuple[Line, ...]
    tiered: bool


class PriceList:
    """The prices in force of the models on offer, read at most every FRESH_NS. None: the book cannot be read now."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._reading = asyncio.Lock()
        self._read_at: int | None = None
        self._in_force: tuple[PriceVersion, ...] | None = None

    async def in_force(self) -> tuple[PriceVersion, ...] | None:
        """Read in a thread of its own: a long book must not keep streams waiting."""
        async with self._reading:
            now = self._clock.monotonic()
            if self._read_at is None or now - self._read_at >= FRESH_NS:
                self._in_force = await asyncio.to_thread(self._read)
                self._read_at = now
            return self._in_force

    def _read(self) -> tuple[PriceVersion, ...] | None:
        try:
            return in_force(self._db.read(all_prices), self._clock.now())
        except Refusal:
            return None


def in_force(versions: Sequence[PriceVersion], now: int) -> tuple[PriceVersion, ...]:
    """Of each model and currency the version that took effect last; of two with one date the later one."""
    found: dict[tuple[str, str], PriceVersion] = {}
    for version in versions:
        before = found.get((version.model, version.currency))
        if version.effective_from <= now and (before is None or _order(version) > _order(before)):
            found[version.model, version.currency] = version
    return tuple(found.values())


def offers(catalogue: Catalogue, engines: Mapping[str, Engine], prices: Sequence[PriceVersion]) -> tuple[Offer, ...]:
    """One for each model of the catalogue, in its order."""
    return tuple(
        _offer(model, engines[model.name], [price for price in prices if price.model == model.name])
        for model in catalogue.models
    )


def shown_amount(nano: int) -> str:
    """'0.10' for 100_000_000: every digit that says something, and two places at least."""
    units, _, places = render_amount(nano).partition(".")
    return f"{int(units):,}.{places.rstrip('0').ljust(PLACES_MIN, '0')}"


def _order(version: PriceVersion) -> tuple[int, int]:
    return version.effective_from, version.version


def _offer(model: Model, engine: Engine, prices: Sequence[PriceVersion]) -> Offer:
    return Offer(
        name=model.name,
        state=STATES[engine.state],
        ready=engine.state is EngineState.READY,
        embeds=engine.embeds,
        context_tokens=f"{model.context_tokens:,}",
        max_output_tokens=f"{model.max_output_tokens:,}",
        lines=tuple(line for price in prices for line in _lines(price)),
        tiered=any(len(price.tiers) > 1 for price in prices),
    )


def _lines(price: PriceVersion) -> list[Line]:
    lines, reached = [], 0
    for tier in price.tiers:
        lines.append(Line(price.currency, _length(tier.up_to_input_tokens, reached), _price(tier)))
        reached = tier.up_to_input_tokens or 0
    return lines


def _length(up_to: int | None, reached: int) -> str:
    if up_to is not None:
        return f"up to {up_to:,}"
    return f"over {reached:,}" if reached else "any length"


def _price(tier: PriceTier) -> Price:
    return shown_amount(tier.input), shown_amount(tier.cached_input), shown_amount(tier.output)
