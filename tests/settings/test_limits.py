"""The gateway's limits: each has a range, and its default lies within."""

from millrace.settings.limits import RANGES, Limits


def test_each_limit_has_a_range_around_its_default() -> None:
    """Nothing can be set that has no range, and nobody has to correct a default."""
    default = Limits()
    assert tuple(RANGES) == Limits.__struct_fields__
    for name, (low, high) in RANGES.items():
        assert low <= getattr(default, name) <= high, name
        assert isinstance(getattr(default, name), float if name.endswith("_s") else int), name


def test_the_defaults_fit_together() -> None:
    """One key cannot take all places, and each request in flight has a connection to come on."""
    default = Limits()
    assert default.requests_in_flight_per_key_max < default.requests_in_flight_max <= default.connections_max
    assert default.header_bytes_max < default.body_bytes_max
