"""Idempotency-Key: the same request again gets the same answer, and is paid for once."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest
from msgspec import structs

from millrace.base.errors import Reason
from millrace.engines.fake import FakeScript
from millrace.gateway.connection import Connection
from millrace.money.idempotency import store as idempotency
from millrace.money.idempotency.claim import ANSWER_BYTES_MAX, Claim, Space
from millrace.money.idempotency.key import body_digest, key_digest
from millrace.settings.limits import Limits

Scene = Callable[..., None]
CREDIT = 10_000_000_000
KEY = {"idempotency-key": "order-4711"}


def leave_after(pieces: int) -> Callable[[Any, Connection], None]:
    """A client that goes as soon as it has so many pieces of text."""

    def on_part(answer: Any, connection: Connection) -> None:
        if len(answer.pieces) >= pieces:
            connection.lose()

    return on_part


def same(first: Any, again: Any) -> bool:
    """Whether `again` is a replay of `first`."""
    return bool(
        (again.status, again.body, again.request_id, again.headers["content-type"])
        == (first.status, first.body, first.request_id, first.headers["content-type"])
        and again.headers.get("idempotent-replayed") == "true"
        and "idempotent-replayed" not in first.headers
        and again.ended
    )


def charged(world: Any) -> int:
    """Requests that were billed something."""
    row = world.db.read(lambda tx: tx.row("SELECT COUNT(*) FROM usage WHERE input + output > 0"))
    return int(row[0])


async def until(true: Callable[[], object]) -> None:
    while not true():
        await asyncio.sleep(0)


FORMS = [
    {}, {"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}, {"stream": True, "n": 3},
]  # fmt: skip


@pytest.mark.parametrize("fields", FORMS, ids=str)
def test_a_repeat_is_answered_byte_for_byte(play: Scene, fields: dict[str, Any]) -> None:
    """Body, status and content type are the first's, and so is the request id, by which the one receipt is found."""

    async def scene(world: Any) -> None:
        first = await world.chat(headers=KEY, **fields)
        spent = CREDIT - world.balance().balance
        again = [await world.chat(headers=KEY, **fields) for _ in range(3)]
        assert first.status == 200
        assert all(same(first, answer) for answer in again)
        assert (await world.receipt(again[0]))["status"] == "completed"
        assert CREDIT - world.balance().balance == spent > 0
        assert list(world.engine.generated) == [first.request_id]

    play(scene)


def test_every_inference_route_repeats(play: Scene) -> None:
    """Text completions and embeddings too, each under a key of its own."""

    async def scene(world: Any) -> None:
        for path, body in (
            ("/v1/completions", b'{"model": "echo", "prompt": "once", "stream": true}'),
            ("/v1/completions", b'{"model": "echo", "prompt": "once"}'),
            ("/v1/embeddings", b'{"model": "echo", "input": ["red", "blue"]}'),
        ):
            key = {"idempotency-key": f"{path}{len(body)}"}
            first = await world.call("POST", path, body, headers=key)
            assert first.status == 200
            assert same(first, await world.call("POST", path, body, headers=key))
        assert charged(world) == 3

    play(scene)


def test_a_request_without_a_key_is_nobody_s_repeat(play: Scene) -> None:
    """The same body twice without the header runs and is billed twice, and nothing of it is kept."""

    async def scene(world: Any) -> None:
        one, two = await world.chat(), await world.chat()
        assert one.request_id != two.request_id
        assert charged(world) == 2
        assert world.db.read(lambda tx: tx.rows("SELECT key FROM idempotency")) == []

    play(scene)


def test_another_body_or_route_with_the_same_key_is_refused(play: Scene) -> None:
    """409 idempotency_conflict, finished or running; nothing runs and nothing is charged."""

    async def scene(world: Any) -> None:
        await world.chat(headers=KEY)
        world.engine.script = FakeScript(hang_after_tokens=0)
        running = asyncio.create_task(world.chat(headers={"idempotency-key": "k2"}, stream=True, max_tokens=9))
        await until(lambda: world.inference.running)
        other = [
            await world.chat(headers=KEY, max_tokens=5),
            await world.call("POST", "/v1/completions", b'{"model": "echo", "prompt": "once"}', headers=KEY),
            await world.chat(headers={"idempotency-key": "k2"}),
        ]
        assert [(answer.status, answer.error["code"]) for answer in other] == [(409, "idempotency_conflict")] * 3
        assert other[0].error["param"] == "Idempotency-Key"
        assert {answer.headers["x-should-retry"] for answer in other} == {"false"}
        world.inference.end_all()
        await running
        assert charged(world) == 1

    play(scene)


