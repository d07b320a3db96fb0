"""Where the settings lead to a server."""

from tests.cli.conftest import Cli
from tests.postgresql.cli.conftest import home_on


def test_a_server_that_is_not_there_is_one_line(cli: Cli) -> None:
    """A wrong port is a refusal that names the database, and the password in the URL is nowhere."""
    home_on(cli.home, "postgresql://ann:hunter2@127.0.0.1:1/books")
    sentence = cli.refused("tenant", "list")
    assert sentence.startswith("the PostgreSQL database books at 127.0.0.1 cannot be used now")
    assert "hunter2" not in sentence
