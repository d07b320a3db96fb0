"""A random-weight Qwen3 folder, pulled, converted and served, with the cable out; and billed."""

import http.client
import json
from pathlib import Path
from typing import Any

from tests.conversion.source import config_of, write_source
from tests.live.test_up import Server, run, up


def command(home: Path, *words: str) -> Any:
    done = run(*words, "--json", home=home)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def chat(server: Server, key: str, model: str) -> tuple[str, Any]:
    """The request's id and the answer."""
    connection = http.client.HTTPConnection(str(server.address.hostname), server.address.port, timeout=60)
    asked = {
        "model": model,
        "messages": [{"role": "user", "content": "Hello, 水"}],
        "max_tokens": 6,
        "logit_bias": {"258": -100},
    }
    connection.request("POST", "/v1/chat/completions", json.dumps(asked), {"Authorization": f"Bearer {key}"})
    answer = connection.getresponse()
    body = json.loads(answer.read())
    connection.close()
    assert answer.status == 200, body
    return str(answer.headers["x-request-id"]), body


def test_pull_convert_serve(tmp_path: Path) -> None:
    """The lines that `convert` ends with serve the model; its answer is charged to the token, and the books balance."""
    home = tmp_path / "home"
    home.mkdir()
    source = write_source(tmp_path / "Qwen3-Random", config_of("Qwen3ForCausalLM"), kind="BF16")
    pulled = command(home, "model", "pull", str(source))
    assert (pulled["pulled"]["name"], pulled["convert"]) == ("qwen3-random", "millrace model convert qwen3-random")
    made = command(home, "model", "convert", "qwen3-random")
    name = made["converted"]["name"]
    assert (name, made["architecture"]) == ("qwen3-random-q8_0", "qwen3")
    with up(home, made["add_to_settings"]) as server:
        command(home, "tenant", "create", "acme")
        command(home, "grant", "create", "--tenant", "acme", "--amount", "1.00")
        key = command(home, "key", "create", "--tenant", "acme")["key"]
        request, answer = chat(server, key, name)
        written = "<|im_start|>user\nHello, 水<|im_end|>\n<|im_start|>assistant\n"
        tokens = len(written.replace("<|im_start|>", "s").replace("<|im_end|>", "e").encode())
        assert (answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]) == (tokens, 6)
        receipt = command(home, "receipt", request)
    assert (receipt["model"], receipt["amount"]) == (name, f"0.{tokens * 100 + 6 * 200:09d}")
    assert command(home, "audit")["ok"]
