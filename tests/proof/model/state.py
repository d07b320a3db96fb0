"""What the model remembers: the database, the gateways' processes and disks, and what the clients got.

All of it is immutable and hashable. One token costs one unit and one chunk is one token, so tokens and money are compared
directly. Fields marked *ghost* are known to nobody in the system; only the promises look at them.
"""

from enum import Enum, auto
from typing import Final, NamedTuple, TypeVar

T = TypeVar("T")


class Fault(Enum):
    """A variant of the protocol with one rule left out. Each must break a promise, or the model proves nothing."""

    NONE = auto()
    SETTLE_BEFORE_HOLD = auto()  # generation starts before the hold is durable
    CHECK_THEN_ACT = auto()  # the balance is read in one transaction and taken from in another
    HOLD_TOO_SMALL = auto()  # one token less than the request can cost
    REST_KEPT = auto()  # a settlement posts, and does not give back what was held too much
    SETTLE_TWICE = auto()  # a hold can be resolved again
    JOURNAL_AFTER_RELEASE = auto()
    BILL_WHAT_IS_RECORDED = auto()  # a dead gateway's chunk in doubt is billed
    VOID_ON_RECOVERY = auto()  # whoever takes over gives everything back
    WAIVE_ON_RECOVERY = auto()  # … or writes it all down as waived
    JOURNAL_GONE_IS_EMPTY = auto()  # … or takes a journal that is lost for one that says: nothing was sent
    NO_TAKE_OVER = auto()
    NO_FENCING = auto()  # a gateway that was taken over still holds and settles
    NO_LOCAL_DEADLINE = auto()  # chunks are released past the own lease
    NO_LATE_WAIVER = auto()  # what a fenced gateway sent unseen is told to nobody
    LATE_WAIVER_AS_A_DIFFERENCE = auto()  # … or told as 'so many more', which the settlement after it counts again
    JOURNAL_DELETED_EARLY = auto()  # … or deleted with the journal while its process can still write
    NO_IDLE_TIMEOUT = auto()  # the database waits for ever on a transaction whose client is stopped or cut off
    LOCK_AFTER_ROW = auto()  # a new epoch's row is seen before its lock is held
    LEASE_NOT_DEDUCTED = auto()  # a slice of credit is lent and left on the grant
    LEASES_DIE_WITH_THEIR_GATEWAY = auto()
    REFUSE_AFTER_THE_WAIT = auto()  # 402 because the recall took too long


# Where a request is, as its gateway's process sees it.
NEW: Final = "not asked yet"
ASKED: Final = "waits for its hold"
SEEN: Final = "has read the balance"  # only with CHECK_THEN_ACT
ORPHAN: Final = "its client left before the hold's answer"
READY: Final = "between chunks"
CHECKED: Final = "own deadline looked at"
RECORDED: Final = "chunk in the journal"
UNRECORDED: Final = "chunk sent, not in the journal"  # only with JOURNAL_AFTER_RELEASE
SENT: Final = "chunk with the client"
ENDING: Final = "waits for its settlement"
OVER: Final = "no process works on it"
CLOSED: Final = "audited and forgotten"

# The row of a hold.
NONE, OPEN, RESOLVED = "none", "open", "resolved"
GRANT, LEASE = "the grant", "a lease"

# A gateway's process.
UP, PAUSED, DOWN, STARTING = "up", "paused", "down", "starting"  # the last only with LOCK_AFTER_ROW

# An epoch's row.
UNBORN, LIVE, TAKEN = "unborn", "live", "taken over"

# A lease on life. The local deadline is never later than the database's, so there are three cases and not four.
VALID: Final = 2
LOCALLY_OUT: Final = 1
OUT: Final = 0


class Request(NamedTuple):
    step: str = NEW
    gone: bool = False  # its client has hung up
    epoch: int = -1
    got: int = 0  # ghost: tokens the client has
    recorded: int = 0  # in the journal, and in the process's memory
    confirmed: int = 0
    hold: str = NONE
    source: str = GRANT
    flushed_recorded: int = 0  # the watermark in the database
    flushed_confirmed: int = 0
    billed: int = 0
    waived: int = 0
    resolutions: int = 0
    reported: int = 0  # table waiver: what a fenced gateway, or the reader of its journal, says was recorded
    after: int = 0  # ghost: chunks sent after the epoch was taken over
    unseen: int = 0  # ghost: recorded and not flushed when another machine settled
    lost: int = 0  # ghost: what a lost disk knew and the database did not
    refused_wrongly: bool = False  # ghost: 402 while the tenant had the credit

    @property
    def late(self) -> int:
        """Waived after the settlement: what of the reported tokens no usage row accounts for."""
        return max(0, self.reported - self.billed - self.waived)


class Epoch(NamedTuple):
    life: str = UNBORN
    taken_by: int = -1
    lease: int = OUT
    slices: tuple[int, ...] = ()  # by tenant: what is free on the lease account
    recalled: tuple[bool, ...] = ()
    disk: bool = True  # the journal can be read in its home
    locked: bool = False  # its gateway was stopped, cut off or lost between a transaction's fence and its COMMIT


class Gateway(NamedTuple):
    process: str = UP
    epoch: int = 0
    linked: bool = True  # the database can be reached; one that is too slow is one that cannot
    fenced: bool = False  # and it knows


class State(NamedTuple):
    grant: tuple[int, ...]  # by tenant, as the next three
    pending: tuple[int, ...]
    revenue: tuple[int, ...]
    epochs: tuple[Epoch, ...]
    gateways: tuple[Gateway, ...]
    requests: tuple[Request, ...]


class Scenario(NamedTuple):
    """What is explored to the end: who asks whom for what, and what can go wrong. Gateways and tenants by number."""

    name: str
    requests: tuple[tuple[int, int], ...]  # tenant and gateway of each
    credit: tuple[int, ...]  # tokens that each tenant has paid for
    chunks: int = 2
    one_home: bool = True  # both gateways on one machine, or each on its own
    leases: bool = False  # escrow leases of the tenants' credit
    slice: int = 0
    strict_below: int = 0
    crash: tuple[int, ...] = ()  # which gateways can be killed
    burn: tuple[int, ...] = ()  # … lose their machine with the journal
    pause: tuple[int, ...] = ()  # … be stopped and go on
    cut: tuple[int, ...] = ()  # … be cut off from the database
    hang_up: tuple[int, ...] = ()  # which requests' clients can leave
    lost_answers: bool = True  # a COMMIT can happen and its answer be lost
    lives: int = 2  # epochs of a gateway; only in its last one nothing goes wrong


def put(items: tuple[T, ...], at: int, item: T) -> tuple[T, ...]:
    """The tuple with one item replaced."""
    return (*items[:at], item, *items[at + 1 :])
