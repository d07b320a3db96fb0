"""`millrace`: the entry point, which puts the commands together."""

from typing import Annotated

import typer

from millrace import __version__
from millrace.cli import (
    backup,
    books,
    consumption,
    demo,
    doctor,
    evaluate,
    export,
    grant,
    hub,
    invoice,
    key,
    model,
    price,
    reconcile,
    tenant,
    tune,
    up,
)
from millrace.cli.shell import Common, ConfigOption, HomeOption, JsonOption

app = typer.Typer(
    name="millrace", help="An AI cloud that you run yourself: serve open models, meter every token, keep books that balance.",
    no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False,
    epilog="Example:  millrace up", context_settings={"max_content_width": 110},
)  # fmt: skip


def _version(asked: bool) -> None:
    if asked:
        print(f"millrace {__version__}")  # noqa: T201
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    home: HomeOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    version: Annotated[  # noqa: ARG001 - its callback answers
        bool, typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    context.obj = Common(home, config, as_json)


up.register(app)
demo.register(app)
for commands in (tenant, key, grant, model, hub, price, invoice, tune):
    app.add_typer(commands.app)
consumption.register(app)
books.register(app)
reconcile.register(app)
doctor.register(app)
backup.register(app)
export.register(app)
evaluate.register(app)


def main() -> None:
    """Run the command line; never returns."""
    app(prog_name="millrace")


if __name__ == "__main__":
    main()
