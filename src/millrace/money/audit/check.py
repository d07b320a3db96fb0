"""What the auditor says of one invariant."""

from msgspec import Struct


class Check(Struct, frozen=True):
    """`checked` is how many things were looked at; `detail` names the first that disagrees, and is empty when none
    does.
    """

    name: str
    ok: bool
    checked: int
    detail: str = ""


def check(name: str, checked: int, disagreement: str | None) -> Check:
    return Check(name, disagreement is None, checked, disagreement or "")
