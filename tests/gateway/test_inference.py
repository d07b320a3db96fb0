"""Whatever ends a request, it is settled once, at what the client got."""

import asyncio
import os
from collections.abc import Callable
from typing import Any

import pytest

from millrace.base.errors import Reason
from millrace.engines.fake import FakeScript
from millrace.gateway.connection import Connection
from millrace.settings.limits import Limits

Scene = Callable[..., None]


def leave_after(pieces: int) -> Callable[[Any, Connection], None]:
    """A client that goes as soon as it has so many pieces of text."""

    def on_part(answer: Any, connection: Connection) -> None:
        if len(answer.pieces) >= pieces:
            connection.lose()

    return on_part


def test_an_answer_carries_the_usage_that_its_receipt_has(play: Scene) -> None:
    """A whole answer's usage equals the receipt, and the balance goes down by exactly the receipt's amount."""

    async def scene(world: Any) -> None:
        answer = await world.chat()
        receipt = await world.receipt(answer)
        assert answer.status == 200
        usage = answer.json["usage"]
        tokens = receipt["tokens"]
        assert (usage["prompt_tokens"], usage["completion_tokens"]) == (tokens["input"], tokens["output"])
        assert tokens["output"] == world.engine.generated[answer.request_id] == 8
        assert receipt["status"] == "completed"
        assert receipt["counted_by"] == "engine"
        spent = 10_000_000_000 - world.balance().balance
        assert spent == tokens["input"] * 1000 + tokens["output"] * 4000
        assert receipt["amount"] == f"0.{spent:09d}"

    play(scene)


def test_a_stream_ends_with_the_settled_usage(play: Scene) -> None:
    """A stream with include_usage ends with a frame of the settled usage and [DONE]; other frames say usage null."""

    async def scene(world: Any) -> None:
        answer = await world.chat(stream=True, stream_options={"include_usage": True})
        receipt = await world.receipt(answer)
        *chunks, last, done = answer.frames
        assert done == "[DONE]"
        assert last["choices"] == []
        assert last["usage"]["completion_tokens"] == receipt["tokens"]["output"] == len(answer.pieces) == 8
        assert {frame["usage"] for frame in chunks} == {None}
        assert answer.headers["content-type"].startswith("text/event-stream")

    play(scene)


@pytest.mark.parametrize("pieces", [1, 3, 7])
def test_a_client_that_leaves_pays_for_what_it_got(play: Scene, pieces: int) -> None:
    """A client that leaves a stream after k tokens, all taken by the kernel, is billed for k tokens; the engine stops."""

    async def scene(world: Any) -> None:
        answer = await world.chat(stream=True, max_tokens=100, on_part=leave_after(pieces))
        receipt = await world.receipt(answer)
        assert receipt["status"] == "cancelled"
        assert receipt["tokens"]["output"] == len(answer.pieces) == pieces
        assert world.engine.live == 0

    play(scene, script=FakeScript(tokens=100))


def test_chunks_that_come_together_leave_together(play: Scene) -> None:
    """Tokens that the engine makes in one go are one piece on the wire, each with its frame, and are billed one by one."""

    async def scene(world: Any) -> None:
        answer = await world.chat(stream=True)
        assert len(answer.pieces) == 8
        assert len(answer.parts) == 3  # two bursts of four, and the end
        assert (await world.receipt(answer))["tokens"]["output"] == 8
        left = await world.chat(stream=True, on_part=leave_after(1))
        assert len(left.pieces) == 4
        assert (await world.receipt(left))["tokens"]["output"] == 4

    play(scene, script=FakeScript(tokens=8, burst=4))


def test_a_client_that_leaves_between_two_tokens_is_billed_exactly(play: Scene) -> None:
    """A client that leaves while the engine thinks is billed for every token it got and none besides."""

    async def scene(world: Any) -> None:
        held: list[Connection] = []

        def on_part(_answer: Any, connection: Connection) -> None:
            held.append(connection)

        running = asyncio.create_task(world.chat(stream=True, on_part=on_part))
        while len(held) < 5:
            await asyncio.sleep(0)
        held[0].lose()
        answer = await running
        receipt = await world.receipt(answer)
        assert receipt["tokens"]["output"] == len(answer.pieces) == 5
        assert receipt["tokens"]["waived"] == 0
        assert receipt["status"] == "cancelled"

    play(scene, script=FakeScript(tokens=100, hang_after_tokens=5))


