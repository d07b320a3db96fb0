"""Engines of tuned models, lent for as long as a request runs, by the process that owns them."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Final, Generic

from millrace.base.clock import Clock
from millrace.catalog.tuned.values import TunedModel
from millrace.engines.pool import E, Pool
from millrace.settings.limits import Limits


class Lending(Generic[E]):
    """Lends out of a pool that it owns; `make` makes the engine of a model, which the pool starts and ends."""

    def __init__(self, make: Callable[[TunedModel], E], limits: Limits, clock: Clock) -> None:
        self.pool: Final[Pool[E]] = Pool(
            clock, size=limits.tuned_models_max, idle_s=limits.tuned_idle_s, patience_s=limits.tuned_wait_s
        )
        self._make = make

    def lend(self, model: TunedModel) -> AbstractAsyncContextManager[E]:
        return self.pool.lease(model.name, lambda: self._make(model))

    def drop(self, name: str) -> None:
        self.pool.drop(name)
