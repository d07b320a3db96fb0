"""The reference in docs/reference: complete, and its examples hold."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import typer.main

from millrace.base.errors import Reason
from millrace.catalog.model import Model
from millrace.cli.main import app
from millrace.console.forms import REFUSED, schemas
from millrace.console.operations import OPERATIONS
from millrace.gateway.refusals import STATUS
from millrace.money.rating.book import PRICE_KEYS, TIER_KEYS
from millrace.settings import models as model_settings
from millrace.settings.audit import Audit
from millrace.settings.hub import Hub
from millrace.settings.limits import RANGES, Limits
from millrace.settings.logs import Logs
from millrace.settings.parse import Server, Store, parse_settings
from millrace.settings.retention import Retention
from millrace.settings.telemetry import Telemetry
from millrace.wire.errors import ERROR_TYPES

DOCS: Final = Path(__file__).parents[2] / "docs"
REFERENCE: Final = DOCS / "reference"

API: Final = (REFERENCE / "api.md").read_text("utf-8")
SETTINGS: Final = (REFERENCE / "settings.md").read_text("utf-8")
CLI: Final = (REFERENCE / "cli.md").read_text("utf-8")

ASKS: Final = frozenset({"text", "optional_text", "integer", "optional_integer", "seconds", "flag", "has"})
"""The methods of settings.table.Table that read a key by its name."""


def section(text: str, heading: str) -> str:
    """What stands under a heading, until the next one of its level or above. Fails where it is missing."""
    level = len(heading) - len(heading.lstrip("#"))
    found = re.search(rf"^{re.escape(heading)}.*?(?=^#{{1,{level}}} |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found is not None, f"there is no section {heading!r} in the reference"
    return found[0]


def rows(text: str) -> dict[str, list[str]]:
    """The rows of a section's tables by the code in their first cell."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if cells and (name := re.match(r"\[?`([^`]+)`", cells[0])):
            found[name[1]] = cells[1:]
    return found


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: str(operation.id))
def test_every_route(operation: Any) -> None:
    """Each route has its section: its parameters, what it refuses, every error, an example that calls it."""
    text = section(API, f"## `{operation.route.method} {operation.path}`")
    assert set(operation.parameters) <= set(rows(text))
    assert {argument.name for argument in operation.query} <= set(rows(text))
    for reason in operation.refusals:
        assert f"`{reason.value}`" in text
    for name in REFUSED.get(operation.body or "", {}):
        assert f"`{name}`" in text
    assert f"http://127.0.0.1:8000{operation.route.path}" in text


def test_every_error() -> None:
    """Each reason stands in the table with its status and type."""
    line = re.compile(r"^\| (\d{3}) \| `(\w+)` \| (\w+) \| \S", re.MULTILINE)
    listed = {code: (status, kind) for status, code, kind in line.findall(section(API, "## Errors"))}
    assert listed == {reason.value: (str(STATUS[reason]), ERROR_TYPES[reason]) for reason in Reason}


def test_every_form() -> None:
    """Each JSON form has its section with exactly its fields, optional ones in brackets."""
    bodies = {operation.body for operation in OPERATIONS}
    for name, schema in schemas().items():
        if name in bodies:
            continue
        text = section(API, f"### {name}\n")
        assert set(rows(text)) == set(schema.get("properties", ())), name
        brackets = set(re.findall(r"^\| \[`([^`]+)`\]", text, re.MULTILINE))
        assert brackets == set(schema.get("properties", ())) - set(schema.get("required", ())), name


def test_every_limit() -> None:
    """Each key of [limits] is there with its default and its range."""
    found = rows(section(SETTINGS, "## `[limits]`"))
    assert {name: (cells[0], cells[1]) for name, cells in found.items()} == {
        name: (f"{getattr(Limits(), name):g}" if name.endswith("_s") else str(getattr(Limits(), name)), f"{low:,} to {high:,}")
        for name, (low, high) in RANGES.items()
    }


def test_every_key_of_telemetry() -> None:
    """Each key is there; none has a default."""
    assert set(rows(section(SETTINGS, "## `[telemetry]`"))) == set(Telemetry.__struct_fields__)


def test_every_key_of_retention() -> None:
    """Each key is there."""
    assert set(rows(section(SETTINGS, "## `[retention]`"))) == set(Retention.__struct_fields__)


