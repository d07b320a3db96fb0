"""What clients know of their requests, and the judgement of the books by it: pure, but for reading the database once."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from msgspec import Struct
from tests.money.house import disagreements
from tests.races.books_victim import CHUNK_MAX, INPUT_TOKENS, RECORD, Told

from millrace.store.database import Database
from millrace.store.transaction import Tx

SHOWN: Final = 5
"""Violations of one kind that are told; the rest is counted."""


class Knowledge:
    """What the clients of one victim know, from its pipe, record by record."""

    def __init__(self) -> None:
        self.epoch = 0
        self.not_now = False
        self.fenced = 0
        self.held: dict[str, int] = {}
        """Every request that has a hold, with the tokens that its client got."""
        self.settled: dict[str, int] = {}
        self.flushed: dict[str, int] = {}
        self._flushing: dict[str, int] = {}
        self._fresh: dict[str, int] = {}
        self._rest = b""

    def take(self, data: bytes) -> None:
        data = self._rest + data
        whole = len(data) - len(data) % RECORD.size
        self._rest = data[whole:]
        for kind, request, number in RECORD.iter_unpack(data[:whole]):
            self._learn(Told(kind), request.rstrip(b"\0").decode(), number)

    def _learn(self, told: Told, request_id: str, number: int) -> None:
        if told is Told.GOT:
            self.held[request_id] = self._fresh[request_id] = number
        elif told is Told.HELD:
            self.held.setdefault(request_id, 0)
        elif told is Told.SETTLED:
            self.settled[request_id] = number
            self._fresh.pop(request_id, None)
        elif told is Told.FLUSHING:
            self._flushing, self._fresh = self._fresh, {}
        elif told is Told.FLUSHED:
            self.flushed |= self._flushing
        elif told is Told.NOT_NOW:
            self.not_now = True
        else:
            self.fenced += told is Told.FENCED
            self.epoch = number


class Request(NamedTuple):
    """One request as the books have it. Tokens are input and output together."""

    billed: int
    waived: int
    late: int
    recovered: bool
    amount: int
    posted: int


class Tally(Struct):
    """What a run came to."""

    requests: int = 0
    recovered: int = 0
    delivered: int = 0
    billed: int = 0
    waived: int = 0
    late: int = 0
    gone: int = 0
    over: int = 0
    lost: int = 0
    double: int = 0
    overshoot: int = 0

    def add(self, other: "Tally") -> None:
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


def read_requests(tx: Tx) -> dict[str, Request]:
    posted = dict(tx.rows(
        "SELECT substr(pending_id, 1, 30), CAST(SUM(amount) AS BIGINT) FROM transfer WHERE kind = 'post'"
        " GROUP BY substr(pending_id, 1, 30)"
    ))  # fmt: skip
    late = dict(tx.rows("SELECT request_id, recorded FROM waiver"))
    return {
        id_: Request(billed, waived, max(0, late.get(id_, 0) - billed - waived), status == "failed", amount, posted.get(id_, 0))
        for id_, billed, waived, status, amount in tx.rows(
            "SELECT request_id, input + output, waived, status, amount FROM usage"
        )
    }


def overdrawn(tx: Tx, given: Mapping[str, int], budgets: Mapping[str, int]) -> list[str]:
    """Who has spent or reserved more than he was given, and which key more than its budget, at this moment."""
    found = []
    for column, limits in (("tenant_id", given), ("key_id", budgets)):
        used = tx.rows(
            f"SELECT who, CAST(SUM(amount) AS BIGINT) FROM (SELECT {column} AS who, amount FROM usage"  # noqa: S608 - ours
            f" UNION ALL SELECT {column}, amount FROM open_hold) AS uses GROUP BY who"
        )
        found += [f"{who} has used {amount} of {limits[who]}" for who, amount in used if who in limits and amount > limits[who]]
    return found


def judge(
    requests: Mapping[str, Request], victims: list[Knowledge], gone: Mapping[str, int], *, near: bool
) -> tuple[Tally, list[str]]:
    """Compare what clients know with what the books have. `gone`: requests whose machine is lost, with what it had flushed.

    `near`: whoever took over had the journal, so that at most the chunk which was on its way is waived late.
    """
    held = {request_id: got for one in victims for request_id, got in one.held.items()}
    settled = {request_id: billed for one in victims for request_id, billed in one.settled.items()}
    tally = Tally(requests=len(requests))
    findings: list[str] = []
    for request_id, got in held.items():
        one = requests.get(request_id)
        if one is None:
            tally.lost += 1
            findings.append(f"{request_id}: held, {got} tokens delivered, and no usage")
            continue
        _judge_one(request_id, got, one, settled.get(request_id), gone.get(request_id), tally, findings)
    for request_id, one in requests.items():
        if one.billed and request_id not in held:
            tally.over += 1
            findings.append(f"{request_id}: billed {one.billed} tokens, and nobody got any: {one}")
        if one.posted != one.amount:
            tally.double += 1
            findings.append(f"{request_id}: its posts come to {one.posted}, its usage to {one.amount}")
        if near and one.late > (CHUNK_MAX if one.billed + one.waived else INPUT_TOKENS + CHUNK_MAX):
            tally.lost += 1
            findings.append(f"{request_id}: {one.late} tokens were released after somebody else had settled it: {one}")
        tally.recovered += one.recovered
        tally.billed += one.billed
        tally.waived += one.waived
        tally.late += one.late
    return tally, findings


def _judge_one(
    request_id: str, got: int, one: Request, settled: int | None, flushed: int | None, tally: Tally, findings: list[str]
) -> None:
    tally.delivered += got
    noted = one.billed + one.waived + one.late
    if one.billed > got:
        tally.over += 1
        findings.append(f"{request_id}: over-billed: got {got}, {one}")
    if settled is not None and settled != one.billed:
        tally.double += 1
        findings.append(f"{request_id}: was told that {settled} are billed, {one}")
    if flushed is None and got > noted:
        tally.lost += 1
        findings.append(f"{request_id}: got {got} of which {got - noted} are neither billed nor waived: {one}")
    if flushed is not None:
        tally.gone += max(0, got - noted)
        if noted < flushed:
            tally.lost += 1
            findings.append(f"{request_id}: {flushed} were in the database before its machine was lost, {one}")


def examine(db: Database, victims: list[Knowledge], gone: Mapping[str, int], *, near: bool) -> tuple[Tally, list[str]]:
    """`judge` on a database at rest, and what the auditor finds."""
    tally, findings = judge(db.read(read_requests), victims, gone, near=near)
    findings += [f"audit: {finding}" for finding in db.read(disagreements)]
    left = db.read(lambda tx: tx.rows("SELECT (SELECT COUNT(*) FROM open_hold), (SELECT COUNT(*) FROM lease)"))[0]
    if left != (0, 0):
        findings.append(f"left open: {left[0]} holds, {left[1]} leases")
    return tally, findings
