"""Servers on one database that are killed, paused, cut off or lose their disk: no client ever pays for what he did not get.

For every request of every seed: billed ≤ delivered ≤ billed + waived, late waivers counted; of a server whose disk was lost or
lost its power, what was flushed or synced stands for what was delivered. One key is one charge. Nobody spends more than was
granted. At the end no hold, no slice and no living epoch is left, and the auditor is silent.
`SEED=17 pytest tests/scenarios/test_fleet.py` plays one seed again, `SEEDS=20000` plays more.
"""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.scenarios.at_once import memory_folder
from tests.scenarios.fleet import Faults, Fleet
from tests.scenarios.planted import (
    BalancesInMemory,
    BillsTheDoubt,
    ClaimsAreForgotten,
    InTheBooks,
    InTheDatabase,
    NeverFenced,
    NoLateWaivers,
    PostedTwice,
    ReleasesFirst,
    VoidsTheDead,
)  # fmt: skip

SEEDS = int(os.environ.get("SEEDS", "2000"))
PARTS = 8
"""So that they are spread over the cores."""


@pytest.fixture
def folder() -> Iterator[Path]:
    with memory_folder() as made:
        yield made


def play(seed: int, folder: Path, faults: Faults | None = None) -> Fleet:
    fleet = Fleet(seed, folder / str(seed), faults)
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(fleet.run())
    finally:
        loop.close()  # `asyncio.run` would start a thread to end the threads that there are not: 2 ms a seed
    return fleet


@pytest.mark.parametrize("part", range(PARTS))
def test_no_seed_breaks_a_promise(folder: Path, part: int) -> None:
    """Whatever happens to the servers."""
    for seed in [int(os.environ["SEED"])] if "SEED" in os.environ else range(part, SEEDS, PARTS):
        try:
            play(seed, folder)
        except BaseException:
            print(f"\nplay it again with SEED={seed}")
            raise


def test_a_seed_is_always_the_same_story(folder: Path) -> None:
    """A failure can be played again: twice the same seed gives the same transfers, in the same order."""
    stories = []
    for again in ("first", "second"):
        fleet = play(7, folder / again)
        delivered = [(client.number, client.got, client.key) for client in fleet.clients]
        stories.append((delivered, fleet.house.tx.rows("SELECT * FROM transfer ORDER BY seq")))
    assert stories[0] == stories[1]
    assert stories[0][1]


PLANTED = {
    "balances are kept beside the database": (InTheDatabase(BalancesInMemory), "accounts are what their transfers come to"),
    "a chunk is recorded after it was sent": (ReleasesFirst(), "lost: "),
    "nobody is fenced": (InTheDatabase(NeverFenced), "lost: "),
    "a settlement counts twice": (InTheDatabase(PostedTwice), "debits equal credits"),
    "no waiver is written late": (InTheDatabase(NoLateWaivers), "lost: "),
    "a billed key is free again": (InTheDatabase(ClaimsAreForgotten), "the claim of a billed request went away"),
    "recovery voids everything": (InTheBooks(VoidsTheDead), "lost: "),
    "recovery bills what is in doubt": (InTheBooks(BillsTheDoubt), "over-billed: "),
}  # fmt: skip

FOUND_WITHIN = 200
"""Seeds in which each planted fault must be found."""


@pytest.mark.parametrize(("faults", "promise"), PLANTED.values(), ids=PLANTED.keys())
def test_a_planted_fault_is_found(folder: Path, faults: Faults, promise: str) -> None:
    """Within so many seeds, and by the promise that it breaks: the checks above can fail."""
    for seed in range(FOUND_WITHIN):
        try:
            play(seed, folder, faults)
        except AssertionError as error:
            if promise in str(error):
                print(f"found by seed {seed}")
                return
    raise AssertionError(f"not found in {FOUND_WITHIN} seeds")
