"""Usage rows of the cast, made without serving anybody: for tests of what is summed, exported and deleted."""

import random
from typing import Final

from tests.money.house import NOVEMBER_23, request

from millrace.base.money import NANO
from millrace.store.transaction import Tx

HOUR: Final = 3600 * NANO
QUARTER: Final = 900 * NANO
DAY: Final = 24 * HOUR

COLUMNS: Final = (
    "request_id", "tenant_id", "project_id", "key_id", "model", "status", "counted_by", "input", "cached_input", "output",
    "reasoning", "waived", "price_id", "tier", "amount", "currency", "epoch", "started_at", "finished_at",
)  # fmt: skip


def add_usage(
    tx: Tx, rng: random.Random, count: int, *, first: int = 1, begin: int = NOVEMBER_23, span: int = 3 * HOUR,
    largest: int = 10**12,
) -> None:  # fmt: skip
    """So many rows of three tenants and two models, finished at random in [begin, begin + span)."""
    rows = []
    for number in range(first, first + count):
        name = rng.choice(("acme", "bolt", "mole"))
        model = rng.choice(("tiny", "free"))
        input_, output = rng.randrange(0, 2000), rng.randrange(0, 500)
        finished = begin + rng.randrange(span)
        rows.append((
            request(number), f"ten_{name}", f"proj_{name}", rng.choice((f"key_{name}", f"key_{name}_small")), model,
            "completed", "engine", input_, rng.randint(0, input_), output, rng.randint(0, output), rng.choice((0, 0, 3)),
            f"{model}/CNY/v1", 0, rng.randrange(largest) if model == "tiny" else 0, "CNY", 1,
            finished - rng.randrange(60 * NANO), finished,
        ))  # fmt: skip
    tx.insert("usage", COLUMNS, rows)
