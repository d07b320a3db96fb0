"""The client against a scripted server on a real socket: what it sends, what it repeats, what it says of failures."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from aiohttp import web

from millrace.base.clock import FakeClock
from millrace.base.errors import Reason, Refusal
from millrace.client.access import Access, key_from
from millrace.client.client import Client, Timeouts

KEY = "mr_secret_of_the_tests"
ASKED = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
WHOLE = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "logprobs": None, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}  # fmt: skip


NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class Reply(NamedTuple):
    """What the server answers; a body of None cuts the connection."""

    status: int
    body: bytes | None
    headers: Mapping[str, str] = NO_HEADERS


def refusal(status: int, code: str, message: str = "No.", **headers: str) -> Reply:
    body = json.dumps({"error": {"message": message, "type": "t", "param": "p", "code": code}}).encode()
    return Reply(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


def whole(**headers: str) -> Reply:
    return Reply(200, json.dumps(WHOLE).encode(), {"x-request-id": "req_1", **headers})


class Script:
    """Answers each request by the next reply; `seen` are the requests."""

    def __init__(self, *replies: Reply) -> None:
        self._replies = list(replies)
        self.seen: list[tuple[str, dict[str, str], Any]] = []

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        self.seen.append((f"{request.method} {request.path}", dict(request.headers), json.loads(body) if body else None))
        reply = self._replies.pop(0)
        if reply.body is None:
            assert request.transport is not None
            request.transport.abort()
        return web.Response(status=reply.status, body=reply.body, headers=reply.headers)


def play(script: Script, use: Callable[[Client], Awaitable[Any]], clock: FakeClock | None = None) -> Any:
    """Use a client of a server that follows the script; what the use returns."""

    async def run() -> Any:
        server = web.Server(script)
        runner = web.ServerRunner(server)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        try:
            async with Client(
                Access(f"http://127.0.0.1:{port}/v1/", KEY), clock=clock or FakeClock(), timeouts=Timeouts(small_s=5)
            ) as client:
                return await use(client)
        finally:
            await runner.cleanup()

    return asyncio.run(run())


def refused(script: Script, use: Callable[[Client], Awaitable[Any]]) -> Refusal:
    with pytest.raises(Refusal) as caught:
        play(script, use)
    assert KEY not in caught.value.sentence
    return caught.value


def test_a_chat_is_asked_with_the_key_and_an_idempotency_key() -> None:
    """The body goes as it is; the answer, its receipt's id and its usage come back."""
    script = Script(whole())
    answer = play(script, lambda client: client.chat(ASKED, idempotency_key="mine"))
    ((line, headers, body),) = script.seen
    assert (line, body) == ("POST /v1/chat/completions", ASKED)
    assert (headers["Authorization"], headers["Idempotency-Key"]) == (f"Bearer {KEY}", "mine")
    assert (answer.request_id, answer.text, answer.finish, answer.usage.completion_tokens) == ("req_1", "Hello.", "stop", 2)
    assert answer.latency_ns is not None


def test_tool_calls_are_read() -> None:
    """Name and arguments, as the model wrote them; no text is an empty one."""
    calls = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{"}}]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    body = json.dumps({**WHOLE, "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}).encode()
    answer = play(Script(Reply(200, body)), lambda client: client.chat(ASKED))
    assert (answer.text, [(call.name, call.arguments) for call in answer.calls]) == ("", [("f", "{")])


def test_what_may_pass_is_asked_again_with_the_same_key() -> None:
    """A limit, an engine that is away, a connection that broke: repeated after the time that was named, as one request."""
    script = Script(
        refusal(429, "rate_limit_exceeded", Retry_After="7"), refusal(503, "engine_unavailable"), Reply(200, None),
        whole(**{"idempotent-replayed": "true"}),
    )  # fmt: skip
    clock = FakeClock()
    answer = play(script, lambda client: client.chat(ASKED), clock)
    assert len({headers["Idempotency-Key"] for _, headers, _ in script.seen}) == 1
    assert clock.monotonic() == int((7 + 1 + 2) * 1e9)
    assert answer.latency_ns is None


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (refusal(402, "insufficient_credit"), Reason.INSUFFICIENT_CREDIT),
        (refusal(401, "invalid_api_key"), Reason.INVALID_API_KEY),
        (refusal(429, "budget_exceeded", Retry_After="5"), Reason.BUDGET_EXCEEDED),
        (refusal(429, "rate_limit_exceeded", Retry_After="3600"), Reason.RATE_LIMIT_EXCEEDED),
        (refusal(409, "idempotency_conflict"), Reason.IDEMPOTENCY_CONFLICT),
        (refusal(500, "internal_error"), Reason.INTERNAL_ERROR),
        (refusal(422, "context_length_exceeded"), Reason.CONTEXT_LENGTH_EXCEEDED),
        (refusal(404, "something_new"), Reason.NOT_FOUND), (Reply(302, b"", {"Location": "http://x/"}), Reason.INTERNAL_ERROR),
    ],
)  # fmt: skip
def test_what_will_not_pass_is_not_repeated(reply: Reply, reason: Reason) -> None:
    """One try; the reason is the server's code, or what its status says."""
    script = Script(reply)
    found = refused(script, lambda client: client.chat(ASKED))
    assert (found.reason, len(script.seen)) == (reason, 1)


