"""The gateway's limits, each with its reason. Bytes, seconds and counts are in the name."""

from typing import Final

from msgspec import Struct

MIB: Final = 1024 * 1024


class Limits(Struct, frozen=True, kw_only=True):
    """`[limits]` of millrace.toml."""

    body_bytes_max: int = 4 * MIB
    """A million tokens of English text, and more than any context here; it is held in memory while it is parsed."""
    header_bytes_max: int = 32 * 1024
    """Twice what browsers and proxies send at most; a key has 46 bytes."""
    header_timeout_s: float = 10.0
    """A client that opens a connection and says nothing must not keep it."""
    body_timeout_s: float = 30.0
    """A full body over a line of 1.2 Mbit/s."""
    keep_alive_s: float = 75.0
    """Longer than the 60 s for which load balancers reuse a connection: they close first and lose no request."""
    connections_max: int = 4096
    """Each costs a file descriptor; four times what may be in flight, since most are idle and kept alive."""
    requests_in_flight_max: int = 1024
    """Working and waiting together, twice the 512 streams that one core serves well; above it: 429 with retry-after."""
    requests_in_flight_per_key_max: int = 256
    """A quarter of all, so that one caller's accident leaves room for others."""
    request_timeout_s: float = 600.0
    """What the official SDKs wait for at most; an answer that takes longer is cut there and billed up to there."""
    idempotency_keys_max: int = 1_000_000
    """Keys kept for each tenant: a day of 11 keyed requests a second, and half a GB of rows."""
    idempotency_bytes_max: int = 1024 * MIB
    """Bytes of answers kept for each tenant, compressed: a thousand of the largest, a million short ones."""
    tuned_models_max: int = 4
    """Tuned models that run at once, each in a process that takes what its base takes, less the weights that they share."""
    tuned_wait_s: float = 20.0
    """What the first caller of a tuned model waits for its engine: some billions of parameters are read by then, and
    proxies give up after 30 to 60 s. Whoever is refused finds it loaded a little later."""
    tuned_idle_s: float = 600.0
    """How long a tuned model that nobody uses stays loaded: a pause in a conversation must not cost its start again."""
    file_bytes_max: int = 64 * MIB
    """Of a file to tune with: some hundred thousand conversations. Its body may come as slowly as `body_timeout_s` a piece."""
    files_bytes_max: int = 1024 * MIB
    """Bytes of all files that a tenant may have at once."""
    drain_s: float = 30.0
    """What a stopping server gives its running answers: the grace that orchestrators give before they kill."""


RANGES: Final[dict[str, tuple[int, int]]] = {
    "body_bytes_max": (1024, 1024 * MIB),
    "header_bytes_max": (1024, MIB),
    "header_timeout_s": (1, 600),
    "body_timeout_s": (1, 3600),
    "keep_alive_s": (0, 3600),
    "connections_max": (1, 1_000_000),
    "requests_in_flight_max": (1, 1_000_000),
    "requests_in_flight_per_key_max": (1, 1_000_000),
    "request_timeout_s": (1, 86_400),
    "idempotency_keys_max": (1, 1_000_000_000),
    "idempotency_bytes_max": (MIB, MIB * MIB),
    "tuned_models_max": (1, 1000),
    "tuned_wait_s": (0, 600),
    "tuned_idle_s": (1, 86_400),
    "file_bytes_max": (1024, 512 * MIB),
    "files_bytes_max": (1024, MIB * MIB),
    "drain_s": (0, 3600),
}
"""The least and the most that can be meant; what lies outside is a typing error."""
