"""From a secret to its caller, on the path of every request.

The look-up goes by the SHA-256 of the secret. How long a look-up takes can tell something about hashes, and a hash of
256 random bits tells nothing about a secret that would match it: there is no comparison of secrets that could be timed.

What was found is kept for `ttl_ms`, so a revocation or suspension by another process works within that time. What was
not found is not kept at all: a guess is new each time, and keeping guesses would let a stranger push real callers out.
"""

import hashlib
from collections import OrderedDict
from typing import Final

from millrace.base.clock import Clock
from millrace.base.errors import Reason, Refusal
from millrace.base.flights import Flights
from millrace.store.database import Database
from millrace.tenants.secret import LENGTH, PREFIX
from millrace.tenants.store import caller_with_sha256
from millrace.tenants.values import Caller

TTL_MS: Final = 500
"""The promise is that a revocation works within a second; half of it leaves room for a slow machine."""

ENTRIES_MAX: Final = 20_000
"""Keys in use within the same half second, some 2 kB each; those above it only cost a look-up each time."""


class Directory:
    """Answers who sent a request. For one event loop, which is not held up where the answer is not known yet."""

    def __init__(self, db: Database, clock: Clock, *, ttl_ms: int = TTL_MS, entries_max: int = ENTRIES_MAX) -> None:
        self._db = db
        self._monotonic = clock.monotonic
        self._ttl_ns = ttl_ms * 1_000_000
        self._entries_max = entries_max
        self._entries: OrderedDict[bytes, tuple[Caller, int]] = OrderedDict()  # by digest: caller, good until
        self._looking: Flights[bytes, Caller] = Flights()

    def __len__(self) -> int:
        """Callers kept now."""
        return len(self._entries)

    async def caller(self, secret: str) -> Caller:
        """Whose secret this is.

        Raises INVALID_API_KEY, the same for every cause, TENANT_SUSPENDED or STORE_UNAVAILABLE.
        """
        if len(secret) != LENGTH or not secret.isascii():
            raise _invalid()
        digest = hashlib.sha256(secret.encode()).digest()
        entry = self._entries.get(digest)
        if entry is not None and self._monotonic() < entry[1]:
            self._entries.move_to_end(digest)
            caller = entry[0]
        else:
            if not secret.startswith(PREFIX):
                raise _invalid()
            caller = await self._looking.ask(digest, lambda: self._look_up(digest))
        if caller.tenant.suspended:
            raise Refusal(
                Reason.TENANT_SUSPENDED,
                f"tenant {caller.tenant.name!r} is suspended; ask the operator of this service why",
            )
        return caller

    async def _look_up(self, digest: bytes) -> Caller:
        good_until = self._monotonic() + self._ttl_ns  # counted from before the read, so that its snapshot is not older
        self._entries.pop(digest, None)
        sha256 = digest.hex()
        caller = await self._db.look(lambda tx: caller_with_sha256(tx, sha256))
        if caller is None:
            raise _invalid()
        self._entries[digest] = caller, good_until
        if len(self._entries) > self._entries_max:
            self._entries.popitem(last=False)
        return caller


def _invalid() -> Refusal:
    return Refusal(
        Reason.INVALID_API_KEY,
        "this API key is not valid: it is mistyped, unknown or revoked; "
        "make one with 'millrace key create --tenant NAME' and send it as 'Authorization: Bearer mr_…'",
    )
