"""`millrace up`: the command. What it does is in serving.py, which imports a whole server and is only read by this one."""

from typing import Annotated

import typer

from millrace.cli.logs import log_to_stderr
from millrace.cli.shell import Shell, command
from millrace.settings.parse import WORKERS_MAX

HostOption = Annotated[
    str | None, typer.Option("--host", metavar="HOST", help="Where to listen; 127.0.0.1 unless the settings say otherwise.")
]
PortOption = Annotated[
    int | None,
    typer.Option(
        "--port", metavar="PORT", min=0, max=65_535,
        help="Which port, 0 for any free one; 8000 unless the settings say otherwise.",
    ),
]  # fmt: skip
WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers", metavar="N", min=1, max=WORKERS_MAX,
        help="How many processes serve the one address, at most one a core; 1 unless the settings say otherwise.",
    ),
]  # fmt: skip


def register(app: typer.Typer) -> None:
    command(app, "up", example="millrace up --port 8000")(up)


def up(shell: Shell, host: HostOption = None, port: PortOption = None, workers: WorkersOption = None) -> None:
    """Serve until stopped: the API, its engines, the books, a page for the browser.

    The first start on a home makes the tenant demo with a little credit and prints its API key, once.
    """
    # Here, because a whole server comes with it, and other commands start in a fifth of that time.
    from millrace.cli.serving import serve_home

    log_to_stderr()
    serve_home(shell, host, port, workers)
