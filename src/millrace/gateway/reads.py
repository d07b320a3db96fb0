"""What a caller may look up: models, his receipts, his balance, his usage. Nobody sees another tenant's anything."""

import asyncio
from collections.abc import Mapping
from typing import Final, get_args

from millrace.base.clock import Clock
from millrace.base.errors import Reason, Refusal
from millrace.base.money import render_amount
from millrace.base.times import month_of, parse_time
from millrace.gateway.exchange import Exchange
from millrace.gateway.offers import Offered, Offers
from millrace.gateway.run import Run
from millrace.money.grants import store as grants
from millrace.money.metering import store as metering
from millrace.money.metering.store import By
from millrace.money.rating.book import PriceVersion
from millrace.money.rating.store import PriceBook
from millrace.money.retention import store as retention
from millrace.money.rollups import store as rollups
from millrace.store.database import Database
from millrace.tenants.values import Caller, Scope
from millrace.wire.answer_ids import parse_receipt_id
from millrace.wire.json_body import encode
from millrace.wire.models import ModelCard, ModelDeleted, render_model, render_model_list
from millrace.wire.receipts import balance_form, receipt_form, usage_form, usage_row_form

SETTLEMENT_WAIT_S: Final = 10.0
"""How long a receipt waits for a settlement under way: a commit takes milliseconds, a disk in trouble seconds."""

MODELS: Final = "/v1/models/"

_NO_QUERY: Final[frozenset[str]] = frozenset()
_USAGE_QUERY: Final = frozenset({"from", "to", "by"})
_BY: Final[frozenset[str]] = frozenset(get_args(By))


