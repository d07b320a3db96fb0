"""What an audit looked at and what it found, by the name of each check."""

from millrace.money.audit.check import Check


class Faults:
    """Counts per check; of the disagreements the first is kept, so that a damaged database needs no more room than a
    sound one.
    """

    def __init__(self) -> None:
        self._looked: dict[str, int] = {}
        self._first: dict[str, str] = {}

    def looked(self, name: str, count: int) -> None:
        """Each check says so once at least, with 0 where there was nothing to look at."""
        self._looked[name] = self._looked.get(name, 0) + count

    def found(self, name: str, detail: str) -> None:
        self._first.setdefault(name, detail)

    def has(self, name: str) -> bool:
        return name in self._first

    def checks(self) -> list[Check]:
        """One for each name, in the order in which they were first looked at."""
        names = [*self._looked, *(name for name in self._first if name not in self._looked)]
        return [Check(name, name not in self._first, self._looked.get(name, 0), self._first.get(name, "")) for name in names]