@pytest.mark.parametrize("stream", [False, True])
def test_fifty_at_once_run_once(play: Scene, stream: bool) -> None:
    """Of fifty concurrent repeats one runs; the others wait for it and get its answer; one charge, one use of the limits."""

    async def scene(world: Any) -> None:
        key = world.key(world.owner, rpm=1)
        answers = await asyncio.gather(*(world.chat(headers=KEY, key=key, stream=stream) for _ in range(50)))
        firsts = [answer for answer in answers if "idempotent-replayed" not in answer.headers]
        assert len(firsts) == 1
        assert all(same(firsts[0], answer) for answer in answers if answer is not firsts[0])
        assert charged(world) == 1
        assert len(world.engine.generated) == 1

    play(scene, script=FakeScript(tokens=8, token_delay_s=0.01))


def test_what_runs_elsewhere_is_asked_after(play: Scene) -> None:
    """A repeat of a request that another gateway runs waits until that one has ended, and replays its answer."""

    async def scene(world: Any) -> None:
        body = b'{"model": "echo", "prompt": "once"}'
        first = await world.call("POST", "/v1/completions", body, headers=KEY)
        row = world.db.read(lambda tx: tx.row("SELECT answer FROM idempotency"))
        world.db.write_now(lambda tx: tx.run("UPDATE idempotency SET state = 'running', answer = NULL"))
        waiting = [asyncio.create_task(world.call("POST", "/v1/completions", body, headers=KEY)) for _ in range(3)]
        asked_at = world.clock.monotonic()
        await until(lambda: world.clock.monotonic() > asked_at + 10**9)
        assert not any(task.done() for task in waiting)
        world.db.write_now(lambda tx: tx.run("UPDATE idempotency SET state = 'kept', answer = :answer", answer=row[0]))
        assert all(same(first, answer) for answer in await asyncio.gather(*waiting))

    play(scene)


def test_whoever_loses_the_race_for_a_key_waits_too(play: Scene) -> None:
    """A claim that another gateway makes between our look and our hold is found by the hold, and its answer replayed."""

    async def scene(world: Any) -> None:
        body = b'{"model": "echo", "prompt": "once"}'
        owner = world.owner
        project = world.db.read(lambda tx: tx.row("SELECT id FROM project WHERE tenant_id = :tenant", tenant=owner.id))[0]
        theirs = Claim(
            key=key_digest(owner.id, project, "order-4711"), tenant_id=owner.id, body=body_digest("/v1/completions", body),
            request_id=world.ids.new("req"), epoch=world.books.epoch, space_max=Space(keys=9, bytes=9 * ANSWER_BYTES_MAX),
        )  # fmt: skip
        measure = world.engine.measure

        async def slowly(prompt: Any) -> Any:
            world.db.write_now(lambda tx: idempotency.claim(tx, [theirs], world.clock.now()))
            world.engine.measure = measure
            return await measure(prompt)

        world.engine.measure = slowly
        waiting = asyncio.create_task(world.call("POST", "/v1/completions", body, headers=KEY))
        await until(lambda: world.inference.waiting)
        assert world.engine.generated == {}
        world.db.write_now(lambda tx: idempotency.release(tx, [theirs.request_id]))
        assert (await waiting).status == 200
        assert charged(world) == 1

    play(scene)


def test_a_refusal_leaves_the_key_free(play: Scene) -> None:
    """What is refused before or at the hold keeps nothing: the same key goes on to work, with another body too."""

    async def scene(world: Any) -> None:
        for fields, status in (
            ({"model": "none"}, 404), ({"max_tokens": "x"}, 422), ({"model": "spare"}, 503), ({"max_tokens": 100}, 402),
        ):
            key = world.key(world.owner, budget=1)
            assert (await world.chat(headers=KEY, key=key, **fields)).status in (status, 429)
        assert world.db.read(lambda tx: tx.rows("SELECT key FROM idempotency")) == []
        assert (await world.chat(headers=KEY)).status == 200

    play(scene)


