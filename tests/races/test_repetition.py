"""Idempotency-Key with real servers, real kills and the official SDK: one key is one charge, whatever happens between tries."""

import http.client
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple

import openai
import pytest
from tests import postgres
from tests.races.cloud import Cloud, Upstream

TOKENS: Final = 40
STREAMED: Final[dict[str, Any]] = {"stream": True}


class Told(NamedTuple):
    """What a client was told: the status, the whole body, the headers."""

    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def replayed(self) -> bool:
        return self.headers.get("idempotent-replayed") == "true"

    @property
    def error(self) -> Any:
        return json.loads(self.body)["error"]


def ask(server: Cloud, key: str, told: list[bytes] | None = None, **fields: Any) -> Told:
    """One chat with an Idempotency-Key; what has come so far is in `told`. Status 0: the server went before it answered."""
    body = json.dumps({"model": "paced", "messages": [{"role": "user", "content": "go"}], **fields})
    headers = {"Authorization": f"Bearer {server.key}", "Idempotency-Key": key}
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    pieces = told if told is not None else []
    status, fields_ = 0, {}
    try:
        client.request("POST", "/v1/chat/completions", body, headers)
        answer = client.getresponse()
        status, fields_ = answer.status, {name.lower(): value for name, value in answer.getheaders()}
        while piece := answer.read1():
            pieces.append(piece)
    except (OSError, http.client.HTTPException):
        pass  # the server was killed
    finally:
        client.close()
    return Told(status, b"".join(pieces), fields_)


def fifty(servers: list[Cloud], key: str, **fields: Any) -> list[Told]:
    """Fifty requests at once with one key, spread over the servers."""
    with ThreadPoolExecutor(50) as pool:
        return list(pool.map(lambda number: ask(servers[number % len(servers)], key, **fields), range(50)))


def requests(server: Cloud) -> int:
    """How many requests the tenant has on its books."""
    return sum(row["requests"] for row in server.get("/v1/usage")["rows"])


def output(server: Cloud) -> int:
    """How many tokens of output the tenant was billed for."""
    return sum(row["tokens"]["output"] for row in server.get("/v1/usage")["rows"])


def first_id(told: list[bytes]) -> str:
    """The request id behind the first frame of a stream."""
    answer_id = json.loads(told[0].split(b"\n")[0].removeprefix(b"data: "))["id"]
    return str(answer_id).replace("chatcmpl-", "req_")


def in_flight(server: Cloud) -> bool:
    """Whether a request is past its hold."""
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        client.request("GET", "/metrics")
        text = client.getresponse().read().decode()
    finally:
        client.close()
    return re.search(r"^millrace_requests_in_flight\S* 1.0$", text, re.MULTILINE) is not None


def wait_until(true: Callable[[], object], seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it did not come about"
        time.sleep(0.02)


def gone(*servers: Cloud) -> None:
    """Nothing of them runs any more."""
    for server in servers:
        if server.process is not None:
            server.kill()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream("--tokens", str(TOKENS), "--token-delay-ms", "20", "--first-token-delay-ms", "700") as made:
        yield made


@pytest.fixture
def server(tmp_path: Path, upstream: Upstream) -> Iterator[Cloud]:
    made = Cloud(tmp_path / "home", upstream)
    try:
        made.start()
        yield made
    finally:
        gone(made)


@pytest.fixture
def pair(tmp_path: Path, upstream: Upstream) -> Iterator[list[Cloud]]:
    """Two gateways with homes of their own on one PostgreSQL, started at the same moment."""
    database = postgres.shared()
    url = database.url(database.new_database())
    both = [Cloud(tmp_path / name, upstream) for name in ("one", "two")]
    for one in both:
        with (one.home / "millrace.toml").open("a") as settings:
            settings.write(f'\n[store]\nurl = "{url}"\n')
    try:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(Cloud.start, both))
        both[0].key = both[1].key = both[0].key or both[1].key
        yield both
    finally:
        gone(*both)


def test_an_answer_outlives_its_server(server: Cloud) -> None:
    """Whole answers and streams are replayed byte for byte after a `kill -9` and a start; each was billed once."""
    firsts = [ask(server, "whole"), ask(server, "stream", **STREAMED)]
    server.kill()
    server.start()
    again = [ask(server, "whole"), ask(server, "stream", **STREAMED)]
    for first, repeat in zip(firsts, again, strict=True):
        assert (first.status, first.replayed) == (200, False)
        assert (repeat.status, repeat.body, repeat.replayed) == (200, first.body, True)
        assert repeat.headers["x-request-id"] == first.headers["x-request-id"]
    assert requests(server) == 2
    assert server.command("audit")["ok"]


