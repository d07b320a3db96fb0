"""Calls that can be pasted as they stand. Each value is quoted for the language that it stands in."""

import json
import shlex
from typing import Final

KEY: Final = "$MILLRACE_KEY"

REQUEST_ID: Final = "$REQUEST_ID"
"""Stands at the end of a path for what only the caller knows."""

PYTHON: Final = """\
import os
from openai import OpenAI

client = OpenAI(base_url={base}, api_key=os.environ["MILLRACE_KEY"])

for chunk in client.chat.completions.create(
    model={model},
    messages=[{{"role": "user", "content": "Where is my parcel?"}}],
    stream=True,
):
    print(chunk.choices[0].delta.content or "", end="", flush=True)
"""


def curl(base: str, path: str, body: object = None, *, secured: bool = True, method: str = "GET") -> str:
    """A curl command; with a body it is a POST, else of that method. A REQUEST_ID at the end is left to the shell."""
    known = path.removesuffix(REQUEST_ID)
    lines = [f"curl {shlex.quote(base + known)}" + (f'"{REQUEST_ID}"' if known != path else "")]
    if body is None and method != "GET":
        lines.append(f"-X {method}")
    if secured:
        lines.append(f'-H "Authorization: Bearer {KEY}"')
    if body is not None:
        lines += ['-H "Content-Type: application/json"', f"-d {shlex.quote(json.dumps(body, ensure_ascii=False))}"]
    return " \\\n  ".join(lines)


def chat_curl(base: str, model: str) -> str:
    body = {"model": model, "messages": [{"role": "user", "content": "Where is my parcel?"}]}
    return curl(base, "/v1/chat/completions", body)


def chat_python(base: str, model: str) -> str:
    return PYTHON.format(base=json.dumps(f"{base}/v1"), model=json.dumps(model, ensure_ascii=False))
