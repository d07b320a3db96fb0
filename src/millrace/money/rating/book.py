"""What a price is, and how one `[[prices]]` table of millrace.toml (or of `millrace price import FILE`) is read.

A price is an integer of nano-units per 1,000,000 tokens. A version is immutable; a change is a new version with an
effective date of its own. `batch_ppm` is kept with the version, but nothing here applies it: no request is a batch yet.
"""

import tomllib
from collections.abc import Mapping
from datetime import date
from typing import Final

from msgspec import Struct

from millrace.base.errors import Reason, Refusal
from millrace.base.money import NANO, parse_amount, parse_currency
from millrace.base.times import parse_time

PPM: Final = 1_000_000

PRICE_MAX: Final = 1_000_000 * NANO
"""One whole unit of a currency a token: more is a slip of the pen, and up to it no request can overflow an account."""

_PRICES = ("input", "cached_input", "output")
PRICE_KEYS = frozenset({"model", "currency", "effective_from", "batch_multiplier", "tiers", *_PRICES})
TIER_KEYS = frozenset({"up_to_input_tokens", *_PRICES})


class PriceTier(Struct, frozen=True):
    """Nano-units per 1,000,000 tokens, for requests of at most so many input tokens. The last tier has no upper end."""

    up_to_input_tokens: int | None
    input: int
    cached_input: int
    output: int


class NewPrice(Struct, frozen=True, kw_only=True):
    """A price as somebody wrote it down; `effective_from` None: from the moment it is imported."""

    model: str
    currency: str
    tiers: tuple[PriceTier, ...]
    effective_from: int | None = None
    batch_ppm: int = PPM


class PriceVersion(Struct, frozen=True, kw_only=True):
    """A price in the book, for good. The id reads like 'qwen3-max/CNY/v3' and stands on every receipt that it rated."""

    id: str
    model: str
    currency: str
    version: int
    effective_from: int
    tiers: tuple[PriceTier, ...]
    batch_ppm: int = PPM


def priced_model(price_id: str) -> str:
    """Whose price a version is, by its id. A model that was tuned on it has the same price."""
    return price_id.rsplit("/", 2)[0]


