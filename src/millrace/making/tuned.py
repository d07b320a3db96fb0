"""How one server serves tuned models: by engines of its own, or, as one of several workers, by those of its parent."""

import asyncio
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final

from millrace.base.clock import NS_PER_S, Clock
from millrace.catalog.catalogue import Catalogue
from millrace.catalog.tuned import store
from millrace.catalog.tuned.files import AdapterFiles
from millrace.catalog.tuned.values import TunedModel
from millrace.engines.embedded.engine import EmbeddedEngine
from millrace.engines.fake import FakeEngine, FakeScript, FakeSettings
from millrace.engines.pool import Startable
from millrace.engines.protocol import Engine
from millrace.gateway.lending import Lending
from millrace.making.engines import tuned_settings
from millrace.settings.limits import Limits
from millrace.store.database import Database
from millrace.workers.borrowing import Borrowing
from millrace.workers.member import Member
from millrace.workers.messages import Drop

LOOK_BACK_NS: Final = 60 * NS_PER_S
"""How far back removals are looked at, each time: clocks of several machines differ by less, and twice is as good as once."""


class Tuned:
    """The `Adapters` of one process, and their upkeep."""

    def __init__(
        self, db: Database, catalogue: Catalogue, home: Path, limits: Limits, clock: Clock, member: Member | None
    ) -> None:
        self._db = db
        self._catalogue = catalogue
        self._home = home
        self._clock = clock
        self._member = member
        self._own = Lending(self._make, limits, clock)
        self._borrowing: Borrowing | None = None
        if member is not None:
            self._borrowing = Borrowing(member, self._follow, clock, limits.tuned_wait_s)
        self._files = AdapterFiles(home)

    def lend(self, model: TunedModel) -> AbstractAsyncContextManager[Engine]:
        if self._borrowing is not None and self._catalogue.find(model.base).engine == "embedded":
            return self._borrowing.lend(model)
        return self._own.lend(model)

    def drop(self, name: str) -> None:
        self._drop((name,))

    async def tend(self) -> None:
        """End the engines of what was removed lately, by whichever process, and of what nobody uses."""
        since = self._clock.now() - LOOK_BACK_NS
        self._drop(tuple(await self._db.look(lambda tx: store.removed_since(tx, since))))
        self._own.pool.tend()

    async def sweep(self) -> None:
        """Delete the files of adapters that no model needs."""
        await asyncio.to_thread(lambda: self._files.sweep(self._db.read(store.files_in_use), self._clock.now() // NS_PER_S))

    async def close(self) -> None:
        await self._own.pool.close()

    def _drop(self, names: tuple[str, ...]) -> None:
        for name in names:
            self._own.pool.drop(name)
        if self._member is not None:
            self._member.channel.send(Drop(names))

    def _make(self, model: TunedModel) -> Startable:
        base = self._catalogue.find(model.base)
        if base.engine == "fake":
            script = FakeScript(opening=f"[{model.name}] ")
            settings = FakeSettings(model=model.name, context_tokens=base.context_tokens, embeds=False, script=script)
            return FakeEngine(settings, self._clock)
        return EmbeddedEngine(tuned_settings(model, base, self._home), self._clock)

    def _follow(self, model: TunedModel, loan: str) -> EmbeddedEngine:
        """As the parent says of that loan."""
        assert self._member is not None
        settings = tuned_settings(model, self._catalogue.find(model.base), self._home)
        return EmbeddedEngine(settings, self._clock, self._member.feed(loan), self._member.task.workers)
