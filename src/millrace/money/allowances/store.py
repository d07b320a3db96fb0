"""Budgets and minutes in the database: read and locked, made where nobody made them yet, written back."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeVar

from millrace.base.bucket import NS_PER_MS, Bucket
from millrace.money.allowances.allowance import Budget
from millrace.store.named import Queries
from millrace.store.transaction import Tx

_SQL = Queries("millrace.money.allowances")

Key = tuple[str, str]
"""Key and month, or key and the name of the limit."""

T = TypeVar("T")


def lock_budgets(tx: Tx, wanted: Collection[Key]) -> dict[Key, Budget]:
    """The budgets of these keys and months, nobody else's to change until the transaction ends."""
    return _locked(tx, wanted, _budgets, _open_budgets) if wanted else {}


def save_budgets(tx: Tx, budgets: Mapping[Key, Budget]) -> None:
    tx.run_many(_SQL["set_budget"], [
        {"key_id": key_id, "month": month, "held": one.held, "spent": one.spent}
        for (key_id, month), one in sorted(budgets.items(), key=_by_key)
    ])  # fmt: skip


def lock_buckets(tx: Tx, limits: Mapping[Key, int], now: int) -> dict[Key, Bucket]:
    """The buckets of these keys and names with their limits, locked. One that is not there yet is full."""
    if not limits:
        return {}

    def open_full(tx: Tx, missing: Sequence[Key]) -> None:
        full = [(key_id, name, Bucket.full(limits[key_id, name], now // NS_PER_MS)) for key_id, name in missing]
        tx.run_many(_SQL["open_bucket"], [
            {"key_id": key_id, "name": name, "level": one.level, "at": one.at} for key_id, name, one in full
        ])  # fmt: skip

    found = _locked(tx, limits.keys(), _levels, open_full)
    return {key: Bucket(limit, *found[key]) for key, limit in limits.items()}


def save_buckets(tx: Tx, buckets: Mapping[Key, Bucket]) -> None:
    tx.run_many(_SQL["set_bucket"], [
        {"key_id": key_id, "name": name, "level": one.level, "at": one.at}
        for (key_id, name), one in sorted(buckets.items(), key=_by_key)
    ])  # fmt: skip


def _budgets(tx: Tx, wanted: Collection[Key]) -> dict[Key, Budget]:
    keys, months = sorted({key for key, _ in wanted}), sorted({month for _, month in wanted})
    rows = tx.rows(_SQL["lock_budgets"], keys=keys, months=months)
    return {(row[0], row[1]): Budget(row[2], row[3]) for row in rows}


def _open_budgets(tx: Tx, missing: Sequence[Key]) -> None:
    tx.run_many(_SQL["open_budget"], [{"key_id": key_id, "month": month} for key_id, month in missing])


def _levels(tx: Tx, wanted: Collection[Key]) -> dict[Key, tuple[int, int]]:
    keys = sorted({key for key, _ in wanted})
    return {(row[0], row[1]): (row[2], row[3]) for row in tx.rows(_SQL["lock_buckets"], keys=keys)}


def _locked(
    tx: Tx, wanted: Collection[Key], lock: Callable[[Tx, Collection[Key]], dict[Key, T]],
    make: Callable[[Tx, Sequence[Key]], None],
) -> dict[Key, T]:  # fmt: skip
    """Rows by key; those that nobody made yet are made, by us or by another server at this moment, and locked too."""
    found = lock(tx, wanted)
    missing = sorted(key for key in wanted if key not in found)
    if missing:
        make(tx, missing)
        found = lock(tx, wanted)
    return found


def _by_key(item: tuple[Key, object]) -> Key:
    return item[0]
