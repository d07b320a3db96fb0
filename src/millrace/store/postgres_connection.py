"""How a connection to PostgreSQL is set up, and what its errors come to in our words.

A connection string may have a password in it: nothing here shows one, nor what libpq says of a string that it cannot read.
"""

from typing import Any, Final, NamedTuple

import psycopg
from psycopg import conninfo

from millrace.base.errors import Reason, Refusal
from millrace.store.postgres_values import register
from millrace.store.url import POSTGRES_EXAMPLE

OLDEST: Final = 14
"""Exact times from `extract`, and a verdict on a lost COMMIT; older ones are no longer maintained."""

CONNECT_S: Final = 3
"""libpq takes no less than 2."""

LOCK_TIMEOUT_MS: Final = 10_000
"""Longer than a process that was stopped inside a transaction can hold a row."""

IDLE_TIMEOUT_MS: Final = 2_000
"""What a process that is stopped inside a transaction keeps locked, it keeps for this long: shorter than a gateway's lease."""

NETWORK: Final[dict[str, str]] = {
    "connect_timeout": str(CONNECT_S), "keepalives_idle": "5", "keepalives_interval": "2", "keepalives_count": "3",
    "tcp_user_timeout": "10000", "target_session_attrs": "read-write", "application_name": "millrace",
}
"""A server whose machine is gone is noticed within some ten seconds. The URL may say otherwise."""

PREPARED_MAX: Final = 1_000
"""Statements of a connection that stay prepared: all that there are, with each kind of NULL."""

_SETTINGS: Final = "; ".join((
    "SET timezone = 'UTC'", "SET standard_conforming_strings = on", "SET bytea_output = 'hex'",
    f"SET lock_timeout = {LOCK_TIMEOUT_MS}", f"SET idle_in_transaction_session_timeout = {IDLE_TIMEOUT_MS}",
    "SET tcp_keepalives_idle = 5", "SET tcp_keepalives_interval = 2", "SET tcp_keepalives_count = 3",
    "SET random_page_cost = 1.1",  # rows are looked up by their keys; a plan must not depend on what was on disk at first
))  # fmt: skip

_FACTS: Final = """SELECT current_setting('server_encoding'), current_setting('synchronous_commit'),
  (SELECT system_identifier FROM pg_control_system())::text, left(pg_walfile_name(pg_current_wal_insert_lsn()), 8),
  (SELECT stats_reset FROM pg_stat_bgwriter)::text"""

AGAIN: Final = frozenset({
    "40001", "40P01",  # serialization failure, deadlock
    "57P01", "57P02", "57P03",  # shut down by the administrator or by a crash; starting
    "25006", "25P03", "53300", "55P03",  # read-only after a fail-over; idle for too long; too many connections; a lock
})  # fmt: skip
"""What passes: the transaction is run again, on a new connection if need be."""

READ_ONLY: Final = "25006"

_LASTING: Final = ("53", "58", "XX", "57")
"""Classes of errors that are the server's and not the statement's: resources, system, corruption, an operator."""


class Identity(NamedTuple):
    """Which server, and which life of it: a transaction's number means nothing to another one."""

    system: str
    timeline: str
    recovered: str
    """When its statistics began: they begin anew after a crash."""


class Address:
    """A PostgreSQL connection string. Raises BAD_SETTING, without showing it, when it is none."""

    def __init__(self, url: str) -> None:
        try:
            given = {name: value for name, value in conninfo.conninfo_to_dict(url).items() if value is not None}
        except psycopg.Error:
            raise Refusal(Reason.BAD_SETTING, f"the database's URL cannot be read; expected {POSTGRES_EXAMPLE}") from None
        self._options: dict[str, Any] = {**NETWORK, **given, "client_encoding": "utf8"}

    def __str__(self) -> str:
        """Such as 'PostgreSQL database millrace at db.example', for people."""
        name = self._options.get("dbname") or self._options.get("user") or "of the default name"
        return f"PostgreSQL database {name} at {self._options.get('host') or 'this machine'}"

    def connect(self) -> "psycopg.Connection[tuple[Any, ...]]":
        """A connection without a transaction, with the settings of this file. Raises psycopg's errors, and BAD_SETTING."""
        connection = psycopg.connect(
            **self._options, autocommit=True, prepare_threshold=1, cursor_factory=psycopg.RawCursor
        )
        try:
            connection.prepared_max = PREPARED_MAX
            register(connection)
            connection.execute(_SETTINGS, prepare=False)
            _check(connection, self)
        except BaseException:
            connection.close()
            raise
        return connection



def identity(connection: "psycopg.Connection[Any]") -> Identity:
    row = connection.execute(_FACTS).fetchone()
    assert row is not None
    return Identity(*row[2:])


def is_lost(error: psycopg.Error) -> bool:
    """Is it the server's failure, and not the statement's?"""
    state = error.sqlstate or ""
    return state in AGAIN or state.startswith(_LASTING)


def unavailable(address: Address, error: Exception) -> Refusal:
    """The database cannot be used now; nothing of the refused work was kept."""
    state = getattr(error, "sqlstate", None) or ""
    remedy = next((remedy for start, remedy in _REMEDIES if state.startswith(start)), _REMEDIES[-1][1])
    return Refusal(Reason.STORE_UNAVAILABLE, f"the {address} cannot be used now ({_told(error)}); {remedy}", retry_after_s=1)


_REMEDIES: Final = (
    ("53100", "its disk is full: give it room"),
    ("53200", "its machine has no memory left: give it some, or lower its settings"),
    ("53300", "it has no connection left: raise max_connections, or run fewer servers"),
    ("25006", "it is a replica: name the primary, or both hosts, in the URL"),
    ("55P03", "another transaction holds what this one needs"),
    ("57014", "the question took too long; ask for less"),
    ("", "check that it runs, that it can be reached from here, and that user and password are right"),
)


def _told(error: Exception) -> str:
    """The first line: libpq's name hosts and users, never passwords."""
    said = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    lines = (said or str(error) or type(error).__name__).strip().splitlines()
    return lines[0].strip()


def _check(connection: "psycopg.Connection[Any]", address: Address) -> None:
    version = connection.info.server_version // 10_000
    if version < OLDEST:
        raise Refusal(Reason.BAD_SETTING, f"the {address} is of version {version}; Millrace needs {OLDEST} or newer")
    row = connection.execute("SELECT current_setting('server_encoding'), current_setting('synchronous_commit')").fetchone()
    assert row is not None
    if row[0] != "UTF8":
        raise Refusal(Reason.BAD_SETTING, f"the {address} keeps texts as {row[0]}; make one with ENCODING 'UTF8'")
    if row[1] == "off":
        connection.execute("SET synchronous_commit = on")
