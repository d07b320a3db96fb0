"""The ends of the hash chains as a text, to be noted where whoever has the database cannot write. Pure.

'1:4711:9f86…': chain 1 had 4,711 transfers, and the last of them had this hash. The audit's log line has them, and so has
`millrace audit --json`; any text in which they stand can be held against the books later.
"""

import re
from collections.abc import Iterable

from millrace.money.ledger.chain import Chain

_HEAD = re.compile(r"\b([0-9]{1,9}):([0-9]{1,18}):([0-9a-f]{64})\b")


def render_head(chain: Chain) -> str:
    return f"{chain.number}:{chain.length}:{chain.head.hex()}"


def render_heads(chains: Iterable[Chain]) -> str:
    return ",".join(render_head(chain) for chain in chains)


def parse_heads(text: str) -> list[Chain]:
    """Every head that stands in the text, whatever stands around it."""
    return [Chain(int(number), int(length), bytes.fromhex(head)) for number, length, head in _HEAD.findall(text)]