def test_the_sentence_is_the_server_s_made_printable() -> None:
    """Its words, without what a terminal would take for commands, and its param; without words, its status."""
    found = refused(Script(refusal(402, "insufficient_credit", "Top\x1b[2J up.")), lambda client: client.balance())
    assert (found.sentence, found.param) == ("Top [2J up.", "p")
    found = refused(Script(Reply(418, b"<html>")), lambda client: client.models())
    assert "status 418" in found.sentence


def test_trying_again_has_an_end() -> None:
    """Five tries, then the refusal."""
    script = Script(*[refusal(503, "store_unavailable")] * 9)
    assert refused(script, lambda client: client.models()).reason is Reason.STORE_UNAVAILABLE
    assert len(script.seen) == 5


def test_reads_are_typed() -> None:
    """A receipt that is still being settled is waited for; an answer of another form is refused."""
    receipt = {
        "request_id": "req_1", "model": "m", "status": "completed", "counted_by": "engine", "price": "price_1",
        "amount": "0.000000010", "currency": "CNY", "started_at": "t", "finished_at": "t",
        "tokens": {"input": 3, "cached_input": 0, "output": 2, "reasoning": 0, "waived": 0},
    }  # fmt: skip
    script = Script(refusal(409, "conflict", Retry_After="5"), Reply(200, json.dumps(receipt).encode()))
    assert play(script, lambda client: client.receipt("req_1")).amount == "0.000000010"
    assert [line for line, _, _ in script.seen] == ["GET /v1/receipts/req_1"] * 2
    assert "no form of this API" in refused(Script(Reply(200, b"[]")), lambda client: client.receipt("req_1")).sentence


def frames(*bodies: Any, done: bool = True) -> Reply:
    data = b"".join(b"data: " + json.dumps(body).encode() + b"\n\n" for body in bodies)
    return Reply(200, data + (b"data: [DONE]\n\n" if done else b""), {"x-request-id": "req_1"})


def piece(text: str) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}], "usage": None}


async def read(client: Client) -> tuple[str, str, int]:
    """The receipt's id, the text and the output tokens of a stream."""
    text, tokens = "", 0
    async with client.stream(ASKED) as stream, aclosing(aiter(stream)) as bodies:
        async for body in bodies:
            text += "".join(choice.delta.content or "" for choice in body.choices)
            tokens = body.usage.completion_tokens if body.usage else tokens
    return stream.request_id, text, tokens


def test_a_stream_comes_piece_by_piece() -> None:
    """It is begun again until it begins; the last frame has the usage."""
    usage = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}
    script = Script(refusal(503, "engine_unavailable"), frames(piece("Hel"), piece("lo."), usage))
    assert play(script, read) == ("req_1", "Hello.", 2)
    assert script.seen[0][2] == {**ASKED, "stream": True, "stream_options": {"include_usage": True}}


def test_a_stream_that_breaks_is_a_refusal() -> None:
    """An error frame is what it says; an end without [DONE] is a broken engine; neither is repeated."""
    error = {"error": {"message": "The engine broke.", "type": "t", "param": None, "code": "engine_failed"}}
    assert refused(Script(frames(piece("Hel"), error)), read).sentence == "The engine broke."
    assert "broke off" in refused(Script(frames(piece("Hel"), done=False)), read).sentence


def test_where_and_with_which_key() -> None:
    """MILLRACE_API_KEY before OPENAI_API_KEY; none, one with a line break, and what is no address are refused unseen."""
    assert key_from({"OPENAI_API_KEY": "b", "MILLRACE_API_KEY": "a"}) == "a"
    assert key_from({"OPENAI_API_KEY": "b", "MILLRACE_API_KEY": ""}) == "b"
    with pytest.raises(Refusal, match="MILLRACE_API_KEY"):
        key_from({})
    with pytest.raises(Refusal) as caught:
        Access("http://127.0.0.1:8000", "mr_x\r\nX-Evil: 1")
    assert "mr_x" not in caught.value.sentence
    assert Access("https://cloud.example/base/v1/", "k").root == "https://cloud.example/base"
    assert "k_e_y" not in repr(Access("https://cloud.example", "k_e_y"))
    for url in ("cloud.example", "ftp://cloud.example", "http://", "http://me:pass@cloud.example", "http://x/?a=b", "http://x:0"):
        with pytest.raises(Refusal, match="the address is not one"):
            Access(url, "k")
