"""Pulled models as the command line shows them, and `millrace model remove` and `verify`."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, Final

import typer

from millrace.base.errors import Reason, Refusal
from millrace.base.times import render_time
from millrace.catalog import bundled
from millrace.catalog.hub.partial import Unfinished, discard_unfinished, unfinished
from millrace.catalog.hub.ref import parse_ref, source_of
from millrace.catalog.tuned.values import is_tuned
from millrace.catalog.weights.facts import needs_of
from millrace.catalog.weights.values import NAME, Damage, Manifest
from millrace.catalog.weights.weights import Weights
from millrace.cli.doctor_machine import memory_available
from millrace.cli.model_tuned import remove_tuned
from millrace.cli.output import Facts, Table, Text, View, cell
from millrace.cli.shell import Shell, command, refuse
from millrace.settings.parse import declared, settings_file
from millrace.settings.pulled import CONTEXT_DEFAULT, weights_of

Form = dict[str, Any]

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="The model's name; or the REF of a pull that was not ended, to drop what it left.")
]
OneArgument = Annotated[str | None, typer.Argument(metavar="[NAME]", help="Only this one; all when left out.")]

_UNITS: Final = ((1_000_000_000_000, "T"), (1_000_000_000, "B"), (1_000_000, "M"), (1_000, "K"))
_GB: Final = 1_000_000_000


def remove(shell: Shell, name: NameArgument) -> None:
    """Remove a pulled model's files. Refused while a server serves it or millrace.toml offers it.

    A tuned model is removed by its name, whoever's it is.
    """
    if is_tuned(name):
        remove_tuned(shell, name)
        return
    weights = weights_of(shell.home_path)
    if not NAME.fullmatch(name) or weights.get(name) is None:
        _remove_unfinished(shell, weights, name)
        return
    for model in declared(shell.home_path, shell.config).models:
        if model.pulled == name:
            raise Refusal(
                Reason.CONFLICT,
                f"{settings_file(shell.home_path, shell.config)} offers {name!r} as {model.name!r}; take that out of it first",
            )
    manifest = weights.remove(name)
    shell.show({"removed": manifest_form(manifest)}, Text(f"{name} is removed ({size_text(manifest.size)})."))


def verify(shell: Shell, name: OneArgument = None) -> None:
    """Read every file of pulled models again. Exit 1 names the first that is damaged; `pull` then fetches it anew."""
    # Here, because rich takes longer to import than most commands take to answer.
    from millrace.cli.model_progress import pull_progress

    weights = weights_of(shell.home_path)
    manifests = weights.list() if name is None else (weights.find(name),)
    damaged: dict[str, tuple[Damage, ...]] = {}
    with pull_progress(shell) as show:
        for one in manifests:
            show.begin(one.name, one.size, 0)
            damaged[one.name] = weights.verify(one.name, partial(show.add, one.name))
    wrong = {found: damages for found, damages in damaged.items() if damages}
    form = {"ok": not wrong, "checked": len(manifests), "damaged": wrong}
    shell.show(form, Text(f"{len(manifests) - len(wrong)} of {len(manifests)} pulled models are as they were fetched."))
    for found, damages in wrong.items():
        refuse(f"{found}: {damages[0].path}: {damages[0].what}; {weights.find(found).again}")


def manifest_form(one: Manifest) -> Form:
    return {
        "name": one.name,
        "source": one.source,
        "revision": one.revision or None,
        "format": one.format,
        "architecture": one.architecture,
        "parameters": one.parameters,
        "context_tokens": one.context_tokens,
        "licence": one.licence,
        "chat_template": one.chat_template,
        "size": one.size,
        "files": [{"path": file.path, "size": file.size, "sha256": file.sha256} for file in one.files],
        "pulled_at": render_time(one.pulled_at),
    }


def counted(form: Form, pulls: int | None, served: int | None) -> Form:
    """The form with how often it was pulled and how many requests it served; null where there is no database yet."""
    return {**form, "pulls": pulls, "requests_served": served}


def pulled_table(manifests: Sequence[Manifest], forms: Sequence[Form]) -> Table:
    rows = [
        (
            one.name, one.format, one.architecture, number_text(one.parameters), str(one.context_tokens), cell(one.licence),
            size_text(one.size), cell(form["pulls"]), cell(form["requests_served"]),
        )
        for one, form in zip(manifests, forms, strict=True)
    ]  # fmt: skip
    headings = ("PULLED", "FORMAT", "ARCHITECTURE", "PARAMETERS", "CONTEXT", "LICENCE", "SIZE", "PULLS", "SERVED")
    return Table(headings, rows, frozenset({3, 4, 6, 7, 8}), empty="nothing is pulled: millrace model pull REF")


def unfinished_form(shell: Shell) -> list[Form]:
    found = unfinished(weights_of(shell.home_path).blobs.partial)
    return [{"source": one.source, "path": one.path, "size": one.size, "held": one.held} for one in found]


def unfinished_views(shell: Shell) -> list[View]:
    """What to do about pulls that were not ended; nothing where there are none."""
    found = unfinished(weights_of(shell.home_path).blobs.partial)
    sources = list(dict.fromkeys(one.source for one in found))
    said = [_unfinished_text(source, [one for one in found if one.source == source]) for source in sources]
    orphans = weights_of(shell.home_path).orphans()
    if orphans:
        size = size_text(sum(path.stat().st_size for path in orphans))
        said.append(
            f"{len(orphans)} whole files ({size}) are of no model yet: a pull that did not end takes them when repeated, "
            "'millrace model remove REF' drops them"
        )
    return [Text(f"\n{line}") for line in said]


def weights_form(one: Manifest, context_tokens: int | None, slots: int | None) -> Form:
    """With what it needs here, to be served with these sizes."""
    context = context_tokens or min(one.context_tokens, CONTEXT_DEFAULT)
    needs = needs_of(one, context, slots or bundled.SLOTS)
    form = {
        "context_tokens": context, "slots": slots or bundled.SLOTS, "weights": needs.weights, "kv_cache": needs.kv_cache,
        "overhead": needs.overhead, "total": needs.total, "available": memory_available(),
    }  # fmt: skip
    return {**manifest_form(one), "needs": form}


def weights_views(form: Form) -> list[View]:
    plain = {key: value for key, value in form.items() if key not in ("files", "needs", "size", "parameters", "chat_template")}
    said = [
        ("parameters", number_text(form["parameters"])), ("chat template", "yes" if form["chat_template"] else "no"),
        ("size", size_text(form["size"])), ("needs here", needs_text(form["needs"])),
    ]  # fmt: skip
    facts = Facts([*((key.replace("_", " "), cell(value)) for key, value in plain.items()), *said])
    rows = [(file["path"], f"{file['size']:,}", file["sha256"]) for file in form["files"]]
    return [facts, Text(""), Table(("FILE", "BYTES", "SHA-256"), rows, frozenset({1}))]


def needs_text(needs: Form) -> str:
    """One sentence: what it takes to serve, out of what, and whether this machine has it."""
    cache = "a KV cache of unknown size" if needs["kv_cache"] is None else f"KV cache {gigabytes(needs['kv_cache'])}"
    said = (
        f"about {gigabytes(needs['total'])} of memory for {needs['slots']} × {needs['context_tokens']} tokens "
        f"(weights {gigabytes(needs['weights'])}, {cache})"
    )
    available = needs["available"]
    if available is None:
        return said
    verdict = "fits" if needs["total"] <= available else "does not fit: fewer slots, less context or fewer bits"
    return f"{said}; {gigabytes(available)} are available: {verdict}"


def number_text(count: int) -> str:
    """As models are called by: '596.0M'."""
    unit, letter = next(((unit, letter) for unit, letter in _UNITS if count >= unit), (1, ""))
    return f"{count / unit:.1f}{letter}" if letter else str(count)


def size_text(count: int) -> str:
    return gigabytes(count) if count >= _GB else f"{count / 1_000_000:.1f} MB"


def gigabytes(count: int) -> str:
    return f"{count / _GB:.2f} GB"


def register(app: typer.Typer) -> None:
    command(app, "remove", example="millrace model remove qwen3-0.6b")(remove)
    command(app, "verify", example="millrace model verify qwen3-0.6b")(verify)


def _remove_unfinished(shell: Shell, weights: Weights, ref: str) -> None:
    """Drop what a pull left. What is neither that nor a model's name is refused with what there is."""
    source = source_of(parse_ref(ref))
    found = [one for one in unfinished(weights.blobs.partial) if one.source == source]
    if not found and not (weights.orphans() and not NAME.fullmatch(ref)):
        weights.find(ref if NAME.fullmatch(ref) else "none")
    count = discard_unfinished(weights.blobs.partial, source) + weights.drop_orphans()
    held = sum(one.held for one in found)
    shell.show({"removed": None, "files": count}, Text(f"What the pull of {source} left is removed ({size_text(held)})."))


def _unfinished_text(source: str, files: Sequence[Unfinished]) -> str:
    held, size = (sum(one.held for one in files), sum(one.size for one in files))
    return (
        f"{source}: {size_text(held)} of {size_text(size)} are here; 'millrace model pull {source}' goes on, "
        f"'millrace model remove {source}' drops them"
    )