def test_a_client_that_stops_reading_is_not_billed_for_what_it_never_took(play: Scene) -> None:
    """Bytes that this process still holds when the client goes are waived, not billed."""

    async def scene(world: Any) -> None:
        def on_part(answer: Any, connection: Connection) -> None:
            if len(answer.pieces) == 4:
                connection.pause()
                asyncio.get_running_loop().call_soon(connection.lose)

        answer = await world.chat(stream=True, on_part=on_part)
        receipt = await world.receipt(answer)
        assert receipt["tokens"]["output"] == 3
        assert receipt["tokens"]["waived"] == 1

    play(scene, script=FakeScript(tokens=100))


def test_a_slow_client_is_waited_for_and_billed_for_all_of_it(play: Scene) -> None:
    """A client that stops reading for a while holds its stream back, and pays for every token in the end."""

    async def scene(world: Any) -> None:
        def on_part(answer: Any, connection: Connection) -> None:
            if len(answer.pieces) == 4:
                connection.pause()
                asyncio.get_running_loop().call_later(0.01, connection.resume)

        answer = await world.chat(stream=True, on_part=on_part)
        assert (await world.receipt(answer))["tokens"]["output"] == len(answer.pieces) == 8

    play(scene)


def test_bytes_written_to_a_closing_connection_are_not_billed(play: Scene) -> None:
    """Between a client's end of file and the news of it, what is written goes nowhere and costs nothing."""

    async def scene(world: Any) -> None:
        def on_part(answer: Any, connection: Connection) -> None:
            if len(answer.pieces) == 4:
                connection._closing = lambda: True

        answer = await world.chat(stream=True, on_part=on_part)
        receipt = await world.receipt(answer)
        assert receipt["tokens"]["output"] == len(answer.pieces) == 4
        assert receipt["status"] == "cancelled"

    play(scene)


def test_a_client_that_leaves_before_the_first_token_pays_nothing(play: Scene) -> None:
    """Nothing released, nothing billed: the hold is voided and the receipt says zero."""

    async def scene(world: Any) -> None:
        connections: list[Connection] = []
        world.engine.script = FakeScript(hang_after_tokens=0)
        running = asyncio.create_task(world.chat(stream=True))
        while not world.inference.running:
            await asyncio.sleep(0)
        run = next(iter(world.inference.running.values()))
        connections.append(run.exchange.connection)
        connections[0].lose()
        await running
        assert world.balance().balance == 10_000_000_000
        usage = (await world.call("GET", "/v1/usage")).json
        assert usage["rows"][0]["requests"] == 1
        assert usage["rows"][0]["amount"] == "0.000000000"

    play(scene)


def test_a_whole_answer_that_cannot_be_delivered_costs_nothing(play: Scene) -> None:
    """A client that left before its whole answer was sent pays nothing."""

    async def scene(world: Any) -> None:
        def on_part(_answer: Any, connection: Connection) -> None:
            connection.pause()
            asyncio.get_running_loop().call_soon(connection.lose)

        answer = await world.chat(on_part=on_part)
        receipt = await world.receipt(answer)
        assert receipt["amount"] == "0.000000000"
        assert receipt["status"] == "cancelled"
        assert world.balance().balance == 10_000_000_000

    play(scene)


def test_an_engine_that_breaks_in_a_stream_is_told_and_billed_to_there(play: Scene) -> None:
    """When the engine dies in the middle the stream ends with an error event, settled at what was released."""

    async def scene(world: Any) -> None:
        answer = await world.chat(stream=True)
        assert answer.frames[-1]["error"]["code"] == "engine_failed"
        assert "[DONE]" not in answer.frames
        receipt = await world.receipt(answer)
        assert receipt["status"] == "failed"
        assert receipt["tokens"]["output"] == len(answer.pieces) == 3

    play(scene, script=FakeScript(fail_after_tokens=3))


