"""The official SDK against `millrace up` on the bundled model: what a developer does in the first five minutes."""

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from tests.races.cloud import Cloud


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A cloud as `make run` starts it: no settings, the bundled model."""
    made = Cloud(tmp_path_factory.mktemp("home") / "home")
    made.start()
    try:
        yield made
    finally:
        assert made.stop() == 0


@pytest.fixture
def client(server: Cloud) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=0)


def test_models_chat_and_receipt(server: Cloud, client: openai.OpenAI) -> None:
    """A chat through the SDK is answered, and its receipt has the usage that the answer has."""
    assert [model.id for model in client.models.list()] == ["millrace-tiny"]
    raw = client.chat.completions.with_raw_response.create(
        model="millrace-tiny", messages=[{"role": "user", "content": "Hello!"}], temperature=0
    )
    answer = raw.parse()
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    receipt = server.get(f"/v1/receipts/{raw.headers['x-request-id']}")
    assert answer.usage is not None
    assert receipt["tokens"]["output"] == answer.usage.completion_tokens
    assert receipt["tokens"]["input"] == answer.usage.prompt_tokens
    assert receipt["counted_by"] == "engine"


def test_a_stream_and_one_that_is_left(server: Cloud, client: openai.OpenAI) -> None:
    """A stream gives the text piece by piece and its usage at the end; one that is closed early is billed as cancelled."""
    stream = client.chat.completions.create(
        model="millrace-tiny", messages=[{"role": "user", "content": "Hello!"}], stream=True,
        stream_options={"include_usage": True}, temperature=0,
    )  # fmt: skip
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens > 0
    long = client.chat.completions.create(
        model="millrace-tiny", messages=[{"role": "user", "content": "Hello!"}], stream=True, max_tokens=500,
        logit_bias={"2": -100, "0": -100}, temperature=1.5,
    )  # fmt: skip
    first = next(iter(long))
    long.close()
    receipt = server.get(f"/v1/receipts/{first.id}")
    assert receipt["status"] in ("cancelled", "completed")
    assert receipt["tokens"]["output"] <= 500


def test_structured_output_seed_and_several_choices(client: openai.OpenAI) -> None:
    """What the engine honours works: a JSON schema, the same text for the same seed, n choices, stop, log probabilities."""
    schema = {
        "type": "object",
        "properties": {"size": {"type": "integer"}},
        "required": ["size"],
        "additionalProperties": False,
    }
    shaped = client.chat.completions.create(
        model="millrace-tiny", messages=[{"role": "user", "content": "Which size?"}], max_tokens=60,
        response_format={"type": "json_schema", "json_schema": {"name": "size", "schema": schema, "strict": True}},
    )  # fmt: skip
    assert (shaped.choices[0].message.content or "").lstrip().startswith("{")
    once, again = (
        client.chat.completions.create(
            model="millrace-tiny", messages=[{"role": "user", "content": "Hi"}], seed=7, temperature=1, max_tokens=12
        ).choices[0].message.content
        for _ in range(2)
    )  # fmt: skip
    assert once == again
    several = client.chat.completions.create(
        model="millrace-tiny", messages=[{"role": "user", "content": "Hi"}], n=2, max_tokens=5, logprobs=True
    )
    assert len(several.choices) == 2
    assert several.choices[0].logprobs is not None


def test_embeddings_and_completions(client: openai.OpenAI) -> None:
    """Embeddings come as vectors of one length, in order; a text is continued."""
    made = client.embeddings.create(model="millrace-tiny", input=["red shoes", "opening hours"])
    assert [item.index for item in made.data] == [0, 1]
    assert len({len(item.embedding) for item in made.data}) == 1
    text = client.completions.create(model="millrace-tiny", prompt="Our shop", max_tokens=8)
    assert text.usage is not None
    assert 0 < text.usage.completion_tokens <= 8


def test_refusals_are_the_sdks_own_exceptions(client: openai.OpenAI) -> None:
    """A wrong key, an unknown model, a prompt over the context and an unknown parameter raise what the SDK has for them."""
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="mr_wrong").models.list()
    with pytest.raises(openai.NotFoundError, match="millrace-tiny"):
        client.chat.completions.create(model="qwen", messages=[{"role": "user", "content": "Hi"}])
    with pytest.raises(openai.UnprocessableEntityError, match="tokens"):
        client.chat.completions.create(model="millrace-tiny", messages=[{"role": "user", "content": "shoe " * 20_000}])
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        client.chat.completions.create(
            model="millrace-tiny", messages=[{"role": "user", "content": "Hi"}], extra_body={"max_token": 4}
        )
    assert refused.value.param == "max_token"


def test_the_books_balance_afterwards(server: Cloud) -> None:
    """After all of it the audit is ok and the balance went down by the sum of the usage."""
    assert server.command("audit")["ok"]
    usage = server.get("/v1/usage")
    assert usage["rows"][0]["requests"] >= 8


def test_the_home_is_private(server: Cloud) -> None:
    """The home folder is its owner's alone, and no secret lies in it in the clear."""
    home = Path(server.home)
    assert home.stat().st_mode & 0o077 == 0
    for file in home.rglob("*"):
        if file.is_file():
            assert server.key.encode() not in file.read_bytes(), file
