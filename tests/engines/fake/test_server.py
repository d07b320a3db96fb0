"""The fake upstream, as a program and as raw HTTP."""

import asyncio
import sys

import msgspec

from millrace.engines.fake.answers import Behaviour, answer
from millrace.engines.fake.script import FakeScript
from millrace.engines.fake.server import FakeUpstream, parse_arguments
from millrace.engines.process import Process

CHAT = "/v1/chat/completions"


def body(**rest: object) -> bytes:
    return msgspec.json.encode({"model": "fake", "messages": [{"role": "user", "content": "Hi there"}], **rest})


def test_usage_is_sent_only_where_it_is_asked_for() -> None:
    """As vLLM: none by default, a last frame with include_usage, each frame with continuous_usage_stats."""
    options: tuple[dict[str, bool] | None, ...] = (
        None,
        {"include_usage": True},
        {"include_usage": True, "continuous_usage_stats": True},
    )
    script = Behaviour(script=FakeScript(tokens=3))
    counted = [
        b"".join(burst.body for burst in answer(CHAT, body(stream=True, stream_options=one), script).bursts) for one in options
    ]
    assert [text.count(b'"usage"') for text in counted] == [0, 1, 5]
    assert all(text.endswith(b"data: [DONE]\n\n") for text in counted)


def test_the_bursts_know_their_tokens() -> None:
    """So that what is written is what is counted as made."""
    found = answer(CHAT, body(stream=True, n=2), Behaviour(script=FakeScript(tokens=5, burst=2)))
    assert [burst.tokens for burst in found.bursts] == [4, 4, 2]


def test_nonsense_is_refused() -> None:
    """400 for a body that is no JSON."""
    assert answer(CHAT, b"{", Behaviour()).status == 400


def test_two_requests_on_one_connection() -> None:
    """Keep-alive, with the truth under /stats."""

    async def scene() -> bytes:
        upstream = FakeUpstream(Behaviour(script=FakeScript(tokens=3)))
        url = await upstream.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.split(":")[2].split("/")[0]))
        asked = body()
        writer.write(b"POST %b HTTP/1.1\r\nx-request-id: r7\r\ncontent-length: %d\r\n\r\n" % (CHAT.encode(), len(asked)))
        writer.write(asked)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")
        await reader.readuntil(b"}}}")
        writer.write(b"GET /stats HTTP/1.1\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        stats = await reader.readuntil(b"}}")
        writer.close()
        await writer.wait_closed()
        await upstream.close()
        return stats

    stats = msgspec.json.decode(asyncio.run(scene()))
    assert (stats["requests"], stats["tokens"], stats["generated"]) == (1, 3, {"r7": 3})


def test_the_command_line_becomes_behaviour() -> None:
    """Every flag has its place; times are said in milliseconds."""
    host, port, behaviour = parse_arguments(["--port", "9", "--tokens", "4", "--token-delay-ms", "20", "--usage", "none"])
    assert (host, port, behaviour.usage) == ("127.0.0.1", 9, "none")
    assert (behaviour.script.tokens, behaviour.script.token_delay_s) == (4, 0.02)


def test_it_runs_as_a_program_and_says_where() -> None:
    """`python -m millrace.engines.fake.server` prints its base URL first."""

    async def scene() -> bytes:
        child = await Process.spawn([sys.executable, "-m", "millrace.engines.fake.server"], b"")
        line = await child.line()
        await child.stop()
        return line

    said = asyncio.run(scene())
    assert said.startswith(b"http://127.0.0.1:")
    assert said.endswith(b"/v1\n")
