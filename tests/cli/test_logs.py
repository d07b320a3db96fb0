"""The log's form, and that no key is ever in it."""

import logging
from collections.abc import Iterator

import pytest

from millrace.cli.logs import log_to_stderr
from millrace.tenants.secret import new_secret


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """The logging of the test run itself comes back afterwards."""
    root, ours = logging.getLogger(), logging.getLogger("millrace")
    handlers, level, our_level = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    ours.setLevel(our_level)


def test_a_secret_is_masked_wherever_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    """In a message, in its arguments and in a traceback."""
    log_to_stderr()
    secret = str(new_secret())
    try:
        int(secret)
    except ValueError:
        logging.getLogger("millrace.test").exception("key %s, as in Bearer %s", secret, secret)
    printed = capsys.readouterr().err
    assert secret not in printed
    assert printed.count("mr_<secret>") == 3


def test_our_events_from_info_on_and_libraries_from_warning_on(capsys: pytest.CaptureFixture[str]) -> None:
    """One line each with time (UTC), level and name."""
    log_to_stderr()
    logging.getLogger("millrace.up").info("ours")
    logging.getLogger("uvicorn").info("not ours")
    (line,) = capsys.readouterr().err.splitlines()
    time, level, name, message = line.split()
    assert time.endswith("Z")
    assert (level, name, message) == ("INFO", "millrace.up:", "ours")
