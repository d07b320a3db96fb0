"""Usage rows as Parquet, written and read back by duckdb: the one place that knows it. It comes with the extra `export`.

Rows reach duckdb through a file of JSON lines beside the target, with the type of each column given: nothing is guessed, and
memory is bounded whatever the number of rows.
"""

import hashlib
import importlib
import importlib.util
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import msgspec

from millrace.base.errors import Reason, Refusal
from millrace.money.retention.values import COLUMNS, Row, Sums

_NAMES: Final = tuple(name for name, _ in COLUMNS)
_SETTINGS: Final = {"threads": 1, "memory_limit": "512MB", "autoinstall_known_extensions": False}
"""One core, since a server works beside it."""

GROUP_ROWS: Final = 100_000
"""Rows of a group within a file: what a reader takes at once."""

READ_BYTES: Final = 1024 * 1024


def check() -> None:
    """Raises BAD_SETTING where duckdb is missing."""
    if importlib.util.find_spec("duckdb") is None:
        raise Refusal(
            Reason.BAD_SETTING, "Parquet files need duckdb, which is not installed; get it with: pip install 'millrace[export]'"
        )


def write(target: Path, pages: Iterable[list[Row]]) -> Sums:
    """Write the file, which must not be there; at least one row. The sums are of what was handed over."""
    check()
    tally = _Tally()
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".rows-") as scratch:
        lines = Path(scratch) / "rows.jsonl"
        encoder = msgspec.json.Encoder()
        with lines.open("wb") as file:
            for page in pages:
                tally.add(page)
                file.write(encoder.encode_lines([dict(zip(_NAMES, row, strict=True)) for row in page]))
        with _connect(scratch) as duckdb:
            rows = duckdb.read_json(str(lines), columns=dict(COLUMNS), format="newline_delimited")
            rows.write_parquet(str(target), compression="zstd", row_group_size=GROUP_ROWS)
    return tally.sums()


def read(path: Path) -> Sums:
    """What the rows of a file come to."""
    check()
    with tempfile.TemporaryDirectory() as scratch, _connect(scratch) as duckdb:
        rows = duckdb.read_parquet(str(path))
        if tuple(rows.columns) != _NAMES:
            raise Refusal(Reason.CONFLICT, f"{path.name} has other columns than an export of usage")
        whole = rows.aggregate(
            "min(seq), max(seq), count(*), sum(input + output), sum(waived), min(finished_at), max(finished_at)"
        ).fetchall()[0]
        amounts = rows.aggregate("currency, sum(amount)", "currency").fetchall()
    return Sums(
        seq_lo=whole[0], seq_hi=whole[1], requests=whole[2], tokens=int(whole[3]), waived=int(whole[4]),
        amounts=tuple(sorted((currency, int(amount)) for currency, amount in amounts)),
        finished_lo=whole[5], finished_hi=whole[6],
    )  # fmt: skip


def hashed(path: Path) -> tuple[str, int]:
    """SHA-256 and size in bytes."""
    sha256, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(READ_BYTES):
            sha256.update(block)
            size += len(block)
    return sha256.hexdigest(), size


def _connect(scratch: str) -> Any:
    """An empty database in memory, loaded here because duckdb takes longer to load than a command to run."""
    return importlib.import_module("duckdb").connect(":memory:", config={**_SETTINGS, "temp_directory": scratch})


class _Tally:
    """The sums of rows as they go by."""

    def __init__(self) -> None:
        self._seqs: list[int] = []
        self._requests = self._tokens = self._waived = 0
        self._amounts: Counter[str] = Counter()
        self._finished: list[int] = []

    def add(self, page: list[Row]) -> None:
        place = {name: number for number, name in enumerate(_NAMES)}

        def column(name: str) -> list[Any]:
            return [row[place[name]] for row in page]

        self._seqs = [*self._seqs[:1], *column("seq")[:1], column("seq")[-1]]
        self._requests += len(page)
        self._tokens += sum(column("input")) + sum(column("output"))
        self._waived += sum(column("waived"))
        for currency, amount in zip(column("currency"), column("amount"), strict=True):
            self._amounts[currency] += amount
        finished = [*self._finished, *column("finished_at")]
        self._finished = [min(finished), max(finished)]

    def sums(self) -> Sums:
        return Sums(
            seq_lo=self._seqs[0], seq_hi=self._seqs[-1], requests=self._requests, tokens=self._tokens, waived=self._waived,
            amounts=tuple(sorted(self._amounts.items())), finished_lo=self._finished[0], finished_hi=self._finished[-1],
        )  # fmt: skip
