"""Shares of a limit add up to it, and nobody gets none."""

from hypothesis import given
from hypothesis.strategies import integers

from millrace.settings.limits import Limits
from millrace.workers.share import share, share_limits


@given(total=integers(1, 10_000), workers=integers(1, 64))
def test_shares_add_up(total: int, workers: int) -> None:
    """To the limit; where it is smaller than the number of workers each has one. No two differ by more than one."""
    shares = [share(total, workers, number) for number in range(workers)]
    assert sum(shares) == max(total, workers)
    assert max(shares) - min(shares) <= 1


def test_what_counts_is_shared_and_what_measures_is_not() -> None:
    """Connections and requests at once are divided; the size of a body and its time are not."""
    limits = Limits(connections_max=100, requests_in_flight_max=9, requests_in_flight_per_key_max=1)
    mine = share_limits(limits, 2, 1)
    assert (mine.connections_max, mine.requests_in_flight_max, mine.requests_in_flight_per_key_max) == (50, 4, 1)
    assert (mine.body_bytes_max, mine.request_timeout_s) == (limits.body_bytes_max, limits.request_timeout_s)
