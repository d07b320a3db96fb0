"""The URL of a database: which make, and whether it is one. Pure, and without PostgreSQL's library, which takes long to load.

A password may stand in it, better in ~/.pgpass or PGPASSWORD; so nothing here shows a URL.
"""

import re
from typing import Final
from urllib.parse import parse_qsl, urlsplit

POSTGRES_EXAMPLE: Final = "postgresql://user@host:5432/database (the password in ~/.pgpass or PGPASSWORD)"

_SCHEMES: Final = ("postgresql", "postgres")
_NOT_IN_URLS: Final = re.compile(r"[\s\x00-\x1f]|%(?![0-9A-Fa-f]{2})")
_HOST: Final = re.compile(r"(?:[\w.%-]*|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")
_OPTIONS: Final = frozenset({
    "application_name", "channel_binding", "connect_timeout", "gssencmode", "host", "hostaddr", "keepalives",
    "keepalives_count", "keepalives_idle", "keepalives_interval", "krbsrvname", "load_balance_hosts", "options", "passfile",
    "password", "port", "require_auth", "ssl_max_protocol_version", "ssl_min_protocol_version", "sslcert", "sslcompression",
    "sslcrl", "sslcrldir", "sslkey", "sslmode", "sslnegotiation", "sslrootcert", "sslsni", "target_session_attrs",
    "tcp_user_timeout", "user",
})  # fmt: skip
"""What libpq knows, but for what we set ourselves."""


def is_postgres(url: str) -> bool:
    return url.partition("://")[0] in _SCHEMES


def is_postgres_url(url: str) -> bool:
    """Whether libpq will understand it, with one host or several, and a database named.

    An '@' in a password is written %40: libpq takes what follows the first one for the host, and hosts are shown.
    """
    if not is_postgres(url) or _NOT_IN_URLS.search(url):
        return False
    try:
        parts = urlsplit(url)
        asked = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        return False
    hosts = parts.netloc.rpartition("@")[2].split(",")
    return (
        len(parts.path) > 1 and "/" not in parts.path[1:] and not parts.fragment and parts.netloc.count("@") <= 1
        and all(_HOST.fullmatch(host) for host in hosts) and all(name in _OPTIONS for name, _ in asked)
    )  # fmt: skip
