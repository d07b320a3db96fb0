"""How often the operator pulled models, in the database."""

from millrace.base.times import day_of
from millrace.store.named import Queries
from millrace.store.transaction import Tx

_SQL = Queries("millrace.catalog.weights")


def count_pull(tx: Tx, model: str, now: int) -> None:
    """One more pull of the model, on the UTC day of `now`."""
    tx.run(_SQL["count_pull"], model=model, day=day_of(now))


def pulls(tx: Tx) -> dict[str, int]:
    """How often each model was pulled."""
    return {str(model): int(count) for model, count in tx.rows(_SQL["pulls"])}
