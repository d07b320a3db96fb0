"""`[[models]]` of millrace.toml. A key that belongs to another engine is refused: nothing is set in vain.

Where no model is listed, the bundled one is served. Where some are, it is served only if it is one of them: an entry
with the name millrace-tiny, engine = "embedded" and no path, which may lower its sizes.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from msgspec.structs import replace

from millrace.base.errors import Reason, Refusal
from millrace.catalog import bundled
from millrace.catalog.model import ENGINE_KINDS, MODEL_NAME, EngineKind, Model
from millrace.catalog.weights.values import NAME as WEIGHTS_NAME
from millrace.settings.pulled import CONTEXT_DEFAULT, PulledModel
from millrace.settings.table import Table

CONTEXT_MAX: Final = 100_000_000
"""Tokens; ten times the longest context that anybody offers."""

SLOTS_MAX: Final = 65_536
THREADS_MAX: Final = 1024

OUTPUT_DEFAULT: Final = 4096
"""Output tokens where `max_output_tokens` is not given; a request without a limit holds credit for them all."""

REMOTE_SLOTS: Final = 256
"""What vLLM works on at once by default (max_num_seqs)."""

FAKE_SLOTS: Final = 4096

LATER_ENGINES: Final = ("vllm", "ray")

_ENVIRONMENT_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")

BundledModel = Callable[[], Model]


def parse_models(
    tables: list[Table], folder: Path, bundled_model: BundledModel, pulled_model: PulledModel
) -> tuple[Model, ...]:
    """The models on offer: those listed, or the bundled one when none is."""
    if not tables:
        return (bundled_model(),)
    models: dict[str, Model] = {}
    for table in tables:
        model = _model(table, folder, bundled_model, pulled_model)
        table.finish()
        if model.name in models:
            raise table.refusal("name", "another name: this one is listed twice", model.name)
        models[model.name] = model
    return tuple(models.values())


def _model(table: Table, folder: Path, bundled_model: BundledModel, pulled_model: PulledModel) -> Model:
    name = table.text("name")
    if not MODEL_NAME.fullmatch(name):
        raise table.refusal("name", "1 to 128 of letters, digits and . _ : / @ + -, with a letter or digit first", name)
    engine = table.text("engine")
    if engine == "embedded":
        return _embedded(table, name, folder, bundled_model, pulled_model)
    if engine == "remote":
        return _remote(table, name)
    if engine == "fake":
        return _sized(table, _unsized(name, "fake", FAKE_SLOTS))
    if engine in LATER_ENGINES:
        raise table.refusal_unseen("engine", f"{engine} comes later; run vLLM as a server and use engine = 'remote'")
    raise table.refusal("engine", f"one of {', '.join(ENGINE_KINDS)}", engine)


def _embedded(
    table: Table, name: str, folder: Path, bundled_model: BundledModel, pulled_model: PulledModel
) -> Model:
    path, pulled = table.optional_text("path"), table.optional_text("pulled")
    if path is not None and pulled is not None:
        raise table.refusal("pulled", "either path or pulled, not both", pulled)
    if pulled is not None:
        if not WEIGHTS_NAME.fullmatch(pulled):
            raise table.refusal("pulled", "a name that `millrace model list` shows under PULLED", pulled)
        weights = pulled_model(pulled)
        model = replace(_unsized(name, "embedded", bundled.SLOTS), path=weights.path, pulled=pulled)
        model = replace(model, context_tokens=weights.context_tokens or CONTEXT_MAX)
    elif path is not None:
        model = replace(_unsized(name, "embedded", bundled.SLOTS), path=folder / Path(path).expanduser())
    elif name == bundled.NAME:
        model = bundled_model()
    else:
        raise Refusal(
            Reason.BAD_SETTING,
            f"{table.where}: {table.path}.path is missing: expected the GGUF file of {name!r}, or pulled = the name of one "
            f"that was pulled (only {bundled.NAME!r} comes with the program)",
        )
    context_default = CONTEXT_MAX if pulled is None else CONTEXT_DEFAULT
    return _sized(table, replace(model, threads=table.optional_integer("threads", 1, THREADS_MAX)), context_default)


def _remote(table: Table, name: str) -> Model:
    model = replace(
        _unsized(name, "remote", REMOTE_SLOTS), url=_url(table), upstream=table.text("upstream", name),
        api_key_env=_environment_name(table), embeds=table.flag("embeds", default=False),
    )
    return _sized(table, model)


def _unsized(name: str, engine: EngineKind, slots: int) -> Model:
    """With sizes of 0, which `_sized` takes as 'not known'."""
    return Model(name=name, engine=engine, context_tokens=0, max_output_tokens=0, slots=slots)


def _sized(table: Table, model: Model, context_default: int = CONTEXT_MAX) -> Model:
    """With its sizes. Those that a model has already, from its file, are the most it can do, and its defaults.

    A default of more context than `context_default` is that instead.
    """
    context_most = model.context_tokens or CONTEXT_MAX
    context = table.integer("context_tokens", 2, context_most, min(model.context_tokens, context_default) or None)
    output_default = min(model.max_output_tokens or OUTPUT_DEFAULT, context // 2)
    return replace(
        model,
        context_tokens=context,
        max_output_tokens=table.integer("max_output_tokens", 1, context - 1, output_default),
        slots=table.integer("slots", 1, SLOTS_MAX, model.slots),
    )


def _url(table: Table) -> str:
    text = table.text("url")
    if "@" in text or "?" in text:
        raise table.refusal_unseen("url", "expected no user, password or query in it; a secret goes by api_key_env")
    if not _is_address(text):
        raise table.refusal("url", "an address such as http://10.0.0.7:8001/v1", text)
    return text.rstrip("/")


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    plain = text.isascii() and text.isprintable() and " " not in text and not parts.fragment
    return plain and parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0


def _environment_name(table: Table) -> str | None:
    if table.has("api_key"):
        raise table.refusal_unseen(
            "api_key", "a secret does not belong here; put it into the environment and its name into api_key_env"
        )
    name = table.optional_text("api_key_env")
    if name is not None and not _ENVIRONMENT_NAME.fullmatch(name):
        raise table.refusal_unseen("api_key_env", "expected the name of an environment variable such as QWEN_API_KEY")
    return name