def test_an_engine_that_breaks_in_a_whole_answer_costs_nothing(play: Scene) -> None:
    """A whole answer that the engine could not finish is a 502 and costs nothing."""

    async def scene(world: Any) -> None:
        answer = await world.chat()
        assert answer.status == 502
        assert (await world.receipt(answer))["amount"] == "0.000000000"

    play(scene, script=FakeScript(fail_after_tokens=3))


def test_a_refusal_before_the_first_token_has_its_status(play: Scene) -> None:
    """An engine that refuses a stream before its first token is an HTTP status, not a broken stream."""

    async def scene(world: Any) -> None:
        answer = await world.chat(stream=True)
        assert answer.status == 503
        assert answer.headers["retry-after"] == "1"
        assert answer.error["code"] == "engine_unavailable"
        assert world.balance().balance == 10_000_000_000

    play(scene, script=FakeScript(refuse=Reason.ENGINE_UNAVAILABLE))


def test_a_request_that_the_balance_cannot_pay_is_refused_with_what_is_missing(play: Scene) -> None:
    """A hold above the balance is 402 with the missing amount, and reserves nothing."""

    async def scene(world: Any) -> None:
        world.engine.script = FakeScript(tokens=2)
        while (await world.chat(max_tokens=500)).status == 200:
            world.clock.advance(1)
        refused = await world.chat(max_tokens=500)
        assert refused.status == 402
        assert refused.error["code"] == "insufficient_credit"
        bound = 8 * 1000 + 500 * 4000
        left = world.balance().available
        assert f"0.{bound - left:09d} of that is missing" in refused.error["message"]
        assert world.balance().held == 0
        assert left >= 0

    async def spend(world: Any) -> None:
        world.db.write_now(
            lambda tx: tx.run(
                "UPDATE account SET debits_posted = credits_posted - 1500000 WHERE id LIKE 'grant/%'"
                " AND id = (SELECT 'grant/' || id FROM credit_grant WHERE tenant_id = :tenant)",
                tenant=world.owner.id,
            )
        )
        await scene(world)

    play(spend)


def test_an_answer_that_takes_too_long_is_cut_and_billed_to_there(play: Scene) -> None:
    """A request over limits.request_timeout_s ends with an error event and is billed for what was released."""

    async def scene(world: Any) -> None:
        answer = await world.chat(stream=True)
        assert "longer than" in answer.frames[-1]["error"]["message"]
        assert (await world.receipt(answer))["tokens"]["output"] == len(answer.pieces) == 2

    play(scene, limits=Limits(request_timeout_s=0.05), script=FakeScript(hang_after_tokens=2))


def test_a_stopping_server_ends_what_runs_and_settles_it(play: Scene) -> None:
    """Drain takes nothing new, waits, then ends the running streams with an error event, each settled."""

    async def scene(world: Any) -> None:
        running = asyncio.create_task(world.chat(stream=True))
        while not world.inference.running:
            await asyncio.sleep(0)
        draining = asyncio.create_task(world.inference.drain(1.0))
        await asyncio.sleep(0)
        refused = await world.chat()
        assert refused.status == 503
        await draining
        answer = await running
        assert answer.frames[-1]["error"]["code"] == "engine_unavailable"
        assert (await world.receipt(answer))["tokens"]["output"] == len(answer.pieces) == 4

    play(scene, script=FakeScript(hang_after_tokens=4))


def test_a_bug_in_an_engine_is_an_internal_error_and_nothing_is_lost(play: Scene) -> None:
    """An unexpected exception is told as internal_error without its text, counted, and the request is settled."""

    async def scene(world: Any) -> None:
        def broken(_order: Any) -> Any:
            raise RuntimeError("secret detail")

        world.engine.generate = broken
        answer = await world.chat(stream=True)
        assert answer.status == 500
        assert answer.error["code"] == "internal_error"
        assert b"secret" not in answer.body
        assert "millrace_internal_errors_total 1.0" in world.metrics.render().decode()
        assert world.balance().balance == 10_000_000_000

    play(scene)


