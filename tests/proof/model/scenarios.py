"""What is explored to the end, and which scenario each planted fault is looked for in."""

from typing import Final, NamedTuple

from tests.proof.model import promises
from tests.proof.model.explorer import COMES_TO_REST
from tests.proof.model.state import Fault, Scenario

A, B = 0, 1
FIRST, SECOND = 0, 1  # tenants

ONE_HOME: Final = Scenario(
    "one home: two requests compete for credit that is enough for one; both gateways are killed, A is stopped",
    requests=((FIRST, A), (FIRST, B)), credit=(3,), crash=(A, B), pause=(A,), hang_up=(0,),
)  # fmt: skip

APART: Final = Scenario(
    "two machines: one request; both gateways are killed, A is stopped, cut off, loses its machine",
    requests=((FIRST, A),), credit=(2,), one_home=False, crash=(A, B), burn=(A,), pause=(A,), cut=(A,), hang_up=(0,),
)  # fmt: skip

APART_TWO: Final = Scenario(
    "two machines: two requests; A is stopped and cut off",
    requests=((FIRST, A), (FIRST, B)), credit=(3,), one_home=False, pause=(A,), cut=(A,),
)  # fmt: skip

LEASES: Final = Scenario(
    "one home, leases: two requests, credit for both, lent in slices; both gateways are killed",
    requests=((FIRST, A), (FIRST, B)), credit=(4,), leases=True, slice=3, strict_below=4, crash=(A, B),
)  # fmt: skip

LEASES_STOPPED: Final = Scenario(
    "one home, leases: two requests, credit for both, lent in slices; A is killed and stopped",
    requests=((FIRST, A), (FIRST, B)), credit=(4,), leases=True, slice=3, strict_below=4, crash=(A,), pause=(A,),
)  # fmt: skip

THREE: Final = Scenario(
    "one home: three requests of two tenants; A is killed",
    requests=((FIRST, A), (FIRST, B), (SECOND, A)), credit=(3, 2), crash=(A,),
)  # fmt: skip

SMALL: Final = (ONE_HOME, APART, APART_TWO, LEASES, LEASES_STOPPED, THREE)
"""These run with every test."""

LARGE: Final = (
    Scenario(
        "one home: two tenants; both gateways are killed, A is stopped, both clients can leave",
        requests=((FIRST, A), (SECOND, B)), credit=(2, 2), crash=(A, B), pause=(A,), hang_up=(0, 1),
    ),
    Scenario(
        "two machines: two requests at A, which is cut off or loses its machine; B is killed",
        requests=((FIRST, A), (FIRST, A)), credit=(4,), one_home=False, burn=(A,), cut=(A,), crash=(B,),
    ),
    Scenario(
        "two machines, leases: two requests; A loses its machine",
        requests=((FIRST, A), (FIRST, B)), credit=(4,), one_home=False, leases=True, slice=3, strict_below=4, burn=(A,),
    ),
    Scenario(
        "two machines, leases: two requests; A is cut off",
        requests=((FIRST, A), (FIRST, B)), credit=(4,), one_home=False, leases=True, slice=3, strict_below=4, cut=(A,),
    ),
    Scenario(
        "one home: three requests of two tenants; A is killed and stopped",
        requests=((FIRST, A), (FIRST, B), (SECOND, A)), credit=(3, 2), crash=(A,), pause=(A,),
    ),
    Scenario(
        "two machines: three requests of two tenants; A is killed and cut off",
        requests=((FIRST, A), (FIRST, B), (SECOND, A)), credit=(3, 2), one_home=False, crash=(A,), cut=(A,),
    ),
    Scenario(
        "one home, leases: three requests of two tenants; A is killed and stopped",
        requests=((FIRST, A), (FIRST, B), (SECOND, A)), credit=(4, 3), leases=True, slice=3, strict_below=4, crash=(A,),
        pause=(A,),
    ),
)  # fmt: skip
"""A quarter of an hour and 2 GB; `python -m tests.proof.model --all`, or MILLRACE_PROOF=all for the tests."""


class Planted(NamedTuple):
    """A fault, where it is looked for, and the promise that it must break."""

    fault: Fault
    scenario: Scenario
    promise: str


PLANTED: Final = (
    Planted(Fault.SETTLE_BEFORE_HOLD, ONE_HOME, promises.ALL_COUNTED),
    Planted(Fault.CHECK_THEN_ACT, ONE_HOME, promises.AVAILABLE),
    Planted(Fault.HOLD_TOO_SMALL, ONE_HOME, promises.WITHIN),
    Planted(Fault.REST_KEPT, ONE_HOME, promises.PENDING),
    Planted(Fault.SETTLE_TWICE, ONE_HOME, promises.ONCE),
    Planted(Fault.JOURNAL_AFTER_RELEASE, ONE_HOME, promises.RECORDED_FIRST),
    Planted(Fault.BILL_WHAT_IS_RECORDED, ONE_HOME, promises.ONLY_GOT),
    Planted(Fault.VOID_ON_RECOVERY, ONE_HOME, promises.COUNTED),
    Planted(Fault.WAIVE_ON_RECOVERY, ONE_HOME, promises.DOUBT_IS_ONE),
    Planted(Fault.JOURNAL_GONE_IS_EMPTY, APART, promises.COUNTED),
    Planted(Fault.NO_TAKE_OVER, APART_TWO, COMES_TO_REST),
    Planted(Fault.NO_FENCING, APART, promises.LATE_BY_ONE),
    Planted(Fault.NO_LOCAL_DEADLINE, APART, promises.LATE_BY_ONE),
    Planted(Fault.NO_LATE_WAIVER, ONE_HOME, promises.ALL_COUNTED),
    Planted(Fault.LATE_WAIVER_AS_A_DIFFERENCE, APART, promises.NO_MORE_WAIVED),
    Planted(Fault.JOURNAL_DELETED_EARLY, ONE_HOME, promises.ALL_COUNTED),
    Planted(Fault.NO_IDLE_TIMEOUT, APART_TWO, COMES_TO_REST),
    Planted(Fault.LOCK_AFTER_ROW, ONE_HOME, promises.NOT_AT_BIRTH),
    Planted(Fault.LEASE_NOT_DEDUCTED, LEASES, promises.BALANCED),
    Planted(Fault.LEASES_DIE_WITH_THEIR_GATEWAY, LEASES_STOPPED, COMES_TO_REST),
    Planted(Fault.REFUSE_AFTER_THE_WAIT, LEASES, promises.CREDIT_COUNTS),
)
