"""What each of several workers gets of a limit that holds for the whole server. Pure.

The shares add up to the limit, but nobody gets less than one: of a limit smaller than the number of workers each has one.
"""

from msgspec.structs import replace

from millrace.settings.limits import Limits


def share(total: int, workers: int, number: int) -> int:
    """The part of worker `number`, counted from 0: (10, 4) is shared as 3, 3, 2, 2."""
    return max(1, total // workers + (number < total % workers))


def share_limits(limits: Limits, workers: int, number: int) -> Limits:
    """Those that count what is there at once; sizes and times are everybody's."""
    return replace(
        limits,
        connections_max=share(limits.connections_max, workers, number),
        requests_in_flight_max=share(limits.requests_in_flight_max, workers, number),
        requests_in_flight_per_key_max=share(limits.requests_in_flight_per_key_max, workers, number),
    )
