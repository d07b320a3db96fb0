"""From a parsed request to an order that may run: which model, what it can honour, how large it can get, at what price."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from msgspec import Struct

from millrace.base.errors import Reason, Refusal
from millrace.catalog.model import Model
from millrace.engines.protocol import Engine, EngineState, PromptSize, not_ready
from millrace.gateway.offers import Offers
from millrace.generation.order import Order, Sampling
from millrace.generation.prompt import ChatPrompt, Prompt
from millrace.money.billing.hold import Payer
from millrace.money.rating.book import PriceVersion
from millrace.money.rating.store import PriceBook
from millrace.tenants.values import Caller


class Offer(Struct, frozen=True):
    """A model with the engine that serves it and the price that this caller pays."""

    model: Model
    engine: Engine
    price: PriceVersion
    sold_as: str | None = None
    """What usage names where that is not the price's model."""


class Admitted(Struct, frozen=True, kw_only=True):
    """An order that passed every check which costs nobody anything, and the bounds of what it can use."""

    offer: Offer
    order: Order
    payer: Payer
    input_bound: int
    output_bound: int

    @property
    def tokens_bound(self) -> int:
        return self.input_bound + self.output_bound


class Admission:
    """Answers 'what exactly would run, and how much can it come to'; nothing is held or generated here."""

    def __init__(self, offers: Offers, prices: PriceBook) -> None:
        self._offers = offers
        self._prices = prices

    @asynccontextmanager
    async def offer(self, name: str, caller: Caller) -> AsyncGenerator[Offer, None]:
        """The model of that name, for this caller and for one request. 404 unknown, 403 not allowed, 503 not ready."""
        offered = await self._offers.find(name, caller)
        price = await self._prices.current(offered.priced_as, caller.tenant.currency)
        async with self._offers.engine(offered) as engine:
            if engine.state is not EngineState.READY:
                raise not_ready(name, engine.state)
            yield Offer(offered.model, engine, price, offered.sold_as)

    async def admit(
        self,
        request_id: str,
        offer: Offer,
        caller: Caller,
        prompt: Prompt,
        sampling: Sampling,
        max_tokens: int | None,
        stream: bool,
    ) -> Admitted:
        """The order, or a refusal by name of what cannot be honoured. A prompt that does not fit is never cut."""
        _refuse_parameters(offer, sampling)
        size = await offer.engine.measure(prompt)
        each = _max_tokens(offer.model, size, prompt, max_tokens)
        order = Order(request_id=request_id, prompt=prompt, sampling=sampling, max_tokens=each, stream=stream)
        return Admitted(
            offer=offer,
            order=order,
            payer=payer_of(caller),
            input_bound=min(size.tokens, offer.model.context_tokens) if not size.exact else size.tokens,
            output_bound=each * order.choices,
        )


def payer_of(caller: Caller) -> Payer:
    return Payer(
        tenant_id=caller.tenant.id,
        project_id=caller.project.id,
        key_id=caller.key.id,
        currency=caller.tenant.currency,
        budget=caller.key.budget,
    )


def _refuse_parameters(offer: Offer, sampling: Sampling) -> None:
    for name in sampling.named():
        if name not in offer.engine.honours:
            raise Refusal(
                Reason.UNSUPPORTED_PARAMETER,
                f"{name}: model {offer.model.name!r} cannot honour it; leave it out or use another model",
                param=name,
            )


def _max_tokens(model: Model, size: PromptSize, prompt: Prompt, asked: int | None) -> int:
    """How many tokens each choice may have. What the caller asks for is given or refused, never quietly made less."""
    if asked is not None and asked > model.max_output_tokens:
        raise Refusal(
            Reason.INVALID_REQUEST,
            f"max_tokens: model {model.name!r} makes at most {model.max_output_tokens} tokens, {asked} were asked for",
            param="max_tokens",
        )
    if not size.exact:
        return asked or model.max_output_tokens
    room = model.context_tokens - size.tokens
    if room < (asked or 1):
        wanted = f" and {asked} are asked for (max_tokens)" if asked and room > 0 else ""
        raise Refusal(
            Reason.CONTEXT_LENGTH_EXCEEDED,
            f"the prompt has {size.tokens} tokens{wanted}; model {model.name!r} takes {model.context_tokens} together; "
            "shorten the prompt or ask for less",
            param="messages" if isinstance(prompt, ChatPrompt) else "prompt",
        )
    return asked or min(model.max_output_tokens, room)
