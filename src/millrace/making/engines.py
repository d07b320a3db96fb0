"""The engine of a model of the settings."""

from collections.abc import Mapping
from pathlib import Path

from msgspec.structs import replace

from millrace.base.clock import Clock
from millrace.base.errors import Reason, Refusal
from millrace.catalog.model import Model
from millrace.catalog.tuned.files import AdapterFiles
from millrace.catalog.tuned.values import TunedModel
from millrace.engines.embedded.engine import EmbeddedEngine
from millrace.engines.embedded.settings import EmbeddedSettings
from millrace.engines.fake import FakeEngine, FakeSettings
from millrace.engines.protocol import Engine
from millrace.engines.remote import RemoteEngine, RemoteSettings
from millrace.workers.member import Member
from millrace.workers.share import share


def make_engine(
    model: Model, clock: Clock, folder: Path, environment: Mapping[str, str], member: Member | None = None
) -> Engine:
    """The engine of a model; `folder` takes its logs. With a `member`, as one of several workers has it."""
    if model.engine == "fake":
        return FakeEngine(FakeSettings(model=model.name, context_tokens=model.context_tokens), clock)
    if model.engine == "remote":
        assert model.url is not None
        return RemoteEngine(
            RemoteSettings(
                model=model.name, url=model.url, upstream=model.upstream or model.name,
                api_key=_upstream_key(model, environment), embeds=model.embeds,
                connections_max=model.slots if member is None else share(model.slots, member.task.workers, member.task.number),
            ),
            clock,
        )  # fmt: skip
    settings = embedded_settings(model, folder)
    if member is None:
        return EmbeddedEngine(settings, clock)
    return EmbeddedEngine(settings, clock, member.feed(settings.model), member.task.workers)


def embedded_settings(model: Model, folder: Path) -> EmbeddedSettings:
    """Of a model that llama.cpp serves."""
    assert model.path is not None
    return EmbeddedSettings(
        model=model.name, path=str(model.path), context_tokens=model.context_tokens, slots=model.slots,
        threads=model.threads, log=str(folder / f"engine-{model.name.replace('/', '_')}.log"),
    )  # fmt: skip


def tuned_settings(model: TunedModel, base: Model, home: Path) -> EmbeddedSettings:
    """Its base with the adapter, sized alike, but without embeddings, which would take a second context.

    All tuned models of a base share one log, so that there are not ever more of them.
    """
    return replace(
        embedded_settings(base, home), model=model.name, adapter=str(AdapterFiles(home).path(model.sha256)),
        embeddings=False, log=str(home / f"engine-{base.name.replace('/', '_')}-tuned.log"),
    )  # fmt: skip


def _upstream_key(model: Model, environment: Mapping[str, str]) -> str | None:
    if model.api_key_env is None:
        return None
    key = environment.get(model.api_key_env)
    if not key:
        raise Refusal(
            Reason.BAD_SETTING,
            f"model {model.name!r}: the environment variable {model.api_key_env} (api_key_env) is not set; "
            "set it to the key of the upstream server, or take api_key_env out",
        )
    return key
