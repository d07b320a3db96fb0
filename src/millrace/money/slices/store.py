"""Slices in the database. What they hold is in the accounts of the ledger."""

from collections.abc import Collection, Sequence
from typing import Any

from millrace.money.slices.slice import Slice
from millrace.store.named import Queries
from millrace.store.transaction import Tx

_SQL = Queries("millrace.money.slices")


def of_tenants(tx: Tx, tenants: Collection[str]) -> list[Slice]:
    """Everybody's slices of these tenants, in the order they are drawn on; nothing is locked."""
    return [_slice(row) for row in tx.rows(_SQL["of_tenants"], tenants=sorted(tenants))] if tenants else []


def of_epochs(tx: Tx, epochs: Collection[int]) -> list[Slice]:
    """All slices of these servers."""
    return [_slice(row) for row in tx.rows(_SQL["of_epochs"], epochs=sorted(epochs))]


def save(tx: Tx, changed: Collection[Slice]) -> None:
    """Write slices of our own. One that was asked back meanwhile stays so."""
    tx.run_many(_SQL["save"], [
        {
            "account": one.account, "epoch": one.epoch, "tenant_id": one.tenant_id, "currency": one.currency,
            "origin": one.origin, "priority": one.priority, "expires_at": one.expires_at, "used_at": one.used_at,
            "recalled": int(one.recalled),
        }
        for one in changed
    ])  # fmt: skip


def recall(tx: Tx, accounts: Collection[str]) -> None:
    """Ask other servers to give these back."""
    tx.run_many(_SQL["recall"], [{"account": account} for account in sorted(accounts)])


def close(tx: Tx, accounts: Collection[str]) -> None:
    """Nothing is held of these any more, and nothing is left in them."""
    if accounts:
        tx.run(_SQL["close"], accounts=sorted(accounts))


def _slice(row: Sequence[Any]) -> Slice:
    return Slice(*row[:8], recalled=bool(row[8]), free=row[9])  # type: ignore[misc]  # its own columns, in order
