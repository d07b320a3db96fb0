"""`millrace demo`: the command. It starts a cloud of its own, tells the story of demo_story.py on it, and stops it again."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import typer

from millrace.base.errors import Reason, Refusal
from millrace.cli.demo_child import Child
from millrace.cli.demo_narrator import Narrator
from millrace.cli.ending import ended_by_signals
from millrace.cli.shell import Shell, command


def register(app: typer.Typer) -> None:
    command(app, "demo", example="millrace demo")(demo)


def demo(shell: Shell) -> None:
    """Play one round trip: models, chat, stream, a stream left in the middle, a refusal, receipts, invoice, audit.

    It uses the official openai package against a cloud of its own in a temporary folder and checks every step; exit 1
    names the one that was not as it should be. With --home the folder is that (empty) one, and is kept.
    """
    try:
        # Here, because the openai package takes a second to import and need not be installed.
        from millrace.cli.demo_story import Story
    except ModuleNotFoundError as error:
        if error.name != "openai":
            raise
        raise Refusal(
            Reason.BAD_SETTING, "the demo needs the official OpenAI package; install it with: pip install 'millrace[demo]'"
        ) from None
    narrator = Narrator(silent=shell.as_json)
    with ended_by_signals(), _folder(shell) as home:
        narrator.open("One round trip through a cloud of your own, with the official openai package.")
        narrator.step("Start a cloud in an empty folder")
        with Child(home, shell.config) as child:
            narrator.say(f"millrace up --port 0 serves at {child.base_url} and made the tenant {child.tenant} its first key.")
            told = Story(shell, narrator, home, child).tell()
            narrator.step("Stop the cloud")
        if child.exit_code != 0:
            raise narrator.failed(f"the server ended with exit code {child.exit_code}")
        narrator.say("The server has settled everything and ended; " + _what_is_left(shell))
    narrator.close("Every step did what it should.")
    if shell.as_json:
        shell.show({"ok": True, **told})


def _what_is_left(shell: Shell) -> str:
    return f"the books stay in {shell.given_home}." if shell.given_home else "its folder is removed."


@contextlib.contextmanager
def _folder(shell: Shell) -> Iterator[Path]:
    if shell.given_home is None:
        with tempfile.TemporaryDirectory(prefix="millrace-demo-") as folder:
            yield Path(folder)
        return
    if shell.given_home.exists() and any(shell.given_home.iterdir()):
        raise Refusal(Reason.CONFLICT, f"{shell.given_home} is not empty; the demo wants an empty --home, or none")
    yield shell.given_home
