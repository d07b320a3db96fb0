"""What `millrace up` says once it serves: where, with which key, which models, how to try it and how to stop it."""

import json
import shlex
from typing import Any, Final

from msgspec import Struct

from millrace.cli.output import Facts, render
from millrace.money.billing.succession import Recovery

ANY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - shown, not bound
"""Where a server that listens everywhere is found from its own machine."""

QUESTION: Final = "Hello! What can you help me with?"


class ServedModel(Struct, frozen=True):
    """A model on offer and how its engine stands; `failure` is the engine's own sentence."""

    name: str
    state: str
    failure: str | None


class Announcement(Struct, frozen=True, kw_only=True):
    """All that is said at a start. `key` is there on the first start only; `key_command` makes another."""

    base_url: str
    page: str
    key: str | None
    key_command: str
    tenant: str
    models: tuple[ServedModel, ...]

    def form(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "base_url": self.base_url,
            "page": self.page,
            "key": self.key,
            "tenant": self.tenant,
            "models": [{"name": model.name, "state": model.state} for model in self.models],
        }


def address(host: str, port: int) -> str:
    """('0.0.0.0', 8000) → 'http://127.0.0.1:8000'."""
    shown = ANY_ADDRESS.get(host, host)
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


def render_announcement(said: Announcement) -> str:
    """The same for people."""
    key = (
        f"{said.key}  (tenant {said.tenant}; shown only now, keep it)"
        if said.key
        else f"shown once, at the first start; another: {said.key_command}"
    )
    facts = [("Base URL", said.base_url), ("Page", said.page), ("API key", key)]
    facts += [("Model", _model(model)) for model in said.models]
    return "\n".join(
        ["Millrace is up.", "", render(Facts(facts)), "", "Try it:", "", _curl(said), "", "Stop it with Ctrl-C."]
    )


def render_recovery(found: Recovery) -> str | None:
    """What had to be put right after a stop that was none; None when nothing had."""
    if found == Recovery():
        return None
    return (
        "the last server did not stop in good order; of its requests "
        f"{found.settled} were settled at what was delivered, {found.voided} cost nothing, {found.waived} tokens were waived"
    )


def _model(model: ServedModel) -> str:
    return f"{model.name}  {model.state}" + (f": {model.failure}" if model.failure else "")


def _curl(said: Announcement) -> str:
    """One line, to be pasted. Without the key in hand it comes from the variable MILLRACE_KEY."""
    header = f"'Authorization: Bearer {said.key}'" if said.key else '"Authorization: Bearer $MILLRACE_KEY"'
    model = next((model.name for model in said.models if model.state == "ready"), said.models[0].name)
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": QUESTION}]}
    return (
        f"curl -N {said.base_url}/chat/completions -H {header} -H 'Content-Type: application/json' "
        f"-d {shlex.quote(json.dumps(body))}"
    )
