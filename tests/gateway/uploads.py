"""Uploads as clients send them, and files of examples."""

import json
from typing import Any

from tests.gateway.conftest import Answer, World

BOUNDARY = "mill-7f3a"


def form(content: bytes, *, purpose: str | None = "fine-tune", filename: str = "shop.jsonl", **fields: str) -> bytes:
    """A multipart body."""
    parts = [(f'name="{name}"', value.encode()) for name, value in fields.items()]
    if purpose is not None:
        parts.append(('name="purpose"', purpose.encode()))
    parts.append((f'name="file"; filename="{filename}"\r\nContent-Type: application/octet-stream', content))
    head = b"".join(
        f"--{BOUNDARY}\r\nContent-Disposition: form-data; {about}\r\n\r\n".encode() + body + b"\r\n" for about, body in parts
    )
    return head + f"--{BOUNDARY}--\r\n".encode()


async def upload(world: World, content: bytes, *, key: str | None = None, **terms: Any) -> Answer:
    headers = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
    return await world.call("POST", "/v1/files", form(content, **terms), key=key, headers=headers)


def jsonl(examples: int = 12) -> bytes:
    """Each example has ten tokens for the fake trainer."""
    asked, answered = {"role": "user", "content": "which mill is it"}, {"role": "assistant", "content": "the old wind mill"}
    line = {"messages": [asked, answered]}
    return (json.dumps(line).encode() + b"\n") * examples
