"""Where an audit found everything in order: what it takes to go on from there instead of from the first row. Pure."""

import msgspec
from msgspec import Struct

from millrace.money.audit.replay import Replay, Waiting
from millrace.money.ledger.chain import Chain


class Mark(Struct, frozen=True, kw_only=True):
    """Rows up to these sequence numbers are accounted for by the balances of this mark."""

    number: int
    transfers: int
    usage: int
    chains: tuple[Chain, ...]
    waiting: dict[str, Waiting]
    at: int


def mark_of(replay: Replay, *, number: int, usage: int, at: int) -> Mark:
    """Where a replay stands now."""
    ends = tuple(Chain(chain.number, chain.length, chain.head) for _, chain in sorted(replay.chains.items()))
    return Mark(number=number, transfers=replay.seq, usage=usage, chains=ends, waiting=dict(replay.waiting), at=at)


def render_chains(chains: tuple[Chain, ...]) -> str:
    return msgspec.json.encode([(chain.number, chain.length, chain.head.hex()) for chain in chains]).decode()


def parse_chains(text: str) -> tuple[Chain, ...]:
    """The inverse of `render_chains`."""
    listed = msgspec.json.decode(text, type=list[tuple[int, int, str]])
    return tuple(Chain(number, length, bytes.fromhex(head)) for number, length, head in listed)


def render_waiting(waiting: dict[str, Waiting]) -> str:
    return msgspec.json.encode([(id_, one.debit, one.credit, one.amount) for id_, one in waiting.items()]).decode()


def parse_waiting(text: str) -> dict[str, Waiting]:
    """The inverse of `render_waiting`."""
    listed = msgspec.json.decode(text, type=list[tuple[str, str, str, int]])
    return {id_: Waiting(debit, credit, amount) for id_, debit, credit, amount in listed}
