"""`millrace model convert`: safetensors into the form that the embedded engine loads."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import typer

from millrace.base.errors import Reason, Refusal
from millrace.catalog.hub.show import Show
from millrace.cli.model_pull import settings_lines, to_serve
from millrace.cli.model_weights import manifest_form, size_text
from millrace.cli.output import Text
from millrace.cli.shell import Shell, command
from millrace.conversion.convert import Conversion, Converted
from millrace.conversion.kept import Origin, find_origin, keep
from millrace.conversion.kinds import KINDS, Kind, parse_kind
from millrace.settings.pulled import weights_of

KIND_DEFAULT: Final[Kind] = "q8_0"

TENSORS_SHOWN_MAX: Final = 3

ModelArgument = Annotated[
    str, typer.Argument(metavar="NAME|FOLDER", help="A pulled model in safetensors form, or a folder that has one.")
]
KindOption = Annotated[str, typer.Option("--kind", metavar="KIND", help=f"How numbers are kept: {', '.join(KINDS)}.")]
NameOption = Annotated[
    str | None,
    typer.Option("--name", metavar="NAME", help="What the result is called here; else NAME-KIND.", show_default=False),
]
ToOption = Annotated[
    Path | None,
    typer.Option("--to", metavar="FILE", help="Write this file, and keep nothing in the home.", show_default=False),
]


def convert(
    shell: Shell, model: ModelArgument, kind: KindOption = KIND_DEFAULT, name: NameOption = None, to: ToOption = None
) -> None:
    """Make a GGUF of a model's safetensors, checked tensor by tensor; it appears whole or not at all.

    It needs the extra: pip install 'millrace[convert]'.
    """
    # Here, because rich takes longer to import than most commands take to answer.
    from millrace.cli.model_progress import pull_progress

    if to is not None and name is not None:
        raise Refusal(
            Reason.INVALID_REQUEST, "--to writes a file and --name keeps the result in the home: give one", param="to"
        )
    weights, wanted = weights_of(shell.home_path), parse_kind(kind)
    origin = find_origin(weights, model)
    with pull_progress(shell) as show:
        if to is not None:
            made, manifest = _written(origin, to.expanduser(), wanted, show), None
        else:
            kept = keep(weights, origin, name or origin.kept_name(wanted), wanted, show, shell.clock.now())
            made, manifest = kept.made, kept.manifest
    lines = None if manifest is None else settings_lines(shell, manifest)
    form = {
        "converted": None if manifest is None else manifest_form(manifest),
        "file": str(made.path if manifest is None else weights.place(manifest)), "kind": made.kind,
        "architecture": made.architecture, "tensors": made.tensors, "size": made.size, "fallbacks": dict(made.fallbacks),
        "add_to_settings": lines,
    }  # fmt: skip
    what = str(made.path) if manifest is None else manifest.name
    said = [f"{what}: {made.architecture}, {made.kind}, {made.tensors} tensors, {size_text(made.size)}"]
    said += _fallbacks_text(made.fallbacks)
    shell.show(form, Text("\n".join(said if lines is None else [*said, to_serve(shell, lines)])))


def register(app: typer.Typer) -> None:
    command(app, "convert", example="millrace model convert qwen3-0.6b --kind q8_0")(convert)


def _written(origin: Origin, to: Path, kind: Kind, show: Show) -> Converted:
    conversion = Conversion(origin.folder, kind)
    show.begin(to.name, conversion.size, 0)
    return conversion.run(to, origin.name, partial(show.add, to.name))


def _fallbacks_text(fallbacks: Mapping[str, str]) -> list[str]:
    """One line for each type that tensors have instead of their usual one."""
    lines = []
    for kind in sorted(set(fallbacks.values())):
        names = [name for name, found in fallbacks.items() if found == kind]
        more = f" and {len(names) - TENSORS_SHOWN_MAX} more" if len(names) > TENSORS_SHOWN_MAX else ""
        shown = ", ".join(names[:TENSORS_SHOWN_MAX])
        lines.append(f"{kind}, since their rows do not fill the blocks of the usual type: {shown}{more}")
    return lines
