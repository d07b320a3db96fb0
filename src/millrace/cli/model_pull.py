"""`millrace model pull`: a model from a hub, an address or a folder into the home."""

import asyncio
import os
from typing import Annotated, Final

import typer
from msgspec.structs import replace

from millrace.base.errors import Reason, Refusal
from millrace.catalog.hub.ref import FORMS, HubRef, Ref, parse_ref
from millrace.catalog.weights.store import count_pull
from millrace.catalog.weights.values import Manifest
from millrace.cli.model_weights import manifest_form, needs_text, number_text, size_text, weights_form
from millrace.cli.output import Text
from millrace.cli.shell import Shell, command
from millrace.settings.home import Home
from millrace.settings.parse import BUNDLED_PRICE, declared, settings_file
from millrace.settings.pulled import weights_of

LANES_DEFAULT: Final = 8
"""Requests at once: one connection to a content network is seldom as fast as the line."""

LANES_MAX: Final = 64

RefArgument = Annotated[str, typer.Argument(metavar="REF", help=f"Where it comes from: {FORMS}.")]
NameOption = Annotated[
    str | None,
    typer.Option("--name", metavar="NAME", help="What it is called here; else its repository's name.", show_default=False),
]
RevisionOption = Annotated[
    str | None,
    typer.Option("--revision", metavar="R", help="Branch, tag or commit; the hub's default unless given.", show_default=False),
]
ParallelOption = Annotated[
    int, typer.Option("--parallel", metavar="N", min=1, max=LANES_MAX, help="Requests at once, over all files.")
]


def pull(
    shell: Shell, ref: RefArgument, name: NameOption = None, revision: RevisionOption = None,
    parallel: ParallelOption = LANES_DEFAULT,
) -> None:  # fmt: skip
    """Fetch a model's files into the home, checked by their hashes. Interrupted at any moment, the next pull goes on.

    Tokens come from HF_TOKEN, MODELSCOPE_API_TOKEN and MILLRACE_API_KEY, mirrors from HF_ENDPOINT and MODELSCOPE_ENDPOINT.
    """
    # Here, because an HTTP client and rich take longer to import than most commands take to answer.
    from millrace.catalog.hub.pull import Puller
    from millrace.cli.model_progress import pull_progress  # rich

    wanted = revised(parse_ref(ref), revision)
    home = Home(shell.home_path)
    with pull_progress(shell) as show:
        puller = Puller(weights_of(home.path), shell.clock, os.environ, show, lanes=parallel)
        pulled = asyncio.run(puller.pull(wanted, name))
    if shell.has_database():
        with shell.database() as db:
            db.write_now(lambda tx: count_pull(tx, pulled.manifest.name, shell.clock.now()))
    lines = settings_lines(shell, pulled.manifest)
    convert = None if pulled.manifest.serves else f"millrace model convert {pulled.manifest.name}"
    form = {
        "pulled": manifest_form(pulled.manifest), "why": pulled.why, "others": list(pulled.others),
        "fetched": pulled.fetched, "add_to_settings": lines, "convert": convert,
    }  # fmt: skip
    shell.show(form, Text("\n".join(_said(shell, pulled.manifest, pulled.why, pulled.others, lines, convert))))


def revised(ref: Ref, revision: str | None) -> Ref:
    """The REF with what --revision says. Raises INVALID_REQUEST where it has none or another."""
    if revision is None:
        return ref
    if not isinstance(ref, HubRef):
        raise Refusal(
            Reason.INVALID_REQUEST, "only a hub's repositories have revisions; leave --revision out", param="revision"
        )
    if ref.revision not in (None, revision):
        raise Refusal(
            Reason.INVALID_REQUEST, f"--revision {revision} and @{ref.revision} say different things", param="revision"
        )
    parsed = parse_ref(f"hf:{ref.repo}@{revision}")  # whose revisions have one grammar with all others
    return replace(ref, revision=parsed.revision if isinstance(parsed, HubRef) else None)


def settings_lines(shell: Shell, manifest: Manifest) -> str | None:
    """What to add to millrace.toml so that the model is served; None where it stands there, or it has to be converted."""
    try:
        offered = any(model.pulled == manifest.name for model in declared(shell.home_path, shell.config).models)
    except Refusal:
        offered = False  # whoever mends the settings can use the lines all the same
    if offered or manifest.serves is None:
        return None
    price = {**BUNDLED_PRICE, "model": manifest.name}
    prices = "\n".join(f'{key} = "{value}"' for key, value in price.items())
    return f'[[models]]\nname = "{manifest.name}"\nengine = "embedded"\npulled = "{manifest.name}"\n\n[[prices]]\n{prices}\n'


def to_serve(shell: Shell, lines: str) -> str:
    place = settings_file(shell.home_path, shell.config)
    return f"to serve it, add to {place}, with prices of your own (per million tokens):\n\n{lines}"


def register(app: typer.Typer) -> None:
    command(app, "pull", example="millrace model pull hf:Qwen/Qwen3-0.6B-GGUF")(pull)


def _said(
    shell: Shell, manifest: Manifest, why: str, others: tuple[str, ...], lines: str | None, convert: str | None
) -> list[str]:
    served = manifest.serves or "a folder of safetensors"
    facts = (
        f"{manifest.architecture}, {number_text(manifest.parameters)} parameters, context {manifest.context_tokens}, "
        f"licence {manifest.licence or 'not said'}, {size_text(manifest.size)}"
    )
    said = [f"{manifest.name}: {served} ({why}), {facts}"]
    if others:
        said.append(f"the source also has: {', '.join(others)}")
    said.append(f"serving it takes {needs_text(weights_form(manifest, None, None)['needs'])}")
    if convert is not None:
        said.append(f"the embedded engine loads GGUF: {convert}")
    return said if lines is None else [*said, to_serve(shell, lines)]
