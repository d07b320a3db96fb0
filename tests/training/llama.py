"""What llama.cpp says of a prompt: its text, its tokens, and how likely each next token is."""

import json
import urllib.request
from pathlib import Path
from typing import Any

import xllamacpp

Json = dict[str, Any]


class Llama:
    """A llama.cpp server inside this process, on a port of its own."""

    def __init__(
        self, path: Path, template: str | None = None, context_tokens: int = 2048, adapter: Path | None = None
    ) -> None:
        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.hostnames = ["127.0.0.1"]
        params.port = 0
        params.n_ctx = context_tokens
        params.n_parallel = 1
        params.use_jinja = True
        params.verbosity = 0
        if template is not None:
            params.chat_template = template
        if adapter is not None:
            params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(adapter))]
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
        self._server = xllamacpp.Server(params)

    def prompt(self, messages: list[Json], tools: list[Json] | None = None) -> str:
        """The chat template filled by llama.cpp's own Jinja, up to where the assistant begins."""
        body: Json = {"messages": messages} | ({"tools": tools} if tools else {})
        text: str = self._post("/apply-template", body)["prompt"]
        return text

    def tokens(self, text: str) -> list[int]:
        body = {"content": text, "add_special": False, "parse_special": True}
        found: list[int] = self._post("/tokenize", body)["tokens"]
        return found

    def likely(self, text: str, count: int = 20) -> dict[int, float]:
        """The log-probabilities of the likeliest next tokens."""
        body = {"prompt": text, "n_predict": 1, "n_probs": count, "temperature": 0.0, "cache_prompt": False}
        said = self._post("/completion", body)["completion_probabilities"][0]["top_logprobs"]
        return {int(each["id"]): float(each["logprob"]) for each in said}

    def _post(self, path: str, body: Json) -> Any:
        request = urllib.request.Request(  # noqa: S310 (our own loopback server)
            self._server.listening_address + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request) as answer:  # noqa: S310
            return json.load(answer)