def test_every_key_of_the_hub() -> None:
    """Each key is there with its default."""
    found = {name: cells[0].strip("`").strip('"') for name, cells in rows(section(SETTINGS, "## `[hub]`")).items()}
    assert found == {
        name: str(getattr(Hub(), name)).lower() if name == "enabled" else str(getattr(Hub(), name))
        for name in Hub.__struct_fields__
    }


def test_every_key_of_server_store_and_logs() -> None:
    """Each key is there with its default."""
    for heading, struct in (
        ("## `[server]`", Server()), ("## `[store]`", Store()), ("## `[logs]`", Logs()), ("## `[audit]`", Audit()),
    ):  # fmt: skip
        found = rows(section(SETTINGS, heading))
        defaults = {name: getattr(struct, name) for name in struct.__struct_fields__}
        assert {name: cells[0].strip("`").strip('"') for name, cells in found.items()} == {
            name: str(default).lower() if isinstance(default, bool) else str(default) for name, default in defaults.items()
        }


def test_every_key_of_a_model() -> None:
    """Each key that the parser of [[models]] asks for is there, and no other."""
    tree = ast.parse(Path(str(model_settings.__file__)).read_text("utf-8"))
    asked = {
        node.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ASKS
        and node.args and isinstance(node.args[0], ast.Constant)
    }  # fmt: skip
    text = section(SETTINGS, "## `[[models]]`")
    assert set(rows(text)) == asked - {"api_key"}
    assert "`api_key`" in text  # known to be refused


def test_every_key_of_a_price() -> None:
    """Each key of [[prices]] and of its tiers is there, and no other."""
    assert set(rows(section(SETTINGS, "## `[[prices]]`"))) == PRICE_KEYS | TIER_KEYS


@pytest.mark.parametrize("number", [0, 1])
def test_the_settings_in_the_examples_work(number: int) -> None:
    """Each TOML example is read by the program that it is for, with the price that it shows."""
    example = re.findall(r"```toml\n(.*?)```", SETTINGS, re.DOTALL)[number]
    bundled = Model(name="millrace-tiny", engine="embedded", context_tokens=1024, max_output_tokens=512, slots=4)
    read = parse_settings(example, "the example", bundled_model=lambda: bundled)
    assert {price.model for price in read.prices} >= {"qwen3-8b" if number == 0 else "qwen3-max"}


def commands() -> Iterator[tuple[str, Any]]:
    """Each command with its words, such as 'tenant create'; groups are walked into."""

    def walk(words: str, command: Any) -> Iterator[tuple[str, Any]]:
        inner = getattr(command, "commands", None)
        if inner is None:
            yield words, command
            return
        for name, below in inner.items():
            yield from walk(f"{words} {name}".strip(), below)

    return walk("", typer.main.get_command(app))


@pytest.mark.parametrize(("words", "command"), list(commands()), ids=lambda given: given if isinstance(given, str) else "")
def test_every_command_and_flag(words: str, command: Any) -> None:
    """Each command has an example, and each of its flags stands in its section or among those that all have."""
    own = section(CLI, f"## millrace {words.split()[0]}\n")
    common = CLI[: CLI.index("## ")]
    assert f"millrace {words}" in own
    for parameter in command.params:
        for flag in parameter.opts if parameter.param_type_name == "option" else ():
            assert f"`{flag}" in own or f"`{flag}" in common, f"{flag} of `millrace {words}` is not in docs/reference/cli.md"


def test_the_commands_in_the_examples_are_accepted() -> None:
    """Each line of the examples parses: no command or flag is there that the program does not have."""
    known = dict(commands())
    lines = [line for block in re.findall(r"```sh\n(.*?)```", CLI, re.DOTALL) for line in block.splitlines()]
    assert len(lines) >= len(known)
    for line in lines:
        words = shlex.split(line)[1:]
        name = next(" ".join(words[:length]) for length in (2, 1) if " ".join(words[:length]) in known)
        known[name].make_context(name, words[len(name.split()) :], resilient_parsing=False)


def test_links_lead_somewhere() -> None:
    """Each relative link in docs names a file that is there and, with an anchor, a heading of it."""
    broken = []
    for page in sorted(DOCS.rglob("*.md")):
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            file = (page.parent / name).resolve() if name else page
            if not file.exists() or (anchor and anchor not in _anchors(file)):
                broken.append(f"{page.relative_to(DOCS)}: {target}")
    assert not broken, "\n".join(["", *broken, "", "Remedy: mend the link, or the heading that it means"])


def _anchors(page: Path) -> set[str]:
    """The anchors that a page's headings get: lower case, without punctuation, blanks as hyphens."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