def test_a_journal_that_cannot_be_written_releases_nothing(play: Scene) -> None:
    """When the disk takes no progress record the chunk is not released, and the caller is told."""

    async def scene(world: Any) -> None:
        journal = world.books._journal
        good, journal._fd = journal._fd, os.open("/dev/full", os.O_WRONLY)
        answer = await world.chat(stream=True)
        full, journal._fd = journal._fd, good
        os.close(full)
        assert answer.pieces == []
        assert "store_unavailable" in answer.body.decode()
        assert world.balance().balance == 10_000_000_000

    play(scene)


def test_several_choices_are_counted_together(play: Scene) -> None:
    """n choices are one request: their tokens add up, and the hold covers all of them."""

    async def scene(world: Any) -> None:
        answer = await world.chat(n=3)
        assert len(answer.json["choices"]) == 3
        assert (await world.receipt(answer))["tokens"]["output"] == 24

    play(scene)


def test_tokens_the_engine_counts_beyond_the_bound_are_waived(play: Scene) -> None:
    """Nobody pays for more than was held for, whatever the engine says."""

    async def scene(world: Any) -> None:
        measure = world.engine.measure

        async def short(prompt: Any) -> Any:
            size = await measure(prompt)
            return type(size)(size.tokens - 2, exact=True)

        world.engine.measure = short
        answer = await world.chat()
        receipt = await world.receipt(answer)
        assert receipt["tokens"]["waived"] == 2
        assert answer.json["usage"]["prompt_tokens"] == receipt["tokens"]["input"]

    play(scene)


def test_a_balance_for_k_requests_admits_k(play: Scene) -> None:
    """Of 60 requests at once on a balance that can hold exactly 4, 4 are served."""

    async def scene(world: Any) -> None:
        probe = await world.chat(max_tokens=8)
        tokens = (await world.receipt(probe))["tokens"]
        size = tokens["input"] * 1000 + 8 * 4000
        world.db.write_now(
            lambda tx: tx.run(
                "UPDATE account SET debits_posted = credits_posted - :left WHERE id = "
                "(SELECT 'grant/' || id FROM credit_grant WHERE tenant_id = :tenant)",
                left=4 * size, tenant=world.owner.id,
            )
        )
        answers = await asyncio.gather(*(world.chat(max_tokens=8) for _ in range(60)))
        assert sorted(answer.status for answer in answers) == [200] * 4 + [402] * 56
        assert world.balance().available == 0

    play(scene)


def test_embeddings_are_billed_for_their_input(play: Scene) -> None:
    """Embeddings cost their input tokens and nothing else."""

    async def scene(world: Any) -> None:
        answer = await world.call("POST", "/v1/embeddings", b'{"model":"echo","input":["mill race","water"]}')
        receipt = await world.receipt(answer)
        assert answer.json["usage"]["prompt_tokens"] == receipt["tokens"]["input"] == 3
        assert receipt["tokens"]["output"] == 0
        assert len(answer.json["data"]) == 2

    play(scene)


def test_a_text_completion_streams_and_is_billed_like_a_chat(play: Scene) -> None:
    """/v1/completions takes the same path."""

    async def scene(world: Any) -> None:
        body = b'{"model":"echo","prompt":"once","stream":true,"max_tokens":5}'
        answer = await world.call("POST", "/v1/completions", body)
        receipt = await world.receipt(answer)
        assert receipt["tokens"]["output"] == 5
        assert answer.frames[-2]["choices"][0]["finish_reason"] == "length"

    play(scene)


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_waits_for_a_database_that_is_away_for_a_moment(play: Scene, stream: bool) -> None:
    """Made while the lease could not be renewed, it leaves as soon as that is, whole or as a stream, and is not lost."""

    async def scene(world: Any) -> None:
        world.books.shared = True
        asked = asyncio.create_task(world.chat(stream=stream))
        turns = 0
        while not asked.done():
            await asyncio.sleep(0)
            turns += bool(world.inference.running) and not world.books.may_release
            if turns == 100:
                world.books._life.renewed(world.clock.monotonic())
        answer = await asked
        assert (turns, answer.status) == (100, 200)
        assert (await world.receipt(answer))["tokens"]["output"] == 8

    play(scene, script=FakeScript(tokens=8, first_token_delay_s=6))