@pytest.mark.parametrize("stream", [False, True])
def test_what_failed_for_nothing_runs_anew(play: Scene, stream: bool) -> None:
    """An engine that breaks before anything was released costs nothing, and the same key may be tried again."""

    async def scene(world: Any) -> None:
        refused = await world.chat(headers=KEY, stream=stream)
        assert refused.status == 503
        world.engine.script = FakeScript(tokens=8)
        first = await world.chat(headers=KEY, stream=stream)
        assert first.status == 200
        assert same(first, await world.chat(headers=KEY, stream=stream))
        assert charged(world) == 1

    play(scene, script=FakeScript(refuse=Reason.ENGINE_UNAVAILABLE))


def test_of_those_that_wait_for_a_failure_one_runs(play: Scene) -> None:
    """The first breaks for nothing: the next one in line is first then, and the others get its answer."""

    async def scene(world: Any) -> None:
        generate = world.engine.generate

        def broken(_order: Any) -> Any:
            world.engine.generate = generate
            raise RuntimeError("once")

        world.engine.generate = broken
        answers = await asyncio.gather(*(world.chat(headers=KEY) for _ in range(10)))
        assert sorted(answer.status for answer in answers) == [200] * 9 + [500]
        assert sum("idempotent-replayed" in answer.headers for answer in answers) == 8
        assert charged(world) == 1

    play(scene)


def test_a_whole_answer_that_nobody_took_runs_anew(play: Scene) -> None:
    """Its client left before it was sent, so it cost nothing; the repeat is made and billed."""

    async def scene(world: Any) -> None:
        left = asyncio.create_task(world.chat(headers=KEY))
        await until(lambda: world.inference.running)
        (run,) = world.inference.running.values()
        run.exchange.connection.lose()
        await left
        assert charged(world) == 0
        world.engine.script = FakeScript(tokens=3)
        assert (await world.chat(headers=KEY)).status == 200
        assert charged(world) == 1

    play(scene, script=FakeScript(hang_after_tokens=2))


def test_a_stream_that_its_client_left_is_replayed_to_there(play: Scene) -> None:
    """What was billed is replayed, then an error frame says why it ends there and how to have it whole; one charge."""

    async def scene(world: Any) -> None:
        left = await world.chat(headers=KEY, stream=True, on_part=leave_after(3))
        spent = CREDIT - world.balance().balance
        again = await world.chat(headers=KEY, stream=True)
        assert again.pieces == left.pieces
        assert len(again.pieces) == 3
        assert again.body.startswith(left.body)
        assert again.request_id == left.request_id
        error = again.frames[-1]["error"]
        assert (error["code"], error["param"]) == ("idempotency_answer_lost", "Idempotency-Key")
        assert left.request_id in error["message"]
        assert "its client left" in error["message"]
        assert "[DONE]" not in again.frames
        assert (await world.receipt(again))["tokens"]["output"] == 3
        assert CREDIT - world.balance().balance == spent
        assert (await world.chat(headers=KEY, stream=True)).body == again.body

    play(scene, script=FakeScript(tokens=100))


def test_a_frame_that_did_not_leave_is_not_replayed(play: Scene) -> None:
    """A replay shows what was billed: the frame that this process still held when the client went is waived."""

    async def scene(world: Any) -> None:
        def on_part(answer: Any, connection: Connection) -> None:
            if len(answer.pieces) == 4:
                connection.pause()
                asyncio.get_running_loop().call_soon(connection.lose)

        await world.chat(headers=KEY, stream=True, on_part=on_part)
        again = await world.chat(headers=KEY, stream=True)
        assert len(again.pieces) == (await world.receipt(again))["tokens"]["output"] == 3

    play(scene, script=FakeScript(tokens=100))


