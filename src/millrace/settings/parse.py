"""`millrace.toml` → Settings. Nothing is ignored: a section or key is known, or refused with the nearest known one."""

import tomllib
from pathlib import Path
from typing import Final

from msgspec import Struct

from millrace.base.errors import Reason, Refusal
from millrace.catalog import bundled
from millrace.catalog.gguf_header import read_header
from millrace.catalog.model import Model
from millrace.money.rating.book import NewPrice, parse_price, parse_prices
from millrace.settings.limits import RANGES, Limits
from millrace.settings.models import BundledModel, parse_models
from millrace.settings.table import Table

FILE_NAME: Final = "millrace.toml"

FILE_BYTES_MAX: Final = 4 * 1024 * 1024
"""Some 20,000 prices; a larger file is not this one."""

STORE_DEFAULT: Final = "sqlite:///millrace.db"

BUNDLED_PRICE: Final = {
    "model": bundled.NAME, "currency": "CNY", "input": "0.10", "cached_input": "0.02", "output": "0.20",
}
"""Per million tokens: small, as the model is, and not nothing, so that the books have something to balance."""


class Server(Struct, frozen=True, kw_only=True):
    """`[server]`: where to listen. Port 0 takes any free one."""

    host: str = "127.0.0.1"
    port: int = 8000


class Store(Struct, frozen=True, kw_only=True):
    """`[store]`: which database."""

    url: str = STORE_DEFAULT

    def path(self, home: Path) -> Path:
        """The SQLite file; `sqlite:///name` lies in the home, `sqlite:////folder/name` where it says."""
        return home / self.url.removeprefix("sqlite:///")


class Settings(Struct, frozen=True, kw_only=True):
    """All that the operator decides. Each model has a price; a price may wait for its model."""

    server: Server
    store: Store
    models: tuple[Model, ...]
    prices: tuple[NewPrice, ...]
    limits: Limits


def load(home: Path, config: Path | None = None) -> Settings:
    """The settings of a home: `config`, else its millrace.toml, else the defaults. Raises BAD_SETTING."""
    file = config or home / FILE_NAME
    if config is None and not file.exists():
        settings = parse_settings("", where="the defaults")
    else:
        settings = parse_settings(_read(file), where=str(file), folder=file.parent)
    for model in settings.models:
        if model.path is not None:
            _check_weights(model, model.path, str(file))
    return settings


def parse_settings(
    text: str, where: str, *, folder: Path = Path(), bundled_model: BundledModel = bundled.bundled_model
) -> Settings:
    """Parse the text of a file that is called `where` in refusals; model files are relative to `folder`."""
    top = Table(_toml(text, where), where=where)
    server_table, store_table, limits_table = (top.table(name) for name in ("server", "store", "limits"))
    model_tables, price_tables = top.tables("models"), top.raw("prices")
    top.finish()
    server, store, limits = _server(server_table), _store(store_table), _limits(limits_table)
    models = parse_models(model_tables, folder, bundled_model)
    prices = _prices(price_tables, models, where)
    _refuse_unpriced(models, prices, where)
    return Settings(server=server, store=store, models=models, prices=prices, limits=limits)


def _toml(text: str, where: str) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        last = f"at the end, line {text.count(chr(10)) + 1}"
        sentence = str(error).replace("at end of document", last)
        raise Refusal(Reason.BAD_SETTING, f"{where} is not TOML: {sentence}") from None


def _server(table: Table) -> Server:
    default = Server()
    server = Server(host=table.text("host", default.host), port=table.integer("port", 0, 65_535, default.port))
    table.finish()
    return server


def _store(table: Table) -> Store:
    url = table.text("url", STORE_DEFAULT)
    table.finish()
    if url.startswith(("postgres://", "postgresql://")):
        raise table.refusal_unseen("url", f"PostgreSQL comes with a later version; use {STORE_DEFAULT} until then")
    if not url.startswith("sqlite:///") or url.endswith("/"):
        raise table.refusal_unseen("url", f"expected {STORE_DEFAULT} (a file in the home) or such as sqlite:////folder/name.db")
    return Store(url=url)


def _limits(table: Table) -> Limits:
    default = Limits()
    values: dict[str, int | float] = {}
    for name, (low, high) in RANGES.items():
        if name.endswith("_s"):
            values[name] = table.seconds(name, low, high, getattr(default, name))
        else:
            values[name] = table.integer(name, low, high, getattr(default, name))
    table.finish()
    return Limits(**values)  # type: ignore[arg-type]  # RANGES names each field once; a test compares them


def _prices(listed: object, models: tuple[Model, ...], where: str) -> tuple[NewPrice, ...]:
    """What is listed, and the bundled model's own price when it is served and has no other."""
    try:
        prices = [] if listed is None else parse_prices(listed)
    except Refusal as refusal:
        raise Refusal(Reason.BAD_SETTING, f"{where}: {refusal.sentence}") from refusal
    served = any(model.name == bundled.NAME for model in models)
    if served and not any(price.model == bundled.NAME for price in prices):
        prices.append(parse_price(BUNDLED_PRICE, where="the bundled model's price"))
    return tuple(prices)


def _refuse_unpriced(models: tuple[Model, ...], prices: tuple[NewPrice, ...], where: str) -> None:
    """Without a price nothing can be held or billed, so a model without one would refuse each request."""
    priced = {price.model for price in prices}
    for model in models:
        if model.name not in priced:
            raise Refusal(
                Reason.BAD_SETTING,
                f"{where}: model {model.name!r} has no price; add [[prices]] with model = {model.name!r}, currency, "
                "input, cached_input and output per 1,000,000 tokens",
            )


def _read(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            raw = opened.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise Refusal(Reason.BAD_SETTING, f"the settings {file} cannot be read: {error.strerror}") from error
    if len(raw) > FILE_BYTES_MAX:
        raise Refusal(Reason.BAD_SETTING, f"the settings {file} are larger than {FILE_BYTES_MAX} bytes")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refusal(Reason.BAD_SETTING, f"the settings {file} are not UTF-8 (byte {error.start})") from None


def _check_weights(model: Model, path: Path, where: str) -> None:
    trained = read_header(path).context_tokens
    if model.context_tokens > trained:
        raise Refusal(
            Reason.BAD_SETTING,
            f"{where}: model {model.name!r}: context_tokens = {model.context_tokens}: expected at most {trained}, "
            f"what {path.name} was trained for",
        )
