"""What the accounts are called, in one place. An id says what it is and, by its parts, whose and in which currency."""


def cash(currency: str) -> str:
    """Money that customers paid in."""
    return f"cash/{currency}"


def promotion(currency: str) -> str:
    """Value that the operator gave away: the cost of promotion, never revenue."""
    return f"promotion/{currency}"


def sponsor(currency: str) -> str:
    """Money that a sponsor paid in for others."""
    return f"sponsor/{currency}"


def grant(grant_id: str) -> str:
    """What is left of a grant: a liability to its tenant."""
    return f"grant/{grant_id}"


def receivable(tenant_id: str, currency: str) -> str:
    """What a postpaid tenant owes; its overdraft is the credit limit."""
    return f"receivable/{tenant_id}/{currency}"


def revenue(currency: str, model: str, slot: int = 1) -> str:
    """Each of several servers at once credits an account of its own, so that none waits for another's row."""
    return f"revenue/{currency}/{model}" if slot == 1 else f"revenue/{currency}/{model}#{slot}"


def lease(epoch: int, origin: str) -> str:
    """The slice of an account's value that one server holds for its own holds."""
    return f"lease/{epoch}/{origin}"


def breakage(currency: str) -> str:
    """What was paid for and expired unused."""
    return f"breakage/{currency}"


def rounding(currency: str) -> str:
    """Differences between what requests came to one by one and what an invoice line comes to."""
    return f"rounding/{currency}"
