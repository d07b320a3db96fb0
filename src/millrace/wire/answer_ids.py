"""The id of an answer and the id of its receipt: the same 128 bits under two prefixes."""

from typing import Final

CHAT: Final = "chatcmpl"
COMPLETION: Final = "cmpl"


def answer_id(prefix: str, request_id: str) -> str:
    """('chatcmpl', 'req_01k8…') → 'chatcmpl-01k8…'."""
    return f"{prefix}-{request_id.rpartition('_')[2]}"


def parse_receipt_id(text: str) -> str:
    """The request's id from any id that a caller was given: `chatcmpl-01k8…` and `req_01k8…` name one receipt."""
    for prefix in (CHAT, COMPLETION):
        if text.startswith(f"{prefix}-"):
            return f"req_{text.removeprefix(f'{prefix}-')}"
    return text
