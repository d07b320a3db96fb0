"""The hash chain: each transfer carries the hash of itself and of the one before it, so a changed row is found.

A writer takes a chain that nobody else is writing, so there are as many chains as there were ever writers at once: one on
SQLite. Within a chain the order is that of `seq`.

Not covered: whoever can write the database can make a whole chain anew; note its head elsewhere to notice that too.
"""

from hashlib import sha256
from typing import Final

from msgspec import Struct

GENESIS: Final = bytes(32)
"""What the first transfer of a chain follows."""



class Transfer(Struct, frozen=True):
    """A row of the ledger, without its place in it."""

    id: str
    kind: str
    debit: str
    credit: str
    amount: int
    pending_id: str | None
    at: int


class Chain(Struct):
    """The end of a chain, as it is written on."""

    number: int
    length: int
    head: bytes

    def add(self, row: Transfer) -> bytes:
        """The row's hash, which is the chain's head from now on."""
        self.head = link(self.head, row)
        self.length += 1
        return self.head


def link(previous: bytes, row: Transfer) -> bytes:
    """SHA-256 of the previous hash and the row's fields as text, in order, separated by 0x1F; no pending id is empty."""
    text = f"{row.id}\x1f{row.kind}\x1f{row.debit}\x1f{row.credit}\x1f{row.amount}\x1f{row.pending_id or ''}\x1f{row.at}"
    return sha256(previous + text.encode()).digest()