def test_the_official_sdk_tries_again_and_pays_once(server: Cloud) -> None:
    """The SDK makes one key's tries one request: over a kill and a start in the middle of the first, and for a later repeat."""
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=8)

    def chat(text: str = "go", *, stream: bool = True) -> Any:
        return client.chat.completions.with_raw_response.create(
            model="paced", messages=[{"role": "user", "content": text}], stream=stream,
            extra_headers={"Idempotency-Key": f"sdk-{stream}"},
        )  # fmt: skip

    with ThreadPoolExecutor(1) as pool:
        trying = pool.submit(chat)
        wait_until(lambda: in_flight(server))
        server.kill()
        server.start("--port", str(server.port))
        first = trying.result(60)
    frames = list(first.parse())
    again = chat()
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["x-request-id"] == first.headers["x-request-id"]
    assert list(again.parse()) == frames
    assert len(frames) > TOKENS
    assert chat(stream=False).parse() == chat(stream=False).parse()
    with pytest.raises(openai.ConflictError, match="another body"):
        chat("stop")
    assert output(server) == 2 * TOKENS


def test_a_stream_that_its_server_died_of_is_told_and_billed_once(server: Cloud) -> None:
    """After `kill -9` in the middle a repeat is told which request it was and how many tokens of it were billed."""
    told: list[bytes] = []
    running = threading.Thread(target=ask, args=(server, "killed", told), kwargs=STREAMED)
    running.start()
    wait_until(lambda: b"".join(told).count(b"data: ") > 5)
    server.kill()
    running.join()
    request_id = first_id(told)
    server.start()
    repeat = ask(server, "killed", **STREAMED)
    tokens = server.get(f"/v1/receipts/{request_id}")["tokens"]
    assert (repeat.status, repeat.error["code"]) == (409, "idempotency_answer_lost")
    assert request_id in repeat.error["message"]
    assert tokens["output"] > 0
    assert f" {tokens['input'] + tokens['output']} tokens" in repeat.error["message"]
    assert ask(server, "killed", **STREAMED).status == 409
    assert ask(server, "anew", **STREAMED).status == 200
    assert requests(server) == 2


def test_what_nothing_was_billed_of_runs_anew_after_a_kill(server: Cloud) -> None:
    """A stream that its server died of before its first token left cost nothing: the same key runs."""
    running = threading.Thread(target=ask, args=(server, "early"), kwargs=STREAMED)
    running.start()
    wait_until(lambda: in_flight(server))
    server.kill()
    running.join()
    server.start()
    anew = ask(server, "early", **STREAMED)
    assert (anew.status, anew.replayed) == (200, False)
    assert ask(server, "early", **STREAMED).body == anew.body
    assert output(server) == TOKENS
    assert server.command("audit")["ok"]


def test_fifty_over_two_workers_are_one_request(tmp_path: Path, upstream: Upstream) -> None:
    """Two processes behind one address, on SQLite: one runs it, the connections that came to the other one get its answer."""
    server = Cloud(tmp_path / "home", upstream)
    try:
        server.start("--workers", "2")
        told = fifty([server], "workers", **STREAMED)
        assert {one.status for one in told} == {200}
        assert len({one.body for one in told}) == 1
        assert sum(not one.replayed for one in told) == 1
        assert requests(server) == 1
    finally:
        gone(server)


@pytest.mark.parametrize("fields", [{}, STREAMED], ids=["whole", "stream"])
def test_fifty_over_two_gateways_are_one_request(pair: list[Cloud], fields: dict[str, Any]) -> None:
    """One runs, on one gateway; those on both get its answer, byte for byte; there is one charge."""
    told = fifty(pair, "both", **fields)
    assert {one.status for one in told} == {200}
    assert len({one.body for one in told}) == 1
    assert sum(not one.replayed for one in told) == 1
    assert len({one.headers["x-request-id"] for one in told}) == 1
    assert requests(pair[0]) == requests(pair[1]) == 1
    other = ask(pair[1], "both", max_tokens=3)
    assert (other.status, other.error["code"]) == (409, "idempotency_conflict")


def test_a_repeat_waits_for_a_gateway_that_dies(pair: list[Cloud]) -> None:
    """The other one takes the dead one's request over, and tells the repeat that waited what was billed of it."""
    told: list[bytes] = []
    first = threading.Thread(target=ask, args=(pair[0], "taken", told), kwargs=STREAMED)
    first.start()
    wait_until(lambda: b"".join(told).count(b"data: ") > 8)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask, pair[1], "taken", None, **STREAMED)
        time.sleep(0.1)
        assert not waiting.done()
        pair[0].kill()
        repeat = waiting.result(30)
    first.join()
    request_id = first_id(told)
    tokens = pair[1].get(f"/v1/receipts/{request_id}")["tokens"]
    assert (repeat.status, repeat.error["code"]) == (409, "idempotency_answer_lost")
    assert f" {tokens['input'] + tokens['output']} tokens" in repeat.error["message"]
    assert tokens["output"] <= b"".join(told).count(b'"content"')
    assert pair[1].command("audit")["ok"]
