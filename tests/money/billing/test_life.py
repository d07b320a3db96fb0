"""How servers see each other's life: locks for neighbours, leases for everybody else, a deadline for oneself."""

import asyncio
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from millrace.base.clock import NS_PER_S, FakeClock
from millrace.base.errors import Reason, Refusal
from millrace.money.billing.life import Life, clear, lock_is_free
from millrace.money.epochs.store import LEASE_NS, Other

LEASE_S = LEASE_NS // NS_PER_S


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def test_a_lock_is_held_as_long_as_its_server_lives(tmp_path: Path, clock: FakeClock) -> None:
    """Taken, and free again when it is left; an epoch that nobody has is free."""
    life = Life(tmp_path, clock)
    assert lock_is_free(tmp_path, 7)
    life.lock(7)
    assert not lock_is_free(tmp_path, 7)
    life.lock(8)
    assert (lock_is_free(tmp_path, 7), lock_is_free(tmp_path, 8)) == (True, False)
    life.unlock()
    life.unlock()
    assert lock_is_free(tmp_path, 8)


def test_a_child_does_not_keep_its_parents_lock(tmp_path: Path, clock: FakeClock) -> None:
    """An engine that outlives its server must not make it look alive."""
    life = Life(tmp_path, clock)
    life.lock(7)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)
    try:
        life.unlock()
        assert lock_is_free(tmp_path, 7)
    finally:
        child.communicate()


def test_the_kernel_frees_the_lock_of_a_process_that_was_killed(tmp_path: Path, clock: FakeClock) -> None:
    """However it ended; the file stays, and is no sign of life."""
    program = (
        "import sys; from pathlib import Path; from millrace.base.clock import FakeClock; "
        "from millrace.money.billing.life import Life; life = Life(Path(sys.argv[1]), FakeClock()); life.lock(7); "
        "print('ready', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": "src"},
    ) as victim:  # fmt: skip
        assert victim.stdout is not None
        assert victim.stdout.readline() == b"ready\n"
        assert not lock_is_free(tmp_path, 7)
        victim.kill()
    assert lock_is_free(tmp_path, 7)
    assert (tmp_path / "00000007.lock").exists()
    clear(tmp_path, 7)
    assert not (tmp_path / "00000007.lock").exists()
    assert Life(tmp_path, clock).home == Life(tmp_path, clock).home


def test_servers_that_start_at_once_agree_on_their_homes_name(tmp_path: Path, clock: FakeClock) -> None:
    """Twenty at a time make one name; another folder has another."""
    with ThreadPoolExecutor(20) as threads:
        names = {life.home for life in threads.map(lambda _: Life(tmp_path / "one", clock), range(20))}
    assert len(names) == 1
    assert names != {Life(tmp_path / "other", clock).home}


def test_with_other_machines_about_a_home_is_of_one_kernel(tmp_path: Path, clock: FakeClock) -> None:
    """A copied or shared folder does not make two machines neighbours, but its journals are known for what they are."""
    near, far = Life(tmp_path, clock), Life(tmp_path, clock, far=True)
    assert far.home.startswith(near.home + "@")
    assert far.is_near(near.home + "@another-boot")
    assert not far.is_near("another@" + far.home.partition("@")[2])


def other(life: Life, *, number: int = 7, home: str | None = None, until: int = 100, taken_by: int = 0) -> Other:
    return Other(number, life.home if home is None else home, until, taken_by, taker_lives=True, taker_home=life.home)


def test_who_is_dead(tmp_path: Path, clock: FakeClock) -> None:
    """A neighbour whose lock is free, at once; anybody whose lease has run out; nobody else."""
    life, neighbour = Life(tmp_path, clock), Life(tmp_path, clock)
    neighbour.lock(7)
    assert not life.is_dead(other(life), 100)
    assert life.is_dead(other(life), 101), "a neighbour that sleeps keeps its lock and loses its lease"
    assert not life.is_dead(other(life, home="elsewhere"), 100)
    assert life.is_dead(other(life, home="elsewhere"), 101)
    neighbour.unlock()
    assert life.is_dead(other(life), 0)
    assert not life.is_dead(other(life, home="elsewhere"), 0)


def test_whose_taker_is_dead_may_be_taken_again(tmp_path: Path, clock: FakeClock) -> None:
    """The taker's own life counts then, and not that of the one that it took over."""
    life, taker = Life(tmp_path, clock), Life(tmp_path, clock)
    taker.lock(8)
    taken = other(life, until=0, taken_by=8)
    assert not life.is_dead(taken, 100)
    assert life.is_dead(taken._replace(taker_lives=False), 100)
    assert not life.is_dead(taken._replace(taker_home="elsewhere"), 100)
    taker.unlock()
    assert life.is_dead(taken, 100)


def test_nothing_is_released_shortly_before_the_lease_ends(tmp_path: Path, clock: FakeClock) -> None:
    """Nor before it was ever renewed, nor after another server took over; a late answer does not shorten it."""
    life = Life(tmp_path, clock)
    said = [life.may_release]
    asked_at = clock.monotonic()
    clock.advance(1)
    life.renewed(clock.monotonic())
    life.renewed(asked_at)
    clock.advance(LEASE_S * 0.9 - 0.01)
    said.append(life.may_release)
    clock.advance(0.01)
    said.append(life.may_release)
    life.renewed(clock.monotonic())
    said.append(life.may_release)
    life.ended()
    said.append(life.may_release)
    assert said == [False, True, False, True, False]


def test_a_step_of_the_wall_clock_ends_no_lease(tmp_path: Path, clock: FakeClock) -> None:
    """Deadlines are by the clock that only goes on."""
    life = Life(tmp_path, clock)
    life.renewed(clock.monotonic())
    clock.advance(-3_600)
    assert life.may_release


def test_a_stream_waits_for_the_lease_and_not_for_ever(tmp_path: Path, clock: FakeClock) -> None:
    """Renewed meanwhile: it goes on. Never renewed: it is told why it ends."""
    life = Life(tmp_path, clock)

    async def renewed_later() -> None:
        waiting = asyncio.create_task(life.until_renewed())
        await asyncio.sleep(0)
        life.renewed(clock.monotonic())
        await waiting

    asyncio.run(renewed_later())
    life.ended()
    before = clock.monotonic()
    with pytest.raises(Refusal, match="cannot be reached") as refused:
        asyncio.run(life.until_renewed())
    assert refused.value.reason is Reason.STORE_UNAVAILABLE
    assert clock.monotonic() - before >= 2 * LEASE_NS


def test_a_number_that_is_given_out_again_has_one_lock(tmp_path: Path, clock: FakeClock) -> None:
    """Who had it first leaves its own lock, not the one of the server that has the number now."""
    first, second = Life(tmp_path, clock), Life(tmp_path, clock)
    first.lock(7)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(second.lock, 7)
        while not waiting.running():
            pass
        first.lock(8)
        waiting.result(timeout=10)
    assert (lock_is_free(tmp_path, 7), lock_is_free(tmp_path, 8)) == (False, False)
    third = Life(tmp_path, clock)
    tmp_path.joinpath("00000007.lock").unlink()
    third.lock(7)
    second.unlock()
    assert not lock_is_free(tmp_path, 7)