def parse_price_file(text: str) -> list[NewPrice]:
    """A TOML file of `[[prices]]` tables and nothing else, in the order in which they take effect."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _refusal("prices", f"this is not TOML: {error}") from None
    _refuse_strangers(tables, frozenset({"prices"}), "the price file")
    return parse_prices(tables.get("prices"))


def parse_prices(tables: object) -> list[NewPrice]:
    """The value of `prices`. Several of one model and currency must each have a date; they come back in its order."""
    if not isinstance(tables, list) or not tables:
        raise _refusal("prices", "there is no price here; write one as a [[prices]] table")
    prices: list[NewPrice] = []
    for index, table in enumerate(tables):
        where = f"prices[{index}]"
        if not isinstance(table, dict):
            raise _refusal(where, "write it as a [[prices]] table")
        prices.append(parse_price(table, where=where))
    _refuse_doubles(prices)
    return sorted(prices, key=lambda price: price.effective_from or 0)


def parse_price(mapping: Mapping[str, object], *, where: str) -> NewPrice:
    """One `[[prices]]` table, flat or with tiers. `where` (such as 'prices[0]') opens the sentence of each refusal.

    A price comes from a file, so every refusal is a BAD_SETTING, those of an amount, currency or date included.
    """
    _refuse_strangers(mapping, PRICE_KEYS, where)
    try:
        return NewPrice(
            model=_model(mapping, where),
            currency=parse_currency(_text(mapping, "currency", where), param=f"{where}.currency"),
            tiers=_tiers(mapping, where),
            effective_from=_effective_from(mapping, where),
            batch_ppm=_batch_ppm(mapping, where),
        )
    except Refusal as refusal:
        raise Refusal(Reason.BAD_SETTING, refusal.sentence, param=refusal.param) from None


def _model(mapping: Mapping[str, object], where: str) -> str:
    model = _text(mapping, "model", where)
    if not model or any(letter.isspace() for letter in model):
        raise _refusal(f"{where}.model", f"{model!r} is not a model's name; write it without blanks")
    return model


def _tiers(mapping: Mapping[str, object], where: str) -> tuple[PriceTier, ...]:
    if "tiers" not in mapping:
        return (_tier(mapping, None, where),)
    doubled = [name for name in _PRICES if name in mapping]
    if doubled:
        raise _refusal(f"{where}.{doubled[0]}", "a price has either tiers or prices of its own; move it into a tier")
    tables = mapping["tiers"]
    if not isinstance(tables, list) or not tables:
        raise _refusal(f"{where}.tiers", "write each tier as a [[prices.tiers]] table")
    tiers: list[PriceTier] = []
    for index, table in enumerate(tables):
        place = f"{where}.tiers[{index}]"
        if not isinstance(table, dict):
            raise _refusal(place, "write it as a [[prices.tiers]] table")
        _refuse_strangers(table, TIER_KEYS, place)
        tiers.append(_tier(table, _up_to(table, place), place))
    _refuse_disorder(tiers, where)
    return tuple(tiers)


def _tier(mapping: Mapping[str, object], up_to: int | None, where: str) -> PriceTier:
    full = _price(mapping, "input", where)
    cached = _price(mapping, "cached_input", where) if "cached_input" in mapping else full
    return PriceTier(up_to, full, cached, _price(mapping, "output", where))


def _up_to(mapping: Mapping[str, object], where: str) -> int | None:
    up_to = mapping.get("up_to_input_tokens")
    if up_to is None:
        return None
    if not isinstance(up_to, int) or isinstance(up_to, bool) or up_to < 1:
        raise _refusal(f"{where}.up_to_input_tokens", f"{up_to!r} is not a number of tokens such as 32768")
    return up_to


def _refuse_disorder(tiers: list[PriceTier], where: str) -> None:
    reached = 0
    for index, tier in enumerate(tiers):
        place = f"{where}.tiers[{index}].up_to_input_tokens"
        if tier.up_to_input_tokens is None:
            if index != len(tiers) - 1:
                raise _refusal(place, "it is missing; only the last tier may go without")
        elif tier.up_to_input_tokens <= reached:
            raise _refusal(place, f"{tier.up_to_input_tokens} is not above {reached}; write tiers in ascending order")
        else:
            reached = tier.up_to_input_tokens


def _price(mapping: Mapping[str, object], key: str, where: str) -> int:
    price = parse_amount(_text(mapping, key, where), param=f"{where}.{key}")
    if not 0 <= price <= PRICE_MAX:
        raise _refusal(f"{where}.{key}", f"{mapping[key]} is not a price between 0 and {PRICE_MAX // NANO}")
    return price


def _batch_ppm(mapping: Mapping[str, object], where: str) -> int:
    if "batch_multiplier" not in mapping:
        return PPM
    place = f"{where}.batch_multiplier"
    ppm, rest = divmod(parse_amount(_text(mapping, "batch_multiplier", where), param=place), NANO // PPM)
    if rest or not 0 <= ppm <= PPM:
        raise _refusal(place, f"{mapping['batch_multiplier']} is not a factor between 0 and 1 with at most six places")
    return ppm


def _effective_from(mapping: Mapping[str, object], where: str) -> int | None:
    """A TOML date is midnight UTC; a TOML time or a text must say its time zone."""
    place = f"{where}.effective_from"
    value = mapping.get("effective_from")
    if value is None:
        return None
    if isinstance(value, date):  # a datetime is a date too
        return parse_time(value.isoformat(), param=place)
    if not isinstance(value, str):
        raise _refusal(place, f"{value!r} is not a date such as 2026-12-01 or a time such as 2026-12-01T00:00:00Z")
    return parse_time(value, param=place)


def _text(mapping: Mapping[str, object], key: str, where: str) -> str:
    value = mapping.get(key)
    if value is None:
        raise _refusal(f"{where}.{key}", "it is missing")
    if not isinstance(value, str):
        kind = "a float, and money is never one" if isinstance(value, float) else "not text"
        raise _refusal(f"{where}.{key}", f'{value!r} is {kind}; write it as a string: {key} = "{value}"')
    return value


def _refuse_strangers(mapping: Mapping[str, object], known: frozenset[str], where: str) -> None:
    for key in mapping:
        if key not in known:
            raise _refusal(where, f"{key!r} is not known here; known are {', '.join(sorted(known))}")


def _refuse_doubles(prices: list[NewPrice]) -> None:
    """Without dates the order of two prices would change with the day on which the file is read."""
    seen: dict[tuple[str, str], set[int | None]] = {}
    for price in prices:
        dates = seen.setdefault((price.model, price.currency), set())
        if dates and (price.effective_from is None or None in dates or price.effective_from in dates):
            sentence = f"{price.model} has several prices in {price.currency}; give each an effective_from of its own"
            raise _refusal("prices", sentence)
        dates.add(price.effective_from)


def _refusal(where: str, sentence: str) -> Refusal:
    return Refusal(Reason.BAD_SETTING, f"{where}: {sentence}", param=where)
