"""A PostgreSQL server for tests: made in a folder of its own, gone without a trace when the tests are done.

It listens on a free port of the loopback and lets everybody in. Started by root it runs as another user, since PostgreSQL
refuses root. It ends with the process that started it, also by `kill -9`: its guard reads from us until there is nobody.
"""

import atexit
import contextlib
import functools
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

import psycopg
import pytest

from millrace import schema
from millrace.store.postgres_database import PostgresDatabase

START_S: Final = 30
STOP_S: Final = 20

FAST: Final = ("fsync=off", "full_page_writes=off", "synchronous_commit=on")
"""For tests that cut no power and kill no machine."""

GUARD: Final = """
exec 3<&0
"$@" & server=$!
{ read line <&3; kill -QUIT $server; } & guard=$!
wait $server
kill $guard
"""
_FOLDERS: Final = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin", "/usr/local/pgsql/bin")


@functools.cache
def programs() -> Path | None:
    """The folder of initdb and postgres; None where there is none."""
    found = shutil.which("initdb")
    places = [Path(found).resolve().parent] if found else []
    for pattern in _FOLDERS:
        places += sorted(Path("/").glob(pattern.lstrip("/")), reverse=True)
    return next((place for place in places if (place / "postgres").exists() and (place / "initdb").exists()), None)


def required() -> Path:
    """The same; without it the test is skipped, or fails where CI says that everything is there."""
    place = programs()
    if place is None:
        reason = "PostgreSQL's programs are missing; on Debian: apt install postgresql"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return place


class Server:
    """One PostgreSQL server. `settings` are such as 'fsync=off'."""

    def __init__(self, settings: tuple[str, ...] = ()) -> None:
        self._bin = required()
        self._user = _user()
        self._settings = settings
        self.folder = Path(tempfile.mkdtemp(prefix="millrace-pg-"))
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)
        if self._user is not None:
            os.chown(self.folder, self._user.pw_uid, self._user.pw_gid)
        try:
            self._make()
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        atexit.register(self.remove)

    def start(self) -> None:
        """Returns when it answers."""
        options = [f"-c{setting}" for setting in (*self._settings, "listen_addresses=127.0.0.1", f"port={self.port}")]
        options += [f"-cunix_socket_directories={self.folder}", "-cmax_connections=60", "-clogging_collector=off"]
        command = [str(self._bin / "postgres"), "-D", str(self._data), *options]
        with (self.folder / "log").open("ab") as log:
            self._process = self._spawn(["/bin/sh", "-c", GUARD, "guard", *command], log)
        self._wait_until_it_answers()

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT ends it in good order, SIGQUIT at once, as a crash would."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            os.kill(int((self._data / "postmaster.pid").read_text().split()[0]), how)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.stdin.close()  # the guard ends it at once
            process.wait(STOP_S)
        process.stdin.close()

    def restart(self, how: signal.Signals = signal.SIGINT) -> None:
        self.stop(how)
        self.start()

    def remove(self) -> None:
        """Stop it and delete its folder. May be called twice."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)
        atexit.unregister(self.remove)

    def url(self, database: str = "postgres", *, user: str = "postgres") -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def ask(self, sql: str, database: str = "postgres") -> list[tuple]:  # type: ignore[type-arg]
        """As the superuser, outside of a transaction."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def new_database(self, template: str = "template0", *, owner: str = "postgres") -> str:
        """The name of a new database, a copy of the template."""
        name = f"test_{next(self._numbers)}"
        self.ask(f"CREATE DATABASE {name} TEMPLATE {template} OWNER {owner} ENCODING 'UTF8' LOCALE 'C'")
        return name

    @functools.cached_property
    def migrated(self) -> str:
        """The name of a database with all tables and no rows, to be copied."""
        name = self.new_database()
        db = PostgresDatabase(self.url(name))
        db.migrate(schema.migrations("postgresql"))
        db.close()
        return name

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _make(self) -> None:
        arguments = ["-D", str(self._data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        made = self._spawn([str(self._bin / "initdb"), *arguments], subprocess.PIPE)
        said, _ = made.communicate(timeout=START_S)
        assert made.returncode == 0, said.decode()

    def _spawn(self, command: list[str], output: IO[bytes] | int) -> subprocess.Popen[bytes]:
        user = self._user
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT, cwd=self.folder, start_new_session=True,
            user=None if user is None else user.pw_uid, group=None if user is None else user.pw_gid,
            extra_groups=None if user is None else [], env={**os.environ, "LC_ALL": "C"},
        )  # fmt: skip

    def _wait_until_it_answers(self) -> None:
        for _ in range(START_S * 20):
            assert self._process is not None
            if self._process.poll() is not None:
                raise AssertionError(f"PostgreSQL does not start: {(self.folder / 'log').read_text()[-2000:]}")
            with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.url(), connect_timeout=2):
                return
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.05)
        raise AssertionError("PostgreSQL does not answer")


@functools.cache
def shared() -> Server:
    """The server of this process, started when the first test asks for it."""
    server = Server(FAST)
    server.start()
    return server


@contextlib.contextmanager
def fresh_database() -> Iterator[PostgresDatabase]:
    """A database with all tables and no rows, gone afterwards."""
    server = shared()
    name = server.new_database(server.migrated)
    db = PostgresDatabase(server.url(name))
    try:
        yield db
    finally:
        db.close()
        server.ask(f"DROP DATABASE {name} WITH (FORCE)")


def _user() -> pwd.struct_passwd | None:
    """Whom the server runs as, where we are root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise AssertionError("PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
