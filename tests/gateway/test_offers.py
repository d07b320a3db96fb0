"""Tuned models: served to their tenant at their base's price, and for anybody else not there at all."""

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from millrace.catalog.tuned import store
from millrace.catalog.tuned.values import TunedModel, tuned_name
from millrace.money.audit.run import audit
from millrace.settings.limits import Limits
from millrace.tenants.values import Scope, Tenant

Scene = Callable[..., None]


def publish(world: Any, tenant: Tenant, job: str = "job_1", base: str = "echo") -> str:
    model = TunedModel(
        name=tuned_name(base, tenant.name, job), tenant_id=tenant.id, base=base, job_id=job, sha256="a" * 64,
        created_at=world.clock.now(),
    )  # fmt: skip
    return str(world.db.write_now(lambda tx: store.publish(tx, model)).name)


async def names(world: Any, key: str | None = None) -> list[str]:
    return [card["id"] for card in (await world.call("GET", "/v1/models", key=key)).json["data"]]


def test_its_tenant_is_served(play: Scene) -> None:
    """The answer is the adapter's; usage and receipt have the tuned name and the base's price."""

    async def scene(world: Any) -> None:
        name = publish(world, world.owner)
        answer = await world.chat(model=name)
        assert answer.json["model"] == name
        assert answer.json["choices"][0]["message"]["content"].startswith(f"[{name}] ")
        receipt, plain = await world.receipt(answer), await world.receipt(await world.chat())
        assert (receipt["model"], receipt["price"]) == (name, "echo/CNY/v1") == (name, plain["price"])
        rows = (await world.call("GET", "/v1/usage", query="by=model")).json["rows"]
        assert {row["model"] for row in rows} == {name, "echo"}

    play(scene)


def test_a_stream_is_served_too(play: Scene) -> None:
    """Frames name the tuned model."""

    async def scene(world: Any) -> None:
        name = publish(world, world.owner)
        answer = await world.chat(model=name, stream=True)
        assert answer.pieces[0] == f"[{name}] "

    play(scene)


def test_the_books_agree(play: Scene) -> None:
    """The audit finds everything in order after tuned requests: rated by the base's price, revenue under the tuned name."""

    async def scene(world: Any) -> None:
        name = publish(world, world.owner)
        assert [(await world.chat(model=model)).status for model in (name, "echo", name)] == [200] * 3
        assert [check for check in world.db.read(audit) if not check.ok] == []
        account = world.db.read(lambda tx: tx.rows("SELECT credits_posted FROM account WHERE id LIKE 'revenue/CNY/ft:%'"))
        assert account[0][0] > 0

    play(scene)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_stranger_s_model_is_answered_like_none(play: Scene, method: str) -> None:
    """Status, code and sentence of a look-up or deletion are those of a name that nobody has."""

    async def scene(world: Any) -> None:
        theirs = publish(world, world.owner)
        nobodys = tuned_name("echo", world.owner.name, "job_none")
        answers = [await world.call(method, f"/v1/models/{name}", key=world.stranger_key) for name in (theirs, nobodys)]
        assert [answer.status for answer in answers] == [404, 404]
        assert answers[0].body.replace(theirs.encode(), nobodys.encode()) == answers[1].body
        assert theirs in await names(world)

    play(scene)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/embeddings"])
def test_a_stranger_is_not_served(play: Scene, path: str) -> None:
    """On no route, and in the words for a model that is not there; the headers are the same, too."""

    async def scene(world: Any) -> None:
        theirs, nobodys = publish(world, world.owner), tuned_name("echo", world.owner.name, "job_none")
        asked: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]} if "chat" in path else {}
        asked |= {"input": "hi"} if "embed" in path else {"prompt": "hi"} if not asked else {}
        answers = []
        for name in (theirs, nobodys):
            body = json.dumps({"model": name} | asked).encode()
            answers.append(await world.call("POST", path, body, key=world.stranger_key))
        assert [answer.status for answer in answers] == [404, 404]
        assert answers[0].body.replace(theirs.encode(), nobodys.encode()) == answers[1].body
        assert answers[0].headers.keys() == answers[1].headers.keys()
        assert not world.lending.pool.names

    play(scene)


def test_a_stranger_s_model_is_on_no_list(play: Scene) -> None:
    """Neither in the models of another tenant, nor in the sentences of its refusals, nor in the metrics."""

    async def scene(world: Any) -> None:
        name = publish(world, world.owner)
        assert (await world.chat(model=name)).status == 200
        assert await names(world, world.stranger_key) == ["echo", "spare"]
        assert (await world.call("GET", "/v1/models", key=world.stranger_key)).body.find(b"ft:") == -1
        refused = await world.chat(model="nothing", key=world.stranger_key)
        limited = await world.chat(model="echo", key=world.key(world.stranger, models={"spare"}))
        assert name not in refused.error["message"] + limited.error["message"]
        metrics = (await world.call("GET", "/metrics")).body.decode()
        assert world.owner.name not in re.findall(r'model="([^"]*)"', metrics)
        assert name not in metrics
        assert 'millrace_requests_total{model="ft:echo",status="completed"} 1.0' in metrics

    play(scene)