def test_a_repeat_that_waits_for_a_stream_which_is_cut_gets_it_cut(play: Scene) -> None:
    """It is the same request, and was billed: whoever waits is answered as whoever comes later."""

    async def scene(world: Any) -> None:
        left = asyncio.create_task(world.chat(headers=KEY, stream=True))
        await until(lambda: world.inference.running)
        waiting = asyncio.create_task(world.chat(headers=KEY, stream=True))
        await until(lambda: world.inference.waiting)
        (run,) = world.inference.running.values()
        await until(lambda: run._confirmed.output == 4)
        run.exchange.connection.lose()
        answer = await waiting
        assert answer.body.startswith((await left).body)
        assert len(answer.pieces) == 4
        assert answer.frames[-1]["error"]["code"] == "idempotency_answer_lost"
        assert charged(world) == 1

    play(scene, script=FakeScript(hang_after_tokens=4))


def test_a_stream_that_broke_is_replayed_to_there(play: Scene) -> None:
    """The engine broke after three tokens: they are billed once and replayed, and the end says that it broke."""

    async def scene(world: Any) -> None:
        first = await world.chat(headers=KEY, stream=True)
        assert first.frames[-1]["error"]["code"] == "engine_failed"
        again = await world.chat(headers=KEY, stream=True)
        assert again.frames[:-1] == first.frames[:-1]
        assert "it was broken off" in again.frames[-1]["error"]["message"]
        assert charged(world) == 1

    play(scene, script=FakeScript(fail_after_tokens=3))


def test_an_answer_too_large_to_keep_is_billed_once_and_said_so(play: Scene) -> None:
    """The repeat is told, with the first request's id, and does not run."""

    async def scene(world: Any) -> None:
        noise = random.Random(7)

        async def embed(texts: Any) -> Any:
            made = await type(world.engine).embed(world.engine, texts)
            return structs.replace(made, vectors=((*(noise.random() for _ in range(200_000)),),))

        world.engine.embed = embed
        body = b'{"model": "echo", "input": "red"}'
        first = await world.call("POST", "/v1/embeddings", body, headers=KEY)
        assert first.status == 200
        again = await world.call("POST", "/v1/embeddings", body, headers=KEY)
        assert (again.status, again.error["code"]) == (409, "idempotency_answer_lost")
        assert first.request_id in again.error["message"]
        assert "too large" in again.error["message"]
        assert charged(world) == 1
        assert world.db.read(lambda tx: idempotency.usage_of(tx, world.owner.id)) == Space(keys=1)

    play(scene)


def test_a_tenant_s_space_is_bounded(play: Scene) -> None:
    """At the bound a new key is 429 with retry-after; kept ones answer, requests without one run, a day later it goes on."""

    async def scene(world: Any) -> None:
        firsts = [await world.chat(headers={"idempotency-key": f"k{number}"}) for number in (1, 2)]
        full = await world.chat(headers={"idempotency-key": "k3"})
        assert (full.status, full.error["limit"], full.headers["retry-after"]) == (429, "idempotency_keys", "60")
        assert "2 answers" in full.error["message"]
        assert same(firsts[0], await world.chat(headers={"idempotency-key": "k1"}))
        assert (await world.chat()).status == 200
        assert (await world.chat(headers={"idempotency-key": "k3"}, key=world.stranger_key)).status == 200
        world.clock.advance(24 * 3600)
        world.db.write_now(lambda tx: idempotency.expire(tx, world.clock.now()))
        assert (await world.chat(headers={"idempotency-key": "k3"})).status == 200

    play(scene, limits=Limits(idempotency_keys_max=2))


def test_another_tenant_s_same_key_is_his_own(play: Scene) -> None:
    """The stranger's request with the owner's key and body runs and is billed to him."""

    async def scene(world: Any) -> None:
        owner = await world.chat(headers=KEY)
        stranger = await world.chat(headers=KEY, key=world.stranger_key)
        assert stranger.request_id != owner.request_id
        assert "idempotent-replayed" not in stranger.headers
        assert world.balance(world.stranger).balance == world.balance().balance < CREDIT

    play(scene)


def test_a_key_is_its_project_s(play: Scene) -> None:
    """Two keys of one project share an Idempotency-Key: a client may change its secret between the tries."""

    async def scene(world: Any) -> None:
        first = await world.chat(headers=KEY)
        assert same(first, await world.chat(headers=KEY, key=world.key(world.owner)))

    play(scene)


