"""Every way in which a request is refused: its status, its code, and that nothing was held."""

from collections.abc import Callable
from typing import Any

import pytest

from millrace.engines.fake import FakeScript
from millrace.settings.limits import Limits
from millrace.tenants import store as tenants
from millrace.tenants.values import Scope

Scene = Callable[..., None]

REFUSED: list[tuple[dict[str, Any], int, str, str | None]] = [
    ({"model": "nothing"}, 404, "model_not_found", "model"),
    ({"max_token": 5}, 422, "unsupported_parameter", "max_token"),
    ({"temperature": 9}, 422, "invalid_request", "temperature"),
    ({"max_tokens": 501}, 422, "invalid_request", "max_tokens"),
    ({"messages": [{"role": "user", "content": "word " * 1000}]}, 422, "context_length_exceeded", "messages"),
    ({"messages": [{"role": "user", "content": "word " * 600}], "max_tokens": 450}, 422, "context_length_exceeded", "messages"),
    ({"messages": []}, 422, "invalid_request", "messages"),
]


@pytest.mark.parametrize(("fields", "status", "code", "param"), REFUSED)
def test_a_request_that_cannot_be_met_is_refused_by_name(
    play: Scene, fields: dict[str, Any], status: int, code: str, param: str | None
) -> None:
    """What cannot be honoured is refused with its status, code and parameter, and nothing is held or generated."""

    async def scene(world: Any) -> None:
        answer = await world.chat(**fields)
        assert (answer.status, answer.error["code"], answer.error["param"]) == (status, code, param)
        assert world.balance().balance == 10_000_000_000
        assert not world.engine.orders

    play(scene)


def test_the_sentence_of_an_unknown_model_names_what_there_is(play: Scene) -> None:
    """A 404 for a model names the models on offer, only those the key may see."""

    async def scene(world: Any) -> None:
        assert "echo" in (await world.chat(model="nothing")).error["message"]
        limited = world.key(world.owner, models={"echo"})
        answer = await world.chat(model="nothing", key=limited)
        assert "spare" not in answer.error["message"]

    play(scene)


def test_a_key_limited_to_models_is_refused_others(play: Scene) -> None:
    """A key with an allow-list gets 403 for another model that exists."""

    async def scene(world: Any) -> None:
        limited = world.key(world.owner, models={"spare"})
        answer = await world.chat(key=limited)
        assert (answer.status, answer.error["code"]) == (403, "model_not_allowed")

    play(scene)


@pytest.mark.parametrize("key", ["", "mr_wrong", "mr_" + "A" * 43])
def test_a_wrong_key_is_refused(play: Scene, key: str) -> None:
    """A missing, malformed or unknown key is 401, with the scheme to use."""

    async def scene(world: Any) -> None:
        answer = await world.chat(key=key)
        assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")
        assert answer.headers["www-authenticate"] == "Bearer"

    play(scene)


def test_a_revoked_key_is_refused_within_a_second(play: Scene) -> None:
    """A key that served a moment ago is refused one second after its revocation."""

    async def scene(world: Any) -> None:
        key = world.key(world.owner, rpm=7)
        assert (await world.chat(key=key)).status == 200
        lost = next(found for found in world.db.read(lambda tx: tenants.keys(tx, world.owner)) if found.rpm == 7)
        world.db.write_now(lambda tx: tenants.revoke(tx, world.clock.now(), key_id=lost.id, reason="lost"))
        world.clock.advance(1)
        assert (await world.chat(key=key)).status == 401

    play(scene)


def test_a_suspended_tenant_is_refused(play: Scene) -> None:
    """A suspended tenant gets 403 within a second."""

    async def scene(world: Any) -> None:
        world.db.write_now(
            lambda tx: tenants.suspend(tx, world.ids, world.clock.now(), tenant=world.owner, reason="unpaid")
        )
        world.clock.advance(1)
        answer = await world.chat()
        assert (answer.status, answer.error["code"]) == (403, "tenant_suspended")

    play(scene)


def test_a_key_without_the_scope_is_refused(play: Scene) -> None:
    """A key for reading only may not generate, one for inference only may not read the balance."""

    async def scene(world: Any) -> None:
        reader = world.key(world.owner, scopes={Scope.READ})
        worker = world.key(world.owner, scopes={Scope.INFERENCE})
        assert (await world.chat(key=reader)).error["code"] == "scope_missing"
        assert (await world.call("GET", "/v1/balance", key=worker)).error["code"] == "scope_missing"

    play(scene)


def test_requests_per_minute_are_limited(play: Scene) -> None:
    """The request above a key's rpm is 429 with retry-after and the limit's name; after that time it is served."""

    async def scene(world: Any) -> None:
        key = world.key(world.owner, rpm=2)
        assert [(await world.chat(key=key)).status for _ in range(2)] == [200, 200]
        refused = await world.chat(key=key)
        assert (refused.status, refused.error["limit"]) == (429, "rpm")
        world.clock.advance(int(refused.headers["retry-after"]))
        assert (await world.chat(key=key)).status == 200

    play(scene)


def test_tokens_per_minute_are_taken_at_the_most_and_given_back(play: Scene) -> None:
    """tpm is taken at what a request can use and what it did not use comes back when it ends."""

    async def scene(world: Any) -> None:
        key = world.key(world.owner, tpm=150)
        assert (await world.chat(key=key, max_tokens=100)).status == 200
        assert (await world.chat(key=key, max_tokens=100)).status == 200
        never = await world.chat(key=key, max_tokens=200)
        assert (never.status, never.error["limit"]) == (429, "tpm")

    play(scene, script=FakeScript(tokens=2))


def test_a_monthly_budget_is_never_overshot(play: Scene) -> None:
    """The request that could bring a key over its budget of the month is 429 with the limit 'budget'."""

    async def scene(world: Any) -> None:
        key = world.key(world.owner, budget=100_000)
        served = 0
        while (answer := await world.chat(key=key, max_tokens=8)).status == 200:
            served += 1
        assert (answer.status, answer.error["limit"], answer.error["code"]) == (429, "budget", "budget_exceeded")
        assert int(answer.headers["retry-after"]) > 0
        assert 0 < served * 32_000 <= 100_000

    play(scene)


def test_requests_in_flight_are_bounded(play: Scene) -> None:
    """A server at its bound of running requests answers 429 and names the limit."""

    async def scene(world: Any) -> None:
        answer = await world.chat()
        assert (answer.status, answer.error["limit"]) == (429, "requests_in_flight")

    play(scene, limits=Limits(requests_in_flight_max=0))


def test_an_engine_that_is_not_ready_is_unavailable(play: Scene) -> None:
    """A model whose engine is not ready is 503 with retry-after."""

    async def scene(world: Any) -> None:
        answer = await world.chat(model="spare")
        assert (answer.status, answer.error["code"]) == (503, "engine_unavailable")
        assert int(answer.headers["retry-after"]) > 0

    play(scene)


def test_a_parameter_that_the_engine_cannot_honour_is_refused(play: Scene) -> None:
    """What the engine does not list in `honours` is 422 with the parameter's name."""

    async def scene(world: Any) -> None:
        world.engine.settings = type(world.engine.settings)(
            model="echo", context_tokens=1000, honours=frozenset({"temperature"})
        )
        answer = await world.chat(logprobs=True)
        assert (answer.status, answer.error["param"]) == (422, "logprobs")

    play(scene)
