"""One line for each request at its end: which facts it states, whatever ended the request, and which it never states."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from millrace.base.clock import FakeClock
from millrace.base.errors import Reason, Refusal
from millrace.engines.fake import FakeScript
from millrace.gateway.connection import Connection
from millrace.gateway.metrics import Metrics
from millrace.gateway.observer import Observer
from millrace.gateway.trail import TEXT_BYTES_MAX, Texts
from millrace.settings.logs import Logs

Scene = Callable[..., None]


class Lines(logging.Handler):
    """What was logged by millrace.request: the fields of each event."""

    def __init__(self) -> None:
        super().__init__()
        self.fields: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        assert record.getMessage() == "request"
        self.fields.append(record.__dict__["fields"])


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler, logger = Lines(), logging.getLogger("millrace.request")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


def test_a_stream_is_one_line_with_all_that_its_receipt_says(play: Scene, lines: Lines) -> None:
    """Ids, model, outcome, tokens, amount and counted_by are the receipt's; times and bytes are the gateway's."""

    async def scene(world: Any) -> None:
        answer = await world.chat(stream=True)
        (line,) = lines.fields
        receipt = await world.receipt(answer)
        assert line["request_id"] == answer.request_id
        assert line["tenant_id"] == world.owner.id
        assert (line["method"], line["path"], line["status"]) == ("POST", "/v1/chat/completions", 200)
        assert (line["model"], line["stream"], line["outcome"]) == ("echo", True, "completed")
        assert "reason" not in line
        for name, value in receipt["tokens"].items():
            assert line[f"tokens_{name}"] == value
        for name in ("amount", "currency", "counted_by"):
            assert line[name] == receipt[name]
        assert line["bytes_out"] == len(answer.body)
        assert 0 <= line["hold_ms"] <= line["first_byte_ms"] <= line["total_ms"]

    play(scene)


def test_times_are_counted_from_the_requests_head(play: Scene, lines: Lines) -> None:
    """The first byte leaves after the engine's first delay, the last after all of them."""

    async def scene(world: Any) -> None:
        await world.chat(stream=True)
        (line,) = lines.fields
        assert (line["hold_ms"], line["first_byte_ms"], line["total_ms"]) == (0.0, 520.0, 660.0)

    play(scene, script=FakeScript(tokens=8, first_token_delay_s=0.5, token_delay_s=0.02))


@pytest.mark.parametrize(
    ("fields", "status", "reason"),
    [
        ({"key": "mr_wrong"}, 401, "invalid_api_key"),
        ({"max_tokens": -1}, 422, "invalid_request"),
        ({"model": "nothing"}, 404, "model_not_found"),
        ({"model": "spare"}, 503, "engine_unavailable"),
    ],
)
def test_a_refusal_before_the_hold_is_a_line(
    play: Scene, lines: Lines, fields: dict[str, Any], status: int, reason: str
) -> None:
    """It says which reason, with the status that the caller saw, and no tokens, amount or time of a hold."""

    async def scene(world: Any) -> None:
        answer = await world.chat(**fields)
        (line,) = lines.fields
        assert (line["status"], line["outcome"], line["reason"]) == (answer.status, "refused", reason)
        assert answer.status == status
        assert not {"amount", "tokens_input", "hold_ms"} & set(line)
        assert ("tenant_id" in line) == (status != 401)

    play(scene)


def test_what_the_books_and_the_limits_refuse_is_a_line(play: Scene, lines: Lines) -> None:
    """402 of a balance that is too small and 429 of a limit are refused, not failed, and the first counts as a hold refused."""

    async def scene(world: Any) -> None:
        poor = await world.chat(key=world.key(world.owner, budget=1))
        slow = await world.chat(key=world.key(world.owner, tpm=1))
        reasons = [(line["status"], line["outcome"], line["reason"]) for line in lines.fields]
        assert reasons == [(poor.status, "refused", "budget_exceeded"), (slow.status, "refused", "rate_limit_exceeded")]
        text = world.metrics.render().decode()
        assert 'millrace_holds_refused_total{reason="budget_exceeded"} 1.0' in text
        assert 'millrace_holds_refused_total{reason="rate_limit_exceeded"}' not in text

    play(scene)


def test_a_client_that_leaves_is_cancelled(play: Scene, lines: Lines) -> None:
    """Left in the middle of its stream: cancelled, client_gone, with the tokens that it got."""

    def on_part(answer: Any, connection: Connection) -> None:
        if len(answer.pieces) >= 3:
            connection.lose()

    async def scene(world: Any) -> None:
        await world.chat(stream=True, on_part=on_part)
        (line,) = lines.fields
        assert (line["outcome"], line["reason"], line["tokens_output"]) == ("cancelled", "client_gone", 3)

    play(scene, script=FakeScript(tokens=100))


