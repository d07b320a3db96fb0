"""The client's Idempotency-Key: how it is read, and the digests that stand in the database in its place. Pure."""

import hashlib
from typing import Final

from millrace.base.errors import Reason, Refusal

KEY_MAX: Final = 255
"""Characters: seven times a UUID, and room for an order's number with its shop's name."""

HEADER: Final = "Idempotency-Key"


def parse_key(header: bytes) -> str:
    """The key as the client wrote it: 1 to KEY_MAX visible ASCII characters, quotes and all. Refuses anything else."""
    if not 1 <= len(header) <= KEY_MAX or not all(0x21 <= byte <= 0x7E for byte in header):
        raise Refusal(
            Reason.INVALID_REQUEST,
            f"{HEADER}: expected 1 to {KEY_MAX} visible ASCII characters without blanks, such as a UUID; got {len(header)}",
            param=HEADER,
        )
    return header.decode("ascii")


def key_digest(tenant_id: str, project_id: str, key: str) -> str:
    """What is stored of a key. Another project's or tenant's same key has another digest: nobody meets a stranger's."""
    return hashlib.sha256("\0".join((tenant_id, project_id, key)).encode()).hexdigest()


def body_digest(route: str, body: bytes) -> str:
    """What is stored of a request: equal for the same bytes sent to the same route, and for nothing else."""
    digest = hashlib.sha256(route.encode() + b"\0")
    digest.update(body)
    return digest.hexdigest()
