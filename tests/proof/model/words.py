"""A counterexample in words: each step as a sentence, and what it changed."""

from collections.abc import Iterator
from typing import Final

from tests.proof.model.books import Books
from tests.proof.model.explorer import Broken, Label
from tests.proof.model.state import CLOSED, State

OF_REQUESTS: Final = {
    "close": "everything about {r} is done and agrees",
    "ask": "{r} comes in",
    "hang up": "the client of {r} hangs up",
    "check": "{r}: the gateway looks at its own deadline, which has not passed",
    "record": "{r}: the next chunk is recorded in the journal",
    "send": "{r}: the chunk's bytes go to the client",
    "cannot send": "{r}: the chunk cannot be sent, its client is gone",
    "confirm": "{r}: the journal is told that the chunk has left",
    "end": "{r}: generation ends, the settlement is next",
    "give up": "{r}: the fenced gateway ends it",
    "leave hold": "{r}: nobody waits any more for its hold, which is on its way",
    "hold": "{r}: the hold is committed",
    "hold again": "{r}: the hold is asked for again and answered with the one that it has",
    "hold lands": "{r}: the hold is committed although nobody waits for it",
    "hold dropped": "{r}: the hold never arrives",
    "sweep": "{r}: the sweeper gives its hold back",
    "read balance": "{r}: the balance is read, and is enough",
    "refuse": "{r}: refused with 402, insufficient credit",
    "refuse settled": "{r}: refused, it is settled already",
    "recall": "{r}: credit lies in other gateways' leases, which are recalled; it waits",
    "settle": "{r}: its own gateway settles it at what was confirmed",
}

OF_GATEWAYS: Final = {
    "kill": "{g} is killed (kill -9)",
    "burn": "{g} loses its machine, with the journal",
    "burn in a transaction": "{g} loses its machine, with the journal, between a transaction's fence and its COMMIT",
    "pause": "{g} is stopped (SIGSTOP)",
    "pause in a transaction": "{g} is stopped (SIGSTOP) between a transaction's fence and its COMMIT",
    "resume": "{g} goes on (SIGCONT)",
    "cut": "{g} is cut off from the database",
    "cut in a transaction": "{g} is cut off from the database between a transaction's fence and its COMMIT",
    "heal": "{g} reaches the database again",
    "idle timeout": "the database ends the transaction that {g} has left open",
    "local deadline": "time passes: {g}'s own deadline is over",
    "lease out": "time passes: {g}'s lease is out by the database's clock",
    "restart": "{g} starts again, with a new epoch",
    "begin again": "{g} has lost its epoch, has told all it knows, and begins a new one",
    "lock": "{g} takes the lock of its epoch",
    "fenced": "{g} is told by the database that it was taken over",
    "renew": "{g} renews its lease",
    "flush": "{g} flushes its watermarks to the database",
    "give back": "{g} gives back what is free on its lease of tenant {n}'s credit",
    "take over": "{g} takes over epoch {e}",
    "settle dead": "{g} settles the hold of request {n}, whose epoch it took over, at its watermark",
    "give dead back": "{g} gives back the lease on tenant {n}'s credit of an epoch that it took over",
    "report": "{g} writes the late waiver of request {n}",
}

ANSWER_LOST: Final = ", answer lost"


def sentence(books: Books, label: Label) -> str:
    """The step in words; requests and tenants count from 1, gateways are A and B, their epochs A.1, A.2 …"""
    verb, who, *more = label
    plain = str(verb).removesuffix(ANSWER_LOST)
    who = int(who)
    if plain in OF_REQUESTS:
        tenant, gateway = books.scenario.requests[who]
        told = OF_REQUESTS[plain].format(r=f"request {who + 1}")
        if plain == "ask":
            told += f" at gateway {_letter(gateway)}, for tenant {tenant + 1}"
    else:
        other = int(more[0]) if more else 0
        told = OF_GATEWAYS[plain].format(g=f"gateway {_letter(who)}", n=other + 1, e=epoch_name(books, other))
    return told + ("; the COMMIT happens, its answer is lost" if plain != verb else "")


def epoch_name(books: Books, number: int) -> str:
    return f"{_letter(books.owner(number))}.{number % books.scenario.lives + 1}"


def tell(books: Books, broken: Broken[State]) -> str:
    """The whole counterexample, a line a step, with what the step changed."""
    paid = ", ".join(map(str, books.scenario.credit))
    lines = [f"broken: {broken.promise}", f"  the tenants have paid {paid}; a chunk costs 1 and has 1 token"]
    before = books.start()
    for number, (label, after) in enumerate(broken.way, 1):
        lines.append(f"  {number:2}. {sentence(books, label)}")
        changed = ", ".join(_changes(books, before, after))
        if changed:
            lines.append(f"      {changed}")
        before = after
    return "\n".join(lines)


def _changes(books: Books, before: State, after: State) -> Iterator[str]:
    for name, old, new in (
        ("grant", before.grant, after.grant), ("pending", before.pending, after.pending),
        ("revenue", before.revenue, after.revenue),
    ):  # fmt: skip
        for tenant, (one, other) in enumerate(zip(old, new, strict=True)):
            if one != other:
                yield f"tenant {tenant + 1} {name} {one} → {other}"
    for number, (was, now) in enumerate(zip(before.epochs, after.epochs, strict=True)):
        for tenant, (one, other) in enumerate(zip(was.slices, now.slices, strict=True)):
            if one != other:
                yield f"lease {epoch_name(books, number)} of tenant {tenant + 1} {one} → {other}"
    for r, (one_request, other_request) in enumerate(zip(before.requests, after.requests, strict=True)):
        for field in ("got", "recorded", "confirmed", "hold", "billed", "waived", "late", "resolutions"):
            old_value, new_value = getattr(one_request, field), getattr(other_request, field)
            if old_value != new_value and other_request.step is not CLOSED:
                yield f"request {r + 1} {field} {old_value} → {new_value}"


def _letter(gateway: int) -> str:
    return "AB"[gateway]