def test_a_client_that_leaves_before_it_has_asked_is_cancelled(play: Scene, lines: Lines) -> None:
    """Nothing was answered: no status, client_gone."""

    async def scene(world: Any) -> None:
        await world.call("POST", "/v1/chat/completions", leave_in_body=True)
        (line,) = lines.fields
        assert (line["status"], line["outcome"], line["reason"]) == (0, "cancelled", "client_gone")

    play(scene)


def test_an_engine_that_breaks_is_a_failed_request(play: Scene, lines: Lines) -> None:
    """In the middle of a stream: status 200 has left, the outcome is failed and says engine_failed."""

    async def scene(world: Any) -> None:
        answer = await world.chat(stream=True)
        (line,) = lines.fields
        assert (line["status"], line["outcome"], line["reason"]) == (answer.status, "failed", "engine_failed")
        assert line["tokens_output"] == 3

    play(scene, script=FakeScript(tokens=100, fail_after_tokens=3))


def test_other_routes_and_pages_are_lines_too(play: Scene, lines: Lines) -> None:
    """A read, a page and a path that is not there, with the bytes that were sent."""

    async def scene(world: Any) -> None:
        models = await world.call("GET", "/v1/models")
        page = await world.call("GET", "/somewhere", key="")
        await world.call("GET", "/v1/nothing", key="")
        said = [(line["path"], line["status"], line["outcome"], line["bytes_out"]) for line in lines.fields]
        assert said[:2] == [
            ("/v1/models", 200, "completed", len(models.body)), ("/somewhere", 404, "completed", len(page.body)),
        ]  # fmt: skip
        assert said[2][:3] == ("/v1/nothing", 404, "refused")

    play(scene)


def test_a_repeat_names_the_request_that_was_billed(play: Scene, lines: Lines) -> None:
    """A replay by Idempotency-Key has no tokens and no amount of its own, and says whose answer it was sent."""

    async def scene(world: Any) -> None:
        for _ in range(2):
            await world.chat(headers={"idempotency-key": "order-1"})
        first, again = lines.fields
        assert again["replay_of"] == first["request_id"] != again["request_id"]
        assert (again["outcome"], "amount" in again, "amount" in first) == ("completed", False, True)

    play(scene)


def test_no_secret_and_no_text_is_in_a_line(play: Scene, lines: Lines) -> None:
    """Neither the key, nor what was asked, nor what was answered."""

    async def scene(world: Any) -> None:
        answer = await world.chat()
        said = str(lines.fields)
        assert world.owner_key not in said
        assert "hello mill" not in said
        assert answer.json["choices"][0]["message"]["content"] not in said

    play(scene)


def test_texts_are_in_the_lines_where_the_operator_asks_for_them(play: Scene, lines: Lines) -> None:
    """`prompts = true`: the body that came and the body that left, of requests for tokens only."""

    async def scene(world: Any) -> None:
        answer = await world.chat()
        await world.call("GET", "/v1/balance")
        asked, read = lines.fields
        assert '"content": "hello mill"' in asked["prompt"]
        assert asked["answer"] == answer.body.decode()
        assert not {"prompt", "answer"} & set(read)

    play(scene, logs=Logs(prompts=True))


def test_texts_are_cut() -> None:
    """Of a long answer the first 64 KiB are kept, however it comes in pieces."""
    texts = Texts()
    for _ in range(3):
        texts.answer(b"x" * (TEXT_BYTES_MAX // 2 + 1))
    assert len(texts.answered) == TEXT_BYTES_MAX


def test_lines_can_be_switched_off(play: Scene, lines: Lines) -> None:
    """`requests = false`: none is written."""

    async def scene(world: Any) -> None:
        await world.chat()
        assert lines.fields == []

    play(scene, logs=Logs(requests=False))


def test_a_connection_that_is_refused_before_it_is_a_request_is_a_line(lines: Lines) -> None:
    """It has no id, method or path, and is counted."""
    metrics = Metrics()
    Observer(FakeClock(), metrics).unread(Refusal(Reason.HEADERS_TOO_LARGE, "too large"))
    assert lines.fields == [{"status": 431, "outcome": "refused", "reason": "headers_too_large"}]
    assert 'millrace_refusals_total{reason="headers_too_large"} 1.0' in metrics.render().decode()


def test_a_request_that_the_stopping_server_ends_is_failed(play: Scene, lines: Lines) -> None:
    """Its end is the server's doing: failed, with the reason that the caller was told."""

    async def scene(world: Any) -> None:
        running = asyncio.create_task(world.chat(stream=True))
        while not world.inference.running:
            await asyncio.sleep(0)
        world.inference.end_all()
        await running
        (line,) = lines.fields
        assert (line["outcome"], line["reason"]) == ("failed", "engine_unavailable")

    play(scene, script=FakeScript(tokens=9, hang_after_tokens=2))
