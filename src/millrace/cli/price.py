"""`millrace price`: what tokens cost, in versions that never change."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from millrace.base.errors import Reason, Refusal
from millrace.base.money import render_amount
from millrace.base.times import parse_month, render_time
from millrace.cli import forms
from millrace.cli.output import Table, Text, cell
from millrace.cli.shell import Shell, command, group
from millrace.money.metering import store as metering
from millrace.money.rating import store
from millrace.money.rating.book import NewPrice, PriceVersion, parse_price_file, priced_model
from millrace.money.rating.what_if import Comparison, Rated, what_if
from millrace.store.once import write_once
from millrace.store.transaction import Tx
from millrace.tenants.store import tenants

app: Final = group("price", "The price book: what 1,000,000 tokens cost, by model, currency and length.")

FILE_BYTES_MAX: Final = 4 * 1024 * 1024
"""Some 20,000 prices; a larger file is not a price list."""

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="TOML with [[prices]] tables, as in millrace.toml.")]

HEADINGS: Final = ("PRICE", "FROM", "TO INPUT TOKENS", "INPUT", "CACHED INPUT", "OUTPUT")
NUMBERS: Final = frozenset({2, 3, 4, 5})


@command(app, "list", example="millrace price list")
def list_(shell: Shell) -> None:
    """Show every version of every price; what is charged is the one that took effect last."""
    with shell.database() as db:
        found = db.read(store.all_prices)
    shell.show({"prices": [forms.price(one) for one in found]}, price_table(found))


@command(app, "import", example="millrace price import prices.toml")
def import_(shell: Shell, file: FileArgument) -> None:
    """Take prices into the book: all of the file, or none of it. What stands there already makes no new version."""
    prices = _read(file)

    def work(tx: Tx) -> list[tuple[PriceVersion, bool]]:
        now = shell.clock.now()
        return [store.import_price(tx, price, now) for price in prices]

    with shell.database(make=True) as db:
        answers = write_once(db, work)
    made = [version for version, new in answers if new]
    kept = [version for version, new in answers if not new]
    note = f"Imported {len(made)}, unchanged {len(kept)}."
    shell.show(
        {"imported": [forms.price(one) for one in made], "unchanged": [one.id for one in kept]},
        *([price_table(made)] if made else []),
        Text(note),
    )


@command(app, "what-if", example="millrace price what-if prices.toml --period 2026-11")
def what_if_(
    shell: Shell,
    file: FileArgument,
    period: Annotated[str, typer.Option("--period", metavar="MONTH", help="The month, such as 2026-11.")],
) -> None:
    """Rate a month's requests by other prices and compare. Nothing is changed."""
    prices, month = _read(file), parse_month(period, param="--period")
    with shell.database() as db:
        found = db.read(lambda tx: what_if(_rated(tx, month.start, month.end), prices))
    rows = [(one.model, one.currency, str(one.requests), *_amounts(one)) for one in found]
    table = Table(
        ("MODEL", "CURRENCY", "REQUESTS", "CURRENT", "NEW", "DIFFERENCE"), rows, frozenset({2, 3, 4, 5}),
        empty=f"There was no request in {month.name}.",
    )  # fmt: skip
    shell.show({"period": month.name, "rows": [forms.comparison(one) for one in found]}, table)


def price_table(prices: Sequence[PriceVersion]) -> Table:
    """A line for each tier."""
    rows = [
        (
            version.id, render_time(version.effective_from), cell(tier.up_to_input_tokens),
            render_amount(tier.input), render_amount(tier.cached_input), render_amount(tier.output),
        )
        for version in prices
        for tier in version.tiers
    ]  # fmt: skip
    return Table(HEADINGS, rows, NUMBERS, empty="There is no price yet; 'millrace price import FILE' brings some.")


def _amounts(one: Comparison) -> tuple[str, str, str]:
    return render_amount(one.current), render_amount(one.new), render_amount(one.new - one.current)


def _rated(tx: Tx, start: int, end: int) -> Iterator[Rated]:
    for tenant in tenants(tx):
        for row in metering.in_span(tx, tenant.id, start, end):
            yield Rated(priced_model(row.price_id), row.currency, row.tokens, row.amount)


def _read(file: Path) -> list[NewPrice]:
    try:
        with file.open("rb") as opened:
            raw = opened.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise Refusal(Reason.BAD_SETTING, f"the price file {file} cannot be read: {error.strerror}") from error
    if len(raw) > FILE_BYTES_MAX:
        raise Refusal(Reason.BAD_SETTING, f"the price file {file} is larger than {FILE_BYTES_MAX} bytes")
    try:
        return parse_price_file(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise Refusal(Reason.BAD_SETTING, f"the price file {file} is not UTF-8 (byte {error.start})") from None
    except Refusal as refusal:
        raise Refusal(refusal.reason, f"{file}: {refusal.sentence}", param=refusal.param) from None
