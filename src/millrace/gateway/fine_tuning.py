"""`/v1/fine_tuning`: jobs that tune a model, for their tenant. What is asked is done by the office; nothing is trained here."""

import asyncio
import secrets
from collections.abc import Callable
from typing import Final, TypeVar

from millrace.gateway.exchange import Exchange
from millrace.gateway.paging import limit_of
from millrace.money.idempotency.key import HEADER, body_digest, key_digest, parse_key
from millrace.settings.limits import Limits
from millrace.store.database import Database
from millrace.store.transaction import Tx
from millrace.tenants.values import Caller, Scope
from millrace.tuning import forms
from millrace.tuning.curve import render_svg
from millrace.tuning.jobs import store
from millrace.tuning.jobs.values import Job, Wish
from millrace.tuning.office import Asked, Claimed, Office
from millrace.wire import fine_tuning as wire
from millrace.wire.fine_tuning import FineTuningRequest, parse_fine_tuning
from millrace.wire.json_body import encode, invalid

JOBS: Final = "/v1/fine_tuning/jobs"
SVG: Final = [(b"content-type", b"image/svg+xml; charset=utf-8")]

LIST_DEFAULT: Final = 20
LIST_MAX: Final = 100
EVENTS_MAX: Final = 1000

_PAGE: Final = frozenset({"after", "limit"})
_NO_QUERY: Final[frozenset[str]] = frozenset()

T = TypeVar("T")


class FineTuning:
    """The jobs of one gateway's callers."""

    def __init__(self, db: Database, office: Office, limits: Limits) -> None:
        self._db = db
        self._office = office
        self._limits = limits

    async def create(self, exchange: Exchange, caller: Caller) -> None:
        caller.require(Scope.INFERENCE)
        exchange.query(_NO_QUERY)
        body = await exchange.body(self._limits)
        asked = asked_for(parse_fine_tuning(body))
        await self._answer(exchange, await self._office.create(caller, asked, _claimed(exchange, caller, body)))

    async def estimate(self, exchange: Exchange, caller: Caller) -> None:
        caller.require(Scope.READ)
        exchange.query(_NO_QUERY)
        found = await self._office.estimate(caller, asked_for(parse_fine_tuning(await exchange.body(self._limits))))
        await exchange.answer(encode(forms.estimate_form(found.plan, found.price.id)))

    async def list(self, exchange: Exchange, caller: Caller) -> None:
        caller.require(Scope.READ)
        query = exchange.query(_PAGE)
        limit = limit_of(query, LIST_DEFAULT, LIST_MAX)

        def look(tx: Tx) -> tuple[list[wire.FineTuningJob], bool]:
            after = store.find(tx, query["after"], caller.tenant.id) if "after" in query else None
            found = store.page(tx, caller.tenant.id, limit + 1, after)
            return [forms.job_form(job, store.attempts(tx, job.id)) for job in found[:limit]], len(found) > limit

        data, has_more = await self._db.look(look)
        await exchange.answer(encode(wire.FineTuningJobList(data=data, has_more=has_more)))

    async def show(self, exchange: Exchange, caller: Caller) -> None:
        await self._answer(exchange, await self._look(exchange, caller, lambda _, job: job))

    async def cancel(self, exchange: Exchange, caller: Caller) -> None:
        caller.require(Scope.INFERENCE)
        exchange.query(_NO_QUERY)
        await self._answer(exchange, await self._office.cancel(_job_id(exchange), caller.tenant.id))

    async def events(self, exchange: Exchange, caller: Caller) -> None:
        query = exchange.query(_PAGE)
        limit = limit_of(query, LIST_DEFAULT, EVENTS_MAX)
        before = _number(query["after"]) if "after" in query else None

        def look(tx: Tx, job: Job) -> tuple[list[wire.FineTuningEvent], bool]:
            found = store.events(tx, job.id, limit + 1, before)
            return [forms.event_form(job, event) for event in found[:limit]], len(found) > limit

        data, has_more = await self._look(exchange, caller, look, asked=True)
        await exchange.answer(encode(wire.FineTuningEventList(data=data, has_more=has_more)))

    async def checkpoints(self, exchange: Exchange, caller: Caller) -> None:
        query = exchange.query(_PAGE)
        limit = limit_of(query, 10, LIST_MAX)

        def look(tx: Tx, job: Job) -> list[wire.FineTuningCheckpoint]:
            found = store.checkpoints(tx, job.id)
            ids = [row.id for row in found]
            if "after" in query:
                found = found[ids.index(query["after"]) + 1 :] if query["after"] in ids else []
            return [forms.checkpoint_form(job, row, store.step_at(tx, job.id, row.step)) for row in found[: limit + 1]]

        found = await self._look(exchange, caller, look, asked=True)
        data = found[:limit]
        form = wire.FineTuningCheckpointList(
            data=data, has_more=len(found) > limit, first_id=data[0].id if data else None, last_id=data[-1].id if data else None
        )
        await exchange.answer(encode(form))

    async def curve(self, exchange: Exchange, caller: Caller) -> None:
        job, rows = await self._look(exchange, caller, lambda tx, job: (job, store.steps(tx, job.id)))
        picture = await asyncio.to_thread(render_svg, forms.points(rows), f"Loss of {job.id}")
        await exchange.answer(picture.encode(), fields=SVG)

    async def _look(
        self, exchange: Exchange, caller: Caller, work: Callable[[Tx, Job], T], *, asked: bool = False
    ) -> T:
        caller.require(Scope.READ)
        if not asked:
            exchange.query(_NO_QUERY)
        job_id = _job_id(exchange)
        return await self._db.look(lambda tx: work(tx, store.find(tx, job_id, caller.tenant.id)))

    async def _answer(self, exchange: Exchange, job: Job) -> None:
        attempts = await self._db.look(lambda tx: store.attempts(tx, job.id))
        await exchange.answer(encode(forms.job_form(job, attempts)))


def asked_for(request: FineTuningRequest) -> Asked:
    """A job as the office takes it; a seed that nobody gave is drawn."""
    wish = Wish(
        n_epochs=request.n_epochs, batch_size=request.batch_size, learning_rate_multiplier=request.learning_rate_multiplier,
        seed=secrets.randbelow(2**31) if request.seed is None else request.seed, suffix=request.suffix,
    )  # fmt: skip
    return Asked(model=request.model, training_file=request.training_file, validation_file=request.validation_file, wish=wish)


def _claimed(exchange: Exchange, caller: Caller, body: bytes) -> Claimed | None:
    header = exchange.header(HEADER.lower().encode())
    if header is None:
        return None
    return Claimed(key_digest(caller.tenant.id, caller.project.id, parse_key(header)), body_digest(exchange.path, body))


def _job_id(exchange: Exchange) -> str:
    return exchange.path.removeprefix(JOBS).strip("/").partition("/")[0]


def _number(event_id: str) -> int:
    number = event_id.rpartition("-")[2]
    if not (number.isascii() and number.isdigit() and len(number) < 18):
        invalid("after", f"{event_id[:80]!r} is not the id of an event")
    return int(number)