class Reads:
    """The GET side of the API."""

    def __init__(
        self,
        db: Database,
        offers: Offers,
        prices: PriceBook,
        clock: Clock,
        running: Mapping[str, Run],
    ) -> None:
        self._db = db
        self._offers = offers
        self._prices = prices
        self._clock = clock
        self._running = running

    async def models(self, exchange: Exchange, caller: Caller) -> None:
        exchange.query(_NO_QUERY)
        cards = [await self._card(offered, caller) for offered in await self._offers.visible(caller)]
        await exchange.answer(render_model_list(cards))

    async def model(self, exchange: Exchange, caller: Caller) -> None:
        exchange.query(_NO_QUERY)
        offered = await self._offers.find(exchange.path.removeprefix(MODELS), caller)
        await exchange.answer(render_model(await self._card(offered, caller)))

    async def delete_model(self, exchange: Exchange, caller: Caller) -> None:
        """Only one that the tenant tuned. A key for reading alone changes nothing."""
        caller.require(Scope.INFERENCE)
        exchange.query(_NO_QUERY)
        name = exchange.path.removeprefix(MODELS)
        await self._offers.remove(name, caller)
        await exchange.answer(encode(ModelDeleted(name)))

    async def receipt(self, exchange: Exchange, caller: Caller) -> None:
        caller.require(Scope.READ)
        exchange.query(_NO_QUERY)
        request_id = parse_receipt_id(exchange.path.removeprefix("/v1/receipts/"))
        run = self._running.get(request_id)
        if run is not None and run.hold.payer.tenant_id == caller.tenant.id:
            await self._settlement(run)
        usage = await self._db.look(lambda tx: metering.by_request(tx, request_id))
        if usage is None:
            await self._refuse_archived(request_id, caller)
        if usage is None or usage.tenant_id != caller.tenant.id:
            raise Refusal(
                Reason.NOT_FOUND, "there is no receipt of that request; take the id from the answer's x-request-id header"
            )
        form = receipt_form(
            request_id=usage.request_id, model=usage.model, status=usage.status.value, counted_by=usage.counted_by,
            price=usage.price_id, amount_nano=usage.amount, currency=usage.currency, started_at=usage.started_at,
            finished_at=usage.finished_at, tokens=usage.tokens, waived=usage.waived,
        )  # fmt: skip
        await exchange.answer(encode(form))

    async def _refuse_archived(self, request_id: str, caller: Caller) -> None:
        """A request of long ago is told from one that never was, to its own tenant."""
        found = await self._db.look(lambda tx: retention.archived(tx, request_id))
        if found is not None and found[0] == caller.tenant.id:
            raise Refusal(
                Reason.NOT_FOUND,
                f"the receipt of {request_id} is archived; ask the operator for its row in the file {found[1]}, and see the "
                "month's invoice",
            )

    async def balance(self, exchange: Exchange, caller: Caller) -> None:
        caller.require(Scope.READ)
        exchange.query(_NO_QUERY)
        tenant = caller.tenant
        found = await self._db.look(lambda tx: grants.balance(tx, tenant.id, tenant.currency, self._clock.now()))
        form = balance_form(
            tenant=tenant.name, currency=found.currency, balance_nano=found.balance, held_nano=found.held,
            available_nano=found.available,
        )  # fmt: skip
        await exchange.answer(encode(form))

    async def usage(self, exchange: Exchange, caller: Caller) -> None:
        """`from` and `to` (dates or instants) default to the running UTC month; `by` is model, day or key."""
        caller.require(Scope.READ)
        query = exchange.query(_USAGE_QUERY)
        month = month_of(self._clock.now())
        start = parse_time(query["from"], param="from") if "from" in query else month.start
        end = parse_time(query["to"], param="to") if "to" in query else month.end
        by = _by(query.get("by", "model"))
        if end < start:
            raise Refusal(Reason.INVALID_REQUEST, "to: it lies before from", param="to")
        sums = await asyncio.to_thread(
            self._db.read, lambda tx: rollups.sums(tx, caller.tenant.id, start, end, by)
        )
        rows = [
            usage_row_form(
                by, row.key, requests=row.requests, tokens=row.tokens, waived=row.waived, amount_nano=row.amount,
                currency=row.currency,
            )
            for row in sums
        ]
        await exchange.answer(encode(usage_form(tenant=caller.tenant.name, start=start, end=end, rows=rows)))

    async def _settlement(self, run: Run) -> None:
        try:
            await asyncio.wait_for(run.settled.wait(), SETTLEMENT_WAIT_S)
        except TimeoutError:
            raise Refusal(
                Reason.CONFLICT, f"request {run.hold.request_id} is still running; its receipt is written when it ends",
                retry_after_s=5,
            ) from None

    async def _card(self, offered: Offered, caller: Caller) -> ModelCard:
        model, tuned = offered.model, offered.tuned
        price = await self._price(offered.priced_as, caller.tenant.currency)
        return ModelCard(
            id=model.name, created=model.created, owned_by=model.owned_by, context_tokens=model.context_tokens,
            max_output_tokens=model.max_output_tokens, embeds=self._offers.embeds(offered),
            prices=None if price is None else price_form(price), parent=None if tuned is None else tuned.base,
        )  # fmt: skip


    async def _price(self, model: str, currency: str) -> PriceVersion | None:
        """None where the model has no price in the caller's currency: it is on offer, and not for him yet."""
        try:
            return await self._prices.current(model, currency)
        except Refusal:
            return None


def price_form(price: PriceVersion) -> dict[str, object]:
    """A price as callers see it: decimal strings per 1,000,000 tokens, by tier."""
    return {
        "id": price.id,
        "currency": price.currency,
        "tiers": [
            {
                "up_to_input_tokens": tier.up_to_input_tokens,
                "input": render_amount(tier.input),
                "cached_input": render_amount(tier.cached_input),
                "output": render_amount(tier.output),
            }
            for tier in price.tiers
        ],
    }


def _by(text: str) -> By:
    if text not in _BY:
        raise Refusal(Reason.INVALID_REQUEST, f"by: {text!r} is none of day, key, model", param="by")
    return text  # type: ignore[return-value]  # checked just now
