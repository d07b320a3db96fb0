"""Writing what two processes may be asked for at the same moment."""

from collections.abc import Callable
from typing import TypeVar

from millrace.store.database import Database
from millrace.store.transaction import Conflict, Tx

T = TypeVar("T")


def write_once(db: Database, work: Callable[[Tx], T]) -> T:
    """Do work that answers a repetition with what was done first; durable when this returns.

    Where another process does the same at this very moment, neither sees the other's rows until a constraint refuses the
    slower one. Then the faster one's rows are there, and asking again finds them.
    """
    try:
        return db.write_now(work)
    except Conflict:
        return db.write_now(work)