def test_a_stranger_has_no_receipt_of_it(play: Scene) -> None:
    """A receipt is its tenant's, whatever the model."""

    async def scene(world: Any) -> None:
        answer = await world.chat(model=publish(world, world.owner))
        path = f"/v1/receipts/{answer.request_id}"
        assert (await world.call("GET", path, key=world.stranger_key)).status == 404

    play(scene)


def test_its_card(play: Scene) -> None:
    """Sized and priced as its base, owned by the tenant, with its base as parent, and it makes no embeddings."""

    async def scene(world: Any) -> None:
        name = publish(world, world.owner)
        card = (await world.call("GET", f"/v1/models/{name}")).json
        base = (await world.call("GET", "/v1/models/echo")).json
        assert (card["id"], card["owned_by"], card["parent"], card["embeds"]) == (name, "mill", "echo", False)
        assert {key: card[key] for key in ("context_tokens", "max_output_tokens", "prices")} == {
            key: base[key] for key in ("context_tokens", "max_output_tokens", "prices")
        }
        assert base["parent"] is None
        assert await names(world) == ["echo", "spare", name]
        refused = await world.call("POST", "/v1/embeddings", json.dumps({"model": name, "input": "hi"}).encode())
        assert (refused.status, refused.error["param"]) == (422, "model")

    play(scene)


def test_a_limited_key_needs_it_in_its_list(play: Scene) -> None:
    """A key for other models gets 403 for its tenant's tuned model and does not see it; one for it alone is served."""

    async def scene(world: Any) -> None:
        name = publish(world, world.owner)
        others, own = world.key(world.owner, models={"echo"}), world.key(world.owner, models={name})
        answer = await world.chat(model=name, key=others)
        assert (answer.status, answer.error["code"]) == (403, "model_not_allowed")
        assert await names(world, others) == ["echo"]
        assert (await world.call("DELETE", f"/v1/models/{name}", key=others)).status == 403
        assert (await world.chat(model=name, key=own)).status == 200
        assert await names(world, own) == [name]

    play(scene)


def test_a_deleted_model_is_gone_at_once(play: Scene) -> None:
    """The OpenAI answer, then 404 in the words for no model; its engine has ended, and usage stays."""

    async def scene(world: Any) -> None:
        name = publish(world, world.owner)
        served = await world.chat(model=name)
        answer = await world.call("DELETE", f"/v1/models/{name}")
        assert answer.json == {"id": name, "object": "model", "deleted": True}
        assert (await world.chat(model=name)).error["code"] == "model_not_found"
        assert (await world.call("DELETE", f"/v1/models/{name}")).status == 404
        assert not world.lending.pool.names
        assert (await world.receipt(served))["model"] == name

    play(scene)


def test_one_that_another_process_removed_is_gone_within_half_a_second(play: Scene) -> None:
    """What was found is used for that long and no longer."""

    async def scene(world: Any) -> None:
        name = publish(world, world.owner)
        assert (await world.chat(model=name)).status == 200
        found = world.db.read(lambda tx: store.named(tx, name))
        world.db.write_now(lambda tx: store.remove(tx, found, world.clock.now()))
        world.clock.advance(0.5)
        assert (await world.chat(model=name)).status == 404

    play(scene)


def test_a_new_one_is_there_within_half_a_second(play: Scene) -> None:
    """Also where its tenant asked for it just before."""

    async def scene(world: Any) -> None:
        assert await names(world) == ["echo", "spare"]
        name = publish(world, world.owner)
        world.clock.advance(0.5)
        assert name in await names(world)

    play(scene)


def test_only_tuned_models_can_be_deleted(play: Scene) -> None:
    """A model of the service is refused by name, and a key for reading deletes nothing."""

    async def scene(world: Any) -> None:
        answer = await world.call("DELETE", "/v1/models/echo")
        assert (answer.status, answer.error["code"]) == (403, "model_not_allowed")
        name = publish(world, world.owner)
        reader = world.key(world.owner, scopes={Scope.READ})
        assert (await world.call("DELETE", f"/v1/models/{name}", key=reader)).error["code"] == "scope_missing"
        assert (await world.call("POST", f"/v1/models/{name}")).status == 405

    play(scene)


def test_without_its_base_it_is_not_on_offer(play: Scene) -> None:
    """A base that was taken out of the settings takes its tuned models along; they can still be deleted."""

    async def scene(world: Any) -> None:
        name = publish(world, world.owner, base="gone")
        assert (await world.chat(model=name)).error["code"] == "model_not_found"
        assert name not in await names(world)
        assert (await world.call("DELETE", f"/v1/models/{name}")).status == 200

    play(scene)


def test_places_are_bounded(play: Scene) -> None:
    """With every place in use a further tuned model is 503 with retry-after; then it takes the place of an idle one."""

    async def scene(world: Any) -> None:
        first, second = publish(world, world.owner), publish(world, world.owner, "job_2")
        async with world.lending.lend(world.db.read(lambda tx: store.named(tx, first))):
            refused = await world.chat(model=second)
            assert (refused.status, refused.error["code"]) == (503, "engine_unavailable")
            assert int(refused.headers["retry-after"]) > 0
        assert (await world.chat(model=second)).status in (200, 503)
        await asyncio.sleep(0)
        assert (await world.chat(model=second)).status == 200
        assert world.lending.pool.names == [second]

    play(scene, limits=Limits(tuned_models_max=1))
