"""`millrace model`: what is on offer."""

from typing import Annotated, Final

import typer

from millrace.catalog.catalogue import Catalogue
from millrace.catalog.model import Model
from millrace.cli import forms
from millrace.cli.output import Facts, Table, Text, cell
from millrace.cli.price import price_table
from millrace.cli.shell import Shell, command, group
from millrace.money.rating.book import PriceVersion
from millrace.money.rating.store import all_prices
from millrace.store.transaction import Tx

app: Final = group("model", "The models on offer, as the settings declare them.")

Prices = dict[str, list[PriceVersion]]
"""By model, the prices in force, one for each currency."""


@command(app, "list", example="millrace model list")
def list_(shell: Shell) -> None:
    """Show the models on offer. Whether their engines are ready, the server's /readyz says."""
    models = shell.settings().models
    prices = _prices(shell, models)
    rows = [
        (
            one.name, one.engine, str(one.context_tokens), str(one.max_output_tokens), str(one.slots),
            cell(", ".join(price.id for price in prices[one.name])),
        )
        for one in models
    ]  # fmt: skip
    table = Table(("MODEL", "ENGINE", "CONTEXT", "OUTPUT MAX", "SLOTS", "PRICES"), rows, frozenset({2, 3, 4}))
    shell.show({"models": [forms.model(one, prices[one.name]) for one in models]}, table)


@command(app, "show", example="millrace model show millrace-tiny")
def show(shell: Shell, name: Annotated[str, typer.Argument(metavar="NAME", help="The model's name.")]) -> None:
    """Show one model with the prices in force, per 1,000,000 tokens."""
    one = Catalogue(shell.settings().models).find(name)
    prices = _prices(shell, (one,))[name]
    form = forms.model(one, prices)
    facts = Facts([(key.replace("_", " "), cell(value)) for key, value in form.items() if key != "prices"])
    shell.show(form, facts, Text(""), price_table(prices))


def _prices(shell: Shell, models: tuple[Model, ...]) -> Prices:
    """None where there is no database yet: prices come into the book at the first start."""
    if not shell.has_database():
        return {one.name: [] for one in models}
    now = shell.clock.now()
    with shell.database() as db:
        return db.read(lambda tx: {one.name: _in_force(tx, one.name, now) for one in models})


def _in_force(tx: Tx, model: str, now: int) -> list[PriceVersion]:
    """Of each currency the one that took effect last; of two with one date, the later version."""
    latest: dict[str, PriceVersion] = {}
    for one in all_prices(tx):
        if one.model != model or one.effective_from > now:
            continue
        before = latest.get(one.currency)
        if before is None or before.effective_from <= one.effective_from:
            latest[one.currency] = one
    return list(latest.values())
