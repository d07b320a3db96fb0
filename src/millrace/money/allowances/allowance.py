"""What is left of a key's month and minute, and what is said when it is not enough: values and rules, no I/O."""

from typing import Final

from msgspec import Struct

from millrace.base.bucket import Bucket
from millrace.base.clock import NS_PER_S
from millrace.base.errors import Reason, Refusal
from millrace.base.money import render_amount
from millrace.base.times import month_of


class Budget(Struct):
    """What a key has used of its month, nano-units."""

    held: int = 0
    spent: int = 0


class Rate(Struct, frozen=True):
    """So many units of a key's minute: `name` is 'rpm' or 'tpm', `limit` what the key has of it."""

    key_id: str
    name: str
    limit: int
    units: int


_WORDS: Final = {"rpm": "requests per minute", "tpm": "tokens per minute"}


def refuse_rate(bucket: Bucket, wanted: Rate) -> Refusal | None:
    """Why the bucket, refilled, does not give that many units; None: it does."""
    words = _WORDS[wanted.name]
    if wanted.units > bucket.limit:
        return Refusal(
            Reason.RATE_LIMIT_EXCEEDED,
            f"this request can use {wanted.units} tokens and the key has {bucket.limit} {words}: it never fits; "
            "ask for fewer tokens (max_tokens) or for a higher limit",
            limit=wanted.name,
            retry_after_s=60,
        )
    wait_ms = bucket.wait_ms(wanted.units)
    if wait_ms == 0:
        return None
    seconds = -(-wait_ms // 1_000)
    return Refusal(
        Reason.RATE_LIMIT_EXCEEDED,
        f"the key's limit of {bucket.limit} {words} is used up; come back in {seconds} s",
        limit=wanted.name,
        retry_after_s=seconds,
    )


def refuse_budget(budget: Budget, most: int, amount: int, currency: str, month: str, now: int) -> Refusal | None:
    """Why a key that may spend `most` in the month cannot have `amount` more; None: it can."""
    left = most - budget.held - budget.spent
    if amount <= left:
        return None
    return Refusal(
        Reason.BUDGET_EXCEEDED,
        f"this request can cost up to {render_amount(amount)} {currency}, and the key's budget of {month} has "
        f"{render_amount(max(left, 0))} left; raise the budget, ask for fewer tokens, or wait for the next month",
        retry_after_s=max(1, -(-(month_of(now).end - now) // NS_PER_S)),
        limit="budget",
    )
