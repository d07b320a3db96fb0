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
from millrace.settings.audit import Audit, parse_audit
from millrace.settings.hub import Hub, parse_hub
from millrace.settings.limits import RANGES, Limits
from millrace.settings.logs import Logs, parse_logs
from millrace.settings.models import BundledModel, parse_models
from millrace.settings.pulled import PulledModel, check_pulled, pulled_in, unknown
from millrace.settings.retention import Retention, parse_retention
from millrace.settings.table import Table
from millrace.settings.telemetry import Telemetry, parse_telemetry
from millrace.settings.tuning import Tuning, parse_tuning
from millrace.store.url import POSTGRES_EXAMPLE, is_postgres, is_postgres_url

FILE_NAME: Final = "millrace.toml"

FILE_BYTES_MAX: Final = 4 * 1024 * 1024
"""Some 20,000 prices; a larger file is not this one."""

STORE_DEFAULT: Final = "sqlite:///millrace.db"

WORKERS_MAX: Final = 64
"""Processes on one machine; more cores are better used by more machines on one PostgreSQL."""

BUNDLED_PRICE: Final = {
    "model": bundled.NAME, "currency": "CNY", "input": "0.10", "cached_input": "0.02", "output": "0.20",
}
"""Per million tokens: small, as the model is, and not nothing, so that the books have something to balance."""

BUNDLED_TUNING_PRICE: Final = {
    "model": f"tune:{bundled.NAME}", "currency": "CNY", "input": "2.00", "cached_input": "2.00", "output": "0",
}
"""Per million tokens trained: twenty times what reading one costs, since each is read, and learned from, in three passes."""

BUNDLED_PRICES: Final = (BUNDLED_PRICE, BUNDLED_TUNING_PRICE)


class Server(Struct, frozen=True, kw_only=True):
    """`[server]`: where to listen. Port 0 takes any free one."""

    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    """Processes that serve the one address."""


class Store(Struct, frozen=True, kw_only=True):
    """`[store]`: which database. The URL may have a password in it: it is shown to nobody."""

    url: str = STORE_DEFAULT

    def place(self, home: Path) -> Path | str:
        """What `schema.open_database` opens: the SQLite file, or the URL of a PostgreSQL database.

        `sqlite:///name` lies in the home, `sqlite:////folder/name` where it says.
        """
        return self.url if is_postgres(self.url) else home / self.url.removeprefix("sqlite:///")

    @property
    def far(self) -> bool:
        """Whether servers on other machines may have the same database."""
        return is_postgres(self.url)

    def __repr__(self) -> str:
        return f"Store(url={'postgresql://…' if is_postgres(self.url) else self.url!r})"


class Settings(Struct, frozen=True, kw_only=True):
    """All that the operator decides. Each model has a price; a price may wait for its model."""

    server: Server
    store: Store
    models: tuple[Model, ...]
    prices: tuple[NewPrice, ...]
    limits: Limits
    logs: Logs = Logs()
    telemetry: Telemetry = Telemetry()
    audit: Audit = Audit()
    retention: Retention = Retention()
    hub: Hub = Hub()
    tuning: Tuning = Tuning()


def load(home: Path, config: Path | None = None) -> Settings:
    """The settings of a home as they are `declared`, with the weights of its models looked at. Raises BAD_SETTING."""
    settings = declared(home, config)
    for model in settings.models:
        check_pulled(model, home, str(settings_file(home, config)))
        check_weights(model, str(settings_file(home, config)))
    return settings


def declared(home: Path, config: Path | None = None) -> Settings:
    """The settings of a home: `config`, else its millrace.toml, else the defaults. Raises BAD_SETTING."""
    file = settings_file(home, config)
    if config is None and not file.exists():
        return parse_settings("", where="the defaults")
    return parse_settings(_read(file), where=str(file), folder=file.parent, pulled_model=pulled_in(home))


def settings_file(home: Path, config: Path | None = None) -> Path:
    """Where the settings of a home stand, if they do."""
    return config or home / FILE_NAME


def parse_settings(
    text: str, where: str, *, folder: Path = Path(), bundled_model: BundledModel = bundled.bundled_model,
    pulled_model: PulledModel = unknown,
) -> Settings:
    """Parse the text of a file that is called `where` in refusals; model files are relative to `folder`."""
    top = Table(_toml(text, where), where=where)
    server_table, store_table, limits_table = (top.table(name) for name in ("server", "store", "limits"))
    logs, telemetry = parse_logs(top.table("logs")), parse_telemetry(top.table("telemetry"))
    audit, retention = parse_audit(top.table("audit")), parse_retention(top.table("retention"))
    hub, tuning = parse_hub(top.table("hub")), parse_tuning(top.table("tuning"))
    model_tables, price_tables = top.tables("models"), top.raw("prices")
    top.finish()
    server, store, limits = _server(server_table), _store(store_table), _limits(limits_table)
    models = parse_models(model_tables, folder, bundled_model, pulled_model)
    prices = _prices(price_tables, models, where)
    _refuse_unpriced(models, prices, where)
    return Settings(
        server=server, store=store, models=models, prices=prices, limits=limits, logs=logs, telemetry=telemetry, audit=audit,
        retention=retention, hub=hub, tuning=tuning,
    )  # fmt: skip


def _toml(text: str, where: str) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        last = f"at the end, line {text.count(chr(10)) + 1}"
        sentence = str(error).replace("at end of document", last)
        raise Refusal(Reason.BAD_SETTING, f"{where} is not TOML: {sentence}") from None


def _server(table: Table) -> Server:
    default = Server()
    server = Server(
        host=table.text("host", default.host), port=table.integer("port", 0, 65_535, default.port),
        workers=table.integer("workers", 1, WORKERS_MAX, default.workers),
    )  # fmt: skip
    table.finish()
    return server


def _store(table: Table) -> Store:
    url = table.text("url", STORE_DEFAULT)
    table.finish()
    if is_postgres(url):
        if not is_postgres_url(url):
            raise table.refusal_unseen("url", f"expected {POSTGRES_EXAMPLE}")
    elif not url.startswith("sqlite:///") or url.endswith("/"):
        raise table.refusal_unseen(
            "url",
            f"expected {STORE_DEFAULT} (a file in the home), such as sqlite:////folder/name.db, or {POSTGRES_EXAMPLE}",
        )
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
    for default in BUNDLED_PRICES:
        if served and not any(price.model == default["model"] for price in prices):
            prices.append(parse_price(default, where="the bundled model's prices"))
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


def check_weights(model: Model, where: str) -> None:
    """Raises BAD_SETTING where a model's file is missing, is none, or was trained for less than is declared."""
    if model.path is None:
        return
    trained = read_header(model.path).context_tokens
    if model.context_tokens > trained:
        raise Refusal(
            Reason.BAD_SETTING,
            f"{where}: model {model.name!r}: context_tokens = {model.context_tokens}: expected at most {trained}, "
            f"what {model.path.name} was trained for",
        )
