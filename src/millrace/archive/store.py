"""What a restored database must be told, beside the rows that it got."""

from millrace.store.named import Queries
from millrace.store.transaction import Tx

_SQL = Queries("millrace.archive")


def end_leases(tx: Tx) -> None:
    """No server is alive in a database that was just restored."""
    tx.run(_SQL["end_leases"])
