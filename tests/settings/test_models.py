"""`[[models]]`: what each engine needs, what it does not know, and no secret in the file."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from millrace.base.errors import Reason, Refusal
from millrace.catalog.model import Model
from millrace.settings.parse import parse_settings

TINY = Model(
    name="millrace-tiny", engine="embedded", context_tokens=1024, max_output_tokens=512, slots=4,
    path=Path("/in/the/wheel.gguf"),
)

REMOTE = {"name": "qwen3-8b", "engine": "remote", "url": "http://10.0.0.7:8001/v1", "context_tokens": 32768}
LOCAL = {"name": "local", "engine": "embedded", "path": "weights/local.gguf", "context_tokens": 4096}
BUNDLED = {"name": "millrace-tiny", "engine": "embedded"}
FAKE = {"name": "fake", "engine": "fake", "context_tokens": 1000}


def parse(*models: Mapping[str, object]) -> tuple[Model, ...]:
    """The models of a file that lists these, each with a price."""
    lines: list[str] = []
    for model in models:
        lines += ["[[models]]", *(f"{key} = {_toml(value)}" for key, value in model.items())]
    for name in {str(model.get("name")) for model in models}:
        lines += ["[[prices]]", f"model = {name!r}", "currency = 'CNY'", "input = '1'", "output = '2'"]
    text = "\n".join(lines)
    return parse_settings(text, "a.toml", folder=Path("/etc/millrace"), bundled_model=lambda: TINY).models


def _toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)


def refusal_of(*models: Mapping[str, object]) -> str:
    with pytest.raises(Refusal) as caught:
        parse(*models)
    assert caught.value.reason is Reason.BAD_SETTING
    return caught.value.sentence


def test_a_remote_model_has_its_address() -> None:
    """Sizes, address, its name there, and the variable that holds the secret."""
    [model] = parse(
        {**REMOTE, "url": "http://10.0.0.7:8001/v1/", "upstream": "Qwen/Qwen3-8B", "max_output_tokens": 8192,
         "api_key_env": "QWEN_KEY", "slots": 32}
    )  # fmt: skip
    assert model == Model(
        name="qwen3-8b", engine="remote", context_tokens=32768, max_output_tokens=8192, slots=32,
        url="http://10.0.0.7:8001/v1", upstream="Qwen/Qwen3-8B", api_key_env="QWEN_KEY",
    )


def test_a_remote_model_is_called_there_as_here() -> None:
    """Without `upstream` its name is the same there; without a key none is sent; output and slots have defaults."""
    [model] = parse(REMOTE)
    assert (model.upstream, model.api_key_env, model.max_output_tokens, model.slots) == ("qwen3-8b", None, 4096, 256)
    assert not model.embeds


def test_a_server_of_embeddings_is_declared_so() -> None:
    """Whether a server makes embeddings is the operator's to say, and only of a server."""
    assert parse({**REMOTE, "embeds": True})[0].embeds
    assert "models[0].embeds is not a setting" in refusal_of({**LOCAL, "embeds": True})


def test_the_default_output_leaves_room_for_the_question() -> None:
    """In a small context at most half of it is output."""
    [model] = parse({**REMOTE, "context_tokens": 1000})
    assert model.max_output_tokens == 500


def test_a_path_is_relative_to_its_file() -> None:
    """The settings can be moved together with their weights; an absolute path stays."""
    assert parse({**LOCAL, "threads": 2})[0].path == Path("/etc/millrace/weights/local.gguf")
    assert parse({**LOCAL, "threads": 2})[0].threads == 2
    assert parse({**LOCAL, "path": "/w/a.gguf"})[0].path == Path("/w/a.gguf")


def test_the_bundled_model_is_served_when_nothing_is_listed() -> None:
    """No list, no choice: the model of the package."""
    assert parse() == (TINY,)


def test_the_bundled_model_is_not_added_to_a_list() -> None:
    """Who lists models gets those."""
    assert [model.name for model in parse(REMOTE)] == ["qwen3-8b"]


