"""What every command is handed: where its home is, how to print, and one way to end for each way it can end.

`command` makes a typer command of a function whose first parameter is a Shell. It adds --home, --config and --json,
which may also stand before the subcommand, and turns a Refusal into its sentence on stderr and exit code 1.
"""

import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer
from msgspec import Struct

from millrace.base.clock import SystemClock
from millrace.base.errors import Refusal
from millrace.base.ids import Ids
from millrace.cli import place
from millrace.cli.output import View, print_json, print_views
from millrace.settings.home import VARIABLE, default_home
from millrace.settings.parse import Settings, load
from millrace.store.database import Database

HomeOption = Annotated[
    Path | None,
    typer.Option("--home", metavar="DIR", help=f"The folder of the cloud; {VARIABLE}, else ~/.millrace.", show_default=False),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Settings other than millrace.toml of the home.", show_default=False),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


class Common(Struct):
    """The options that every command takes."""

    home: Path | None = None
    config: Path | None = None
    as_json: bool = False

    def over(self, earlier: "Common") -> "Common":
        """These, and where they say nothing, what stood before the subcommand."""
        return Common(self.home or earlier.home, self.config or earlier.config, self.as_json or earlier.as_json)


class Shell:
    """One run of one command."""

    def __init__(self, common: Common) -> None:
        self.as_json = common.as_json
        self.given_home = common.home.expanduser() if common.home else None
        self.home_path = self.given_home or default_home(os.environ)
        self.config = common.config.expanduser() if common.config else None
        self.clock = SystemClock()
        self.ids = Ids(self.clock)

    def settings(self) -> Settings:
        """The whole of the settings, model files checked."""
        return load(self.home_path, self.config)

    def has_database(self) -> bool:
        """Whether there is one already."""
        return place.is_there(place.database_place(self.home_path, self.config))

    @contextmanager
    def database(self, *, make: bool = False) -> Iterator[Database]:
        """The database of the home, open for the command; `make`: also where there is none yet."""
        db = place.open_database(self.home_path, self.config, make=make)
        try:
            yield db
        finally:
            db.close()

    def show(self, form: object, *views: View) -> None:
        """Print an answer: the form as one JSON object with --json, else the views for people."""
        if self.as_json:
            print_json(form)
        else:
            print_views(views)


def group(name: str, help_text: str) -> typer.Typer:
    """A group of commands, such as `millrace tenant …`."""
    made = typer.Typer(
        name=name, help=help_text, short_help=help_text, no_args_is_help=True, add_completion=False, rich_markup_mode=None
    )
    made.callback()(_remember)
    return made


def command(app: typer.Typer, name: str, *, example: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function as a command; `example` is a line that works, shown below its help."""

    def register(work: Callable[..., None]) -> Callable[..., None]:
        def run(context: typer.Context, home: HomeOption, config: ConfigOption, as_json: JsonOption, **own: Any) -> None:
            common = Common(home, config, as_json).over(_earlier(context))
            with _endings():
                work(Shell(common), **own)

        own = list(inspect.signature(work, eval_str=True).parameters.values())[1:]
        run.__doc__ = work.__doc__
        run.__signature__ = inspect.Signature([*_CONTEXT, *own, *_COMMON])  # type: ignore[attr-defined]  # typer reads it
        app.command(name, epilog=f"\b\nExample:  {example}", short_help=_first_sentence(work.__doc__ or ""))(run)
        return work

    return register


def _first_sentence(text: str) -> str:
    """What the list of commands says of one: whole, since a sentence that is cut off says nothing."""
    return " ".join(text.split("\n\n", 1)[0].split())


_OWN: Final = inspect.Parameter.POSITIONAL_OR_KEYWORD
_CONTEXT: Final = [inspect.Parameter("context", _OWN, annotation=typer.Context)]
_COMMON: Final = [
    inspect.Parameter("home", _OWN, default=None, annotation=HomeOption),
    inspect.Parameter("config", _OWN, default=None, annotation=ConfigOption),
    inspect.Parameter("as_json", _OWN, default=False, annotation=JsonOption),
]


def _remember(
    context: typer.Context, home: HomeOption = None, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Of a group: what stood before its subcommand."""
    context.obj = Common(home, config, as_json).over(_earlier(context))


def _earlier(context: typer.Context) -> Common:
    return context.obj if isinstance(context.obj, Common) else Common()


@contextmanager
def _endings() -> Iterator[None]:
    try:
        yield
        sys.stdout.flush()
    except Refusal as refusal:
        refuse(refusal.sentence)
    except BrokenPipeError:
        # Whoever read our output has seen enough; what was asked was done. Nothing may be flushed into the pipe again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None


def refuse(sentence: str) -> NoReturn:
    """End the command with a sentence on stderr and exit code 1."""
    sys.stdout.flush()
    print(f"millrace: {sentence}", file=sys.stderr)  # noqa: T201
    raise typer.Exit(1)
