"""`millrace model`: what is on offer, and what is pulled."""

from typing import Annotated, Any, Final

import typer

from millrace.catalog.catalogue import Catalogue
from millrace.catalog.model import Model
from millrace.catalog.tuned.values import is_tuned
from millrace.catalog.weights.store import pulls
from millrace.catalog.weights.values import NAME, Manifest
from millrace.cli import forms, model_convert, model_pull, model_push, model_weights
from millrace.cli.model_tuned import show_tuned, tuned_forms, tuned_table
from millrace.cli.model_weights import (
    counted,
    manifest_form,
    pulled_table,
    unfinished_form,
    unfinished_views,
    weights_form,
    weights_views,
)
from millrace.cli.output import Facts, Table, Text, View, cell
from millrace.cli.price import price_table
from millrace.cli.shell import Shell, command, group
from millrace.money.rating.book import PriceVersion
from millrace.money.rating.store import all_prices
from millrace.money.rollups.store import served
from millrace.settings.pulled import weights_of
from millrace.store.transaction import Tx

app: Final = group("model", "The models on offer, as the settings declare them, and those that are pulled.")

Prices = dict[str, list[PriceVersion]]
"""By model, the prices in force, one for each currency."""


@command(app, "list", example="millrace model list")
def list_(shell: Shell) -> None:
    """Show the models on offer and those that are pulled. Whether engines are ready, the server's /readyz says."""
    models = shell.settings().models
    manifests = weights_of(shell.home_path).list()
    prices = _prices(shell, models)
    pull_counts, serve_counts = _counts(shell)
    rows = [
        (
            one.name, one.engine, str(one.context_tokens), str(one.max_output_tokens), str(one.slots),
            cell(", ".join(price.id for price in prices[one.name])),
        )
        for one in models
    ]  # fmt: skip
    table = Table(("MODEL", "ENGINE", "CONTEXT", "OUTPUT MAX", "SLOTS", "PRICES"), rows, frozenset({2, 3, 4}))
    pulled = [
        counted(manifest_form(one), _count(pull_counts, [one.name]), _count(serve_counts, _names(models, one.name)))
        for one in manifests
    ]
    form: dict[str, Any] = {
        "models": [forms.model(one, prices[one.name]) for one in models], "pulled": pulled,
        "tuned": tuned_forms(shell), "unfinished": unfinished_form(shell),
    }  # fmt: skip
    views: list[View] = [Text(""), pulled_table(manifests, pulled)] if manifests else []
    views += [Text(""), tuned_table(form["tuned"])] if form["tuned"] else []
    shell.show(form, table, *views, *unfinished_views(shell))


@command(app, "show", example="millrace model show millrace-tiny")
def show(shell: Shell, name: Annotated[str, typer.Argument(metavar="NAME", help="The model's name.")]) -> None:
    """Show one model: on offer with the prices in force, per 1,000,000 tokens; pulled with its files and what it needs."""
    models = shell.settings().models
    offered = next((one for one in models if one.name == name), None)
    if offered is None and is_tuned(name):
        show_tuned(shell, name)
        return
    manifest = pulled_named(shell, name if offered is None else offered.pulled)
    if manifest is None:
        offered = Catalogue(models).find(name)
    form: dict[str, Any] = {"name": name}
    views: list[View] = []
    if offered is not None:
        prices = _prices(shell, (offered,))[name]
        form = forms.model(offered, prices)
        facts = Facts([(key.replace("_", " "), cell(value)) for key, value in form.items() if key != "prices"])
        views = [facts, Text(""), price_table(prices)]
    form["weights"] = None
    if manifest is not None:
        sizes = (None, None) if offered is None else (offered.context_tokens, offered.slots)
        form["weights"] = weights_form(manifest, *sizes)
        views += [*([Text("")] if views else []), *weights_views(form["weights"])]
    shell.show(form, *views)


model_pull.register(app)
model_convert.register(app)
model_push.register(app)
model_weights.register(app)


def pulled_named(shell: Shell, name: str | None) -> Manifest | None:
    """The pulled model of that name, where it can be one's name and there is one."""
    return weights_of(shell.home_path).get(name) if name is not None and NAME.fullmatch(name) else None


def _names(models: tuple[Model, ...], pulled: str) -> list[str]:
    """The names under which a pulled model is on offer."""
    return [one.name for one in models if one.pulled == pulled]


def _counts(shell: Shell) -> tuple[dict[str, int], dict[str, int]] | tuple[None, None]:
    """By model how often it was pulled, and how many requests it served; nothing is known where there is no database."""
    if not shell.has_database():
        return None, None
    with shell.database() as db:
        return db.read(lambda tx: (pulls(tx), served(tx)))


def _count(counts: dict[str, int] | None, names: list[str]) -> int | None:
    return None if counts is None else sum(counts.get(name, 0) for name in names)


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