def test_the_bundled_model_can_be_listed_and_lowered() -> None:
    """By its name and without a path; its sizes are its defaults, and the most."""
    assert parse(BUNDLED, FAKE)[0] == TINY
    [model] = parse({**BUNDLED, "context_tokens": 512, "slots": 1, "threads": 1})
    assert (model.context_tokens, model.max_output_tokens, model.slots, model.path) == (512, 256, 1, TINY.path)
    assert "expected an integer from 2 to 1024" in refusal_of({**BUNDLED, "context_tokens": 2048})


def test_a_model_of_that_name_may_come_from_elsewhere() -> None:
    """With a path it is that file; with another engine, that engine."""
    assert parse({**LOCAL, "name": "millrace-tiny"})[0].path == Path("/etc/millrace/weights/local.gguf")
    assert parse({**FAKE, "name": "millrace-tiny"})[0].engine == "fake"


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ({"engine": "fake"}, "models[0].name is missing"),
        ({**FAKE, "name": "a b"}, "models[0].name = 'a b'"),
        ({"name": "a"}, "models[0].engine is missing"),
        ({**FAKE, "engine": "llamacpp"}, "models[0].engine = 'llamacpp': expected one of embedded, remote, fake"),
        ({**FAKE, "engine": "vllm"}, "run vLLM as a server and use engine = 'remote'"),
        ({**FAKE, "engine": "ray"}, "ray comes later"),
        ({"name": "a", "engine": "fake"}, "models[0].context_tokens is missing"),
        ({**FAKE, "context_tokens": 1}, "expected an integer from 2 to"),
        ({**FAKE, "max_output_tokens": 1000}, "models[0].max_output_tokens = 1000: expected an integer from 1 to 999"),
        ({**FAKE, "slots": 0}, "models[0].slots = 0"),
        ({**FAKE, "url": "http://h/v1"}, "models[0].url is not a setting"),
        ({**FAKE, "threads": 2}, "models[0].threads is not a setting"),
        ({**REMOTE, "path": "a.gguf"}, "models[0].path is not a setting"),
        ({**LOCAL, "upstream": "x"}, "models[0].upstream is not a setting"),
        ({**LOCAL, "threads": 0}, "models[0].threads = 0"),
        ({"name": "other", "engine": "embedded", "context_tokens": 9}, "models[0].path is missing"),
        ({"name": "a", "engine": "remote", "context_tokens": 9}, "models[0].url is missing"),
        ({"name": "a", "engine": "remote", "context_tokens": 9, "ulr": "x"}, "'ulr' stands there"),
        ({**REMOTE, "contextt_tokens": 1}, "did you mean 'context_tokens'?"),
    ],
)
def test_what_an_engine_lacks_or_does_not_know_is_refused(model: Mapping[str, object], says: str) -> None:
    """The refusal names the model by its place, the key, and what was expected."""
    assert says in refusal_of(model)


@pytest.mark.parametrize(
    "url",
    [
        *("10.0.0.7:8001", "ftp://h/v1", "http://", "http://h:x/v1", "http://h:0/v1", "http://[::1/v1"),
        *("http://h/a b", "http://h/v1#a", "http://h/模型"),
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    """Only http and https, with a host."""
    assert "expected an address such as http://10.0.0.7:8001/v1" in refusal_of({**REMOTE, "url": url})


@pytest.mark.parametrize(
    "secret",
    [
        {"url": "http://user:hunter2@h/v1"},
        {"url": "http://hunter2@h:x/v1"},
        {"url": "http://h/v1?key=hunter2"},
        {"api_key": "hunter2"},
        {"api_key_env": "sk-hunter2"},
    ],
)
def test_a_secret_in_the_file_is_refused_without_showing_it(secret: Mapping[str, object]) -> None:
    """Wherever a secret was written by mistake, it is not repeated on the terminal or in a log."""
    sentence = refusal_of({**REMOTE, **secret})
    assert "hunter2" not in sentence
    assert "models[0]." in sentence


def test_a_name_is_listed_once() -> None:
    """Two models of one name are refused at the second."""
    assert "models[1].name = 'fake': expected another name" in refusal_of(FAKE, FAKE)