@pytest.mark.parametrize("key", ["", "two words", "x" * 256, "schl\xfcssel"])
def test_what_is_no_key_is_refused_by_name(play: Scene, key: str) -> None:
    """422 with the header's name; nothing runs."""

    async def scene(world: Any) -> None:
        answer = await world.chat(headers={"idempotency-key": key})
        assert (answer.status, answer.error["param"]) == (422, "Idempotency-Key")
        assert world.engine.generated == {}

    play(scene)


def test_a_replay_needs_neither_engine_nor_credit(play: Scene) -> None:
    """What was paid for is given again, whatever has happened since, and takes nothing of the minute's limits."""

    async def scene(world: Any) -> None:
        key = world.key(world.owner, rpm=1, budget=10_000_000)
        first = await world.chat(headers=KEY, key=key)
        assert (await world.chat(key=key)).status == 429
        await world.engine.close()
        assert same(first, await world.chat(headers=KEY, key=key))

    play(scene)


def test_a_repeat_does_not_wait_for_ever(play: Scene) -> None:
    """After limits.request_timeout_s it is told to come back; the first goes on."""

    async def scene(world: Any) -> None:
        world.db.write_now(lambda tx: tx.run("UPDATE idempotency SET state = 'running', answer = NULL"))
        answer = await world.chat(headers=KEY)
        assert (answer.status, answer.error["code"]) == (409, "idempotency_running")
        assert answer.headers["retry-after"] == "5"

    async def after_one(world: Any) -> None:
        await world.chat(headers=KEY)
        await scene(world)

    play(after_one, limits=Limits(request_timeout_s=0.05))


def test_a_client_that_leaves_while_it_waits_waits_no_longer(play: Scene) -> None:
    """Its place is free at once, and whoever it waited for goes on."""

    async def scene(world: Any) -> None:
        running = asyncio.create_task(world.chat(headers=KEY, stream=True))
        await until(lambda: world.inference.running)
        connection = Connection(lambda: False)
        waiting = asyncio.create_task(world.chat(headers=KEY, stream=True, connection=connection))
        await until(lambda: world.inference.waiting)
        connection.lose()
        assert (await waiting).status == 0
        assert not world.inference.waiting
        assert len(world.inference.running) == 1
        world.inference.end_all()
        await running

    play(scene, script=FakeScript(hang_after_tokens=2))


def test_a_stopping_server_lets_nobody_wait(play: Scene) -> None:
    """Who waits for what runs elsewhere is told to come back when the server has drained."""

    async def scene(world: Any) -> None:
        await world.chat(headers=KEY)
        world.db.write_now(lambda tx: tx.run("UPDATE idempotency SET state = 'running', answer = NULL"))
        waiting = asyncio.create_task(world.chat(headers=KEY))
        await until(lambda: world.inference.waiting)
        await world.inference.drain(1)
        answer = await waiting
        assert (answer.status, answer.error["code"]) == (503, "engine_unavailable")

    play(scene)


def test_an_answer_that_died_with_its_server_is_told_with_what_it_cost(play: Scene) -> None:
    """409 with the first's id and its billed tokens; nothing runs again under that key."""

    async def scene(world: Any) -> None:
        first = await world.chat(headers=KEY)
        world.db.write_now(lambda tx: tx.run("UPDATE idempotency SET state = 'lost', answer = NULL"))
        again = await world.chat(headers=KEY)
        usage = first.json["usage"]
        assert (again.status, again.error["code"]) == (409, "idempotency_answer_lost")
        assert first.request_id in again.error["message"]
        assert f"{usage['total_tokens']} tokens" in again.error["message"]
        assert charged(world) == 1

    play(scene)


def test_those_who_wait_are_counted_with_those_who_run(play: Scene) -> None:
    """A key's places are for both, so that waiting is bounded; what comes above is 429, and the others get their answer."""

    async def scene(world: Any) -> None:
        answers = await asyncio.gather(*(world.chat(headers=KEY) for _ in range(5)))
        refused = [answer for answer in answers if answer.status == 429]
        assert [answer.error["limit"] for answer in refused] == ["requests_in_flight_per_key"] * 2
        assert sorted(answer.status for answer in answers) == [200] * 3 + [429] * 2
        assert len({answer.body for answer in answers if answer.status == 200}) == 1

    play(scene, limits=Limits(requests_in_flight_per_key_max=3), script=FakeScript(tokens=8, token_delay_s=0.01))
