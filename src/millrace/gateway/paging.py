"""How many items of a list a caller wants."""

from collections.abc import Mapping

from millrace.wire.json_body import invalid


def limit_of(query: Mapping[str, str], default: int, most: int) -> int:
    """`?limit=`: 1 to `most`."""
    text = query.get("limit", str(default))
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= most:
        invalid("limit", f"{text[:20]!r} is not a number from 1 to {most}")
    return int(text)
