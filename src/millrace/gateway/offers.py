"""What is on offer to a caller: the models of the settings, and those that its tenant tuned.

A tuned model is found among those of the caller's tenant and nowhere else, by one question to the database whatever is asked
for: another tenant's is told apart from none neither by the answer nor by the work that it took. What was found is used for
FRESH_NS, so that one which any process removes is offered no more within that time.
"""

from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final, NamedTuple, Protocol

from msgspec import Struct
from msgspec.structs import replace

from millrace.base.clock import NS_PER_S, Clock
from millrace.base.errors import Reason, Refusal
from millrace.base.flights import Flights
from millrace.catalog.catalogue import Catalogue, unknown
from millrace.catalog.model import Model
from millrace.catalog.tuned import store
from millrace.catalog.tuned.values import TunedModel, is_tuned
from millrace.engines.protocol import Engine
from millrace.store.database import Database
from millrace.store.transaction import Tx
from millrace.tenants.values import Caller

FRESH_NS: Final = NS_PER_S // 2
"""As long as a caller's key is remembered."""

TENANTS_MAX: Final = 20_000
"""Tenants with tuned models that ask within the same half second; those above it only cost a look-up each time."""

TUNABLE: Final = frozenset({"embedded", "fake"})
"""The engines that take adapters."""


class Offered(Struct, frozen=True):
    """A model as a caller may have it; `tuned` where it is one that the tenant tuned."""

    model: Model
    tuned: TunedModel | None = None

    @property
    def priced_as(self) -> str:
        """Whose price it has."""
        return self.model.name if self.tuned is None else self.tuned.base

    @property
    def sold_as(self) -> str | None:
        """What usage names where that is not what is priced."""
        return None if self.tuned is None else self.tuned.name


class Adapters(Protocol):
    """How tuned models are served."""

    def lend(self, model: TunedModel) -> AbstractAsyncContextManager[Engine]:
        """The engine of a tuned model while it is used, READY. Raises ENGINE_UNAVAILABLE where there is none in time."""
        ...

    def drop(self, name: str) -> None:
        """End the engine of a model that was removed, once nobody uses it."""
        ...


class _Known(NamedTuple):
    models: dict[str, TunedModel]
    fresh_until: int


class Offers:
    """For one event loop."""

    def __init__(
        self, db: Database, catalogue: Catalogue, engines: Mapping[str, Engine], adapters: Adapters, clock: Clock
    ) -> None:
        self._db = db
        self._catalogue = catalogue
        self._engines = engines
        self._adapters = adapters
        self._clock = clock
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._looking: Flights[str, dict[str, TunedModel]] = Flights()

    async def find(self, name: str, caller: Caller) -> Offered:
        """The model of that name. MODEL_NOT_FOUND where there is none for this caller, 403 where the key may not use it."""
        offered = self._static(name) or await self._tuned(name, caller)
        caller.require_model(name)
        return offered

    async def visible(self, caller: Caller) -> list[Offered]:
        """All that the key may use: those of the settings, then the tenant's, oldest first."""
        allowed = caller.key.models
        found = [Offered(model) for model in self._catalogue.visible(allowed)]
        for tuned in (await self._of_tenant(caller.tenant.id)).values():
            if allowed is None or tuned.name in allowed:
                offered = self._offered(tuned, caller)
                found += [] if offered is None else [offered]
        return found

    def embeds(self, offered: Offered) -> bool:
        """Whether it makes embeddings."""
        return offered.tuned is None and self._engines[offered.model.name].embeds

    @asynccontextmanager
    async def engine(self, offered: Offered) -> AsyncGenerator[Engine, None]:
        """The engine that serves it, for one request. That of a tuned model is READY; it may take some seconds."""
        if offered.tuned is None:
            yield self._engines[offered.model.name]
            return
        async with self._adapters.lend(offered.tuned) as engine:
            yield engine

    async def remove(self, name: str, caller: Caller) -> None:
        """End the offer of a tuned model of the caller's tenant, for good; what runs on it ends as it would."""
        if self._static(name) is not None:
            caller.require_model(name)
            raise Refusal(
                Reason.MODEL_NOT_ALLOWED,
                f"model {name!r} is this service's; only models that you tuned can be deleted",
                param="model",
            )
        tuned = await self._own(name, caller)
        caller.require_model(name)
        now = self._clock.now()
        await self._db.write(lambda tx: store.remove(tx, tuned, now))
        self._known.pop(caller.tenant.id, None)
        self._adapters.drop(name)

    def _static(self, name: str) -> Offered | None:
        model = self._catalogue.get(name)
        return None if model is None else Offered(model)

    async def _tuned(self, name: str, caller: Caller) -> Offered:
        offered = self._offered(await self._own(name, caller), caller)
        if offered is None:
            raise await self._unknown(name, caller)
        return offered

    async def _own(self, name: str, caller: Caller) -> TunedModel:
        """The tenant's own model of that name, also one whose base is not on offer any more."""
        tuned = (await self._of_tenant(caller.tenant.id)).get(name) if is_tuned(name) else None
        if tuned is None:
            raise await self._unknown(name, caller)
        return tuned

    async def _unknown(self, name: str, caller: Caller) -> Refusal:
        return unknown(name, [offered.model.name for offered in await self.visible(caller)])

    def _offered(self, tuned: TunedModel, caller: Caller) -> Offered | None:
        """Sized as its base; None while its base is not on offer, or is served by an engine without adapters."""
        base = self._catalogue.get(tuned.base)
        if base is None or base.engine not in TUNABLE:
            return None
        model = replace(
            base, name=tuned.name, created=tuned.created_at // NS_PER_S, owned_by=caller.tenant.name, embeds=False
        )
        return Offered(model, tuned)

    async def _of_tenant(self, tenant_id: str) -> dict[str, TunedModel]:
        known = self._known.get(tenant_id)
        if known is not None and self._clock.monotonic() < known.fresh_until:
            self._known.move_to_end(tenant_id)
            return known.models
        return await self._looking.ask(tenant_id, lambda: self._look(tenant_id))

    async def _look(self, tenant_id: str) -> dict[str, TunedModel]:
        fresh_until = self._clock.monotonic() + FRESH_NS  # from before the read, so that its snapshot is not older

        def read(tx: Tx) -> list[TunedModel]:
            return store.of_tenant(tx, tenant_id)

        models = {model.name: model for model in await self._db.look(read)}
        self._known[tenant_id] = _Known(models, fresh_until)
        self._known.move_to_end(tenant_id)
        if len(self._known) > TENANTS_MAX:
            self._known.popitem(last=False)
        return models
