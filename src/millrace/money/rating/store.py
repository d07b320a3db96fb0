"""The price book in the database, and the gateway's view of it."""

from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from millrace.base.clock import NS_PER_S, Clock
from millrace.base.errors import Reason, Refusal
from millrace.base.flights import Flights
from millrace.base.times import render_time
from millrace.money.rating.book import NewPrice, PriceTier, PriceVersion
from millrace.store.database import Database
from millrace.store.named import Queries
from millrace.store.transaction import Tx

_SQL = Queries("millrace.money.rating")

FRESH_NS: Final = NS_PER_S
"""How long a price is used before it is read again: by then a version that another process imported is seen."""

_NEVER: Final = 2**63 - 1


class _Components(Struct, frozen=True):
    """The immutable part of a version, as its canonical JSON holds it."""

    tiers: tuple[PriceTier, ...]
    batch_ppm: int


def import_price(tx: Tx, new: NewPrice, now: int) -> tuple[PriceVersion, bool]:
    """Put a price into the book; returns the version that says so and whether it was made now.

    The same components as those in force at its effective date make no new version, so importing a file twice changes
    nothing. A date in the past is refused, since requests were rated since; only the first prices of a model may have
    one, because nothing can have been rated before them.
    """
    instant = now if new.effective_from is None else new.effective_from
    # The number before the prices: whoever imports at the same moment is seen in them, or refused by it.
    newest, first_import = tx.rows(_SQL["history"], model=new.model, currency=new.currency)[0]
    in_force = price_at(tx, new.model, new.currency, instant)
    if in_force is not None and (in_force.tiers, in_force.batch_ppm) == (new.tiers, new.batch_ppm):
        return in_force, False
    if instant < now and first_import is not None and first_import < now:
        raise Refusal(
            Reason.INVALID_REQUEST,
            f"the price of {new.model} in {new.currency} cannot change from {render_time(instant)}: that is past, and "
            "requests were rated since; give it an effective_from in the future, or none for at once",
            param="effective_from",
        )
    version = PriceVersion(
        id=f"{new.model}/{new.currency}/v{(newest or 0) + 1}",
        model=new.model, currency=new.currency, version=(newest or 0) + 1, effective_from=instant,
        tiers=new.tiers, batch_ppm=new.batch_ppm,
    )
    _insert(tx, version, now)
    return version, True


def price_at(tx: Tx, model: str, currency: str, instant: int) -> PriceVersion | None:
    """The version in force at an instant: the one that took effect last."""
    row = tx.row(_SQL["in_force"], model=model, currency=currency, instant=instant)
    return None if row is None else _version(*row)


def price_by_id(tx: Tx, price_id: str) -> PriceVersion:
    """The version that a usage row names. Raises a Refusal for an id that is not in the book."""
    row = tx.row(_SQL["by_id"], id=price_id)
    if row is None:
        raise Refusal(Reason.NOT_FOUND, f"there is no price {price_id}; `millrace price list` shows all")
    return _version(*row)


def all_prices(tx: Tx) -> list[PriceVersion]:
    """Every version of every price, by model, currency and version."""
    return [_version(*row) for row in tx.rows(_SQL["all"])]


class _Cached(NamedTuple):
    version: PriceVersion
    fresh_until: int  # monotonic
    changes_at: int  # wall clock: when the next version known so far takes over


class PriceBook:
    """The prices in force, for the hot path: from memory, read anew each second and when a planned change is due.

    For one event loop, which is not held up where the answer is not known yet.
    """

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._cache: dict[tuple[str, str], _Cached] = {}
        self._reading: Flights[tuple[str, str], PriceVersion] = Flights()

    async def current(self, model: str, currency: str) -> PriceVersion:
        """The version in force now. Raises a Refusal that names model, currency and remedy where there is none."""
        cached = self._cache.get((model, currency))
        clock = self._clock
        if cached is not None and clock.monotonic() < cached.fresh_until and clock.now() < cached.changes_at:
            return cached.version
        return await self._reading.ask((model, currency), lambda: self._read(model, currency))

    async def _read(self, model: str, currency: str) -> PriceVersion:
        """A model without a price is not remembered: an import mends it at once, and unknown names take no memory."""
        now = self._clock.now()
        fresh_until = self._clock.monotonic() + FRESH_NS
        version, changes_at = await self._db.look(lambda tx: _price_and_next_change(tx, model, currency, now))
        if version is None:
            self._cache.pop((model, currency), None)
            raise Refusal(
                Reason.MODEL_NOT_FOUND,
                f"{model} has no price in {currency} yet; the operator adds one with `millrace price import FILE`",
                param="model",
            )
        self._cache[model, currency] = _Cached(version, fresh_until, changes_at)
        return version


def _price_and_next_change(tx: Tx, model: str, currency: str, now: int) -> tuple[PriceVersion | None, int]:
    following: int | None = tx.rows(_SQL["next_change"], model=model, currency=currency, instant=now)[0][0]
    return price_at(tx, model, currency, now), _NEVER if following is None else following


def _insert(tx: Tx, version: PriceVersion, now: int) -> None:
    components = msgspec.json.encode(_Components(version.tiers, version.batch_ppm), order="sorted").decode()
    tx.run(
        _SQL["insert"],
        id=version.id, model=version.model, currency=version.currency, version=version.version,
        effective_from=version.effective_from, components=components, created_at=now,
    )


def _version(id_: str, model: str, currency: str, version: int, effective_from: int, components: str) -> PriceVersion:
    parsed = msgspec.json.decode(components, type=_Components)
    return PriceVersion(
        id=id_, model=model, currency=currency, version=version, effective_from=effective_from,
        tiers=parsed.tiers, batch_ppm=parsed.batch_ppm,
    )
