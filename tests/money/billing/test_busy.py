"""Who is busy on this server: counted by the second, forgotten in a second."""

from millrace.base.clock import NS_PER_S
from millrace.money.billing.busy import BUSY_HOLDS, Busy


def test_a_tenant_is_busy_from_so_many_holds_in_a_second() -> None:
    """One hold fewer, or the same number over two seconds, is not busy."""
    busy = Busy()
    for number in range(BUSY_HOLDS - 1):
        busy.note("acme", number)
        busy.note("bolt", number)
    assert busy.tenants(1) == frozenset()
    busy.note("acme", 1)
    assert busy.tenants(1) == {"acme"}
    busy.note("bolt", NS_PER_S)
    assert busy.tenants(NS_PER_S) == {"acme"}


def test_who_was_busy_a_second_ago_still_is() -> None:
    """And not two seconds ago, whether anybody has asked since or not."""
    busy = Busy()
    for _ in range(BUSY_HOLDS):
        busy.note("acme", 0)
    assert busy.tenants(2 * NS_PER_S - 1) == {"acme"}
    assert busy.tenants(2 * NS_PER_S) == frozenset()
    busy.note("bolt", 2 * NS_PER_S)
    busy.note("bolt", 3 * NS_PER_S)
    assert busy.tenants(3 * NS_PER_S) == frozenset()
