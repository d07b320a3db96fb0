"""The home: private, writable, and of one server at a time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from millrace.base.errors import Reason, Refusal
from millrace.settings.home import Home, default_home

SERVER = """
import pathlib, sys
from millrace.settings.home import Home
with Home(pathlib.Path(sys.argv[1])).occupy():
    print("serving", flush=True)
    sys.stdin.read()
"""


def test_a_new_home_is_private(tmp_path: Path) -> None:
    """It is made with all folders above it, and only its owner can look in."""
    home = Home(tmp_path / "a" / "b")
    assert home.path.stat().st_mode & 0o777 == 0o700


def test_an_old_home_stays_as_it_is(tmp_path: Path) -> None:
    """A folder that is there is used with what lies in it."""
    (tmp_path / "millrace.toml").write_text("[server]\n")
    assert (Home(tmp_path).path / "millrace.toml").read_text() == "[server]\n"


@pytest.mark.parametrize("path", ["a file", "a file/home", "a file/deeper/home"])
def test_a_home_that_cannot_be_used_is_refused(tmp_path: Path, path: str) -> None:
    """The sentence names the folder and how to give another."""
    (tmp_path / "a file").touch()
    with pytest.raises(Refusal, match=r"a file.*--home or MILLRACE_HOME") as caught:
        Home(tmp_path / path)
    assert caught.value.reason is Reason.BAD_SETTING


def test_the_lock_is_private(tmp_path: Path) -> None:
    """No other user can take or hold the lock."""
    with Home(tmp_path).occupy():
        assert (tmp_path / "server.lock").stat().st_mode & 0o077 == 0


def test_a_second_server_is_refused(tmp_path: Path) -> None:
    """It is told which process serves, not which one did before; when that has ended, another may."""
    (tmp_path / "server.lock").write_text("1234567890\n")
    home = Home(tmp_path)
    with home.occupy():
        with pytest.raises(Refusal, match=rf"process {os.getpid()}\) serves the home {tmp_path} already") as caught:
            home.occupy()
        assert caught.value.reason is Reason.CONFLICT
    with home.occupy() as again:
        again.release()
        home.occupy().release()


def test_a_command_beside_the_server_is_welcome(tmp_path: Path) -> None:
    """Only servers exclude each other."""
    with Home(tmp_path).occupy():
        assert Home(tmp_path).path == tmp_path


def test_a_server_that_was_killed_leaves_no_lock(tmp_path: Path) -> None:
    """Another process is excluded while it lives, and not after its end, however that came."""
    command = [sys.executable, "-c", SERVER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "serving\n"
        with pytest.raises(Refusal, match=f"process {server.pid}"):
            Home(tmp_path).occupy()
        server.kill()
        server.wait()
    Home(tmp_path).occupy().release()


def test_a_child_does_not_inherit_the_lock(tmp_path: Path) -> None:
    """An engine's process that outlives its server does not keep the home."""
    with Home(tmp_path).occupy():
        child = subprocess.Popen(["sleep", "5"], close_fds=False)
    try:
        Home(tmp_path).occupy().release()
    finally:
        child.kill()
        child.wait()


def test_the_default_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """$MILLRACE_HOME when it says something, else a folder in the user's own."""
    monkeypatch.setenv("HOME", "/home/ann")
    assert default_home({"MILLRACE_HOME": "/srv/mill"}) == Path("/srv/mill")
    assert default_home({"MILLRACE_HOME": "~/mill"}) == Path("/home/ann/mill")
    assert default_home({}) == default_home({"MILLRACE_HOME": ""}) == Path("/home/ann/.millrace")
