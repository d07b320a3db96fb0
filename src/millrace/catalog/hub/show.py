"""Who is told how far a pull is."""

from typing import Protocol


class Show(Protocol):
    """Who is told how far it is."""

    def begin(self, path: str, size: int, done: int) -> None:
        """A file is being fetched, of which `done` bytes are here; told again when it begins anew."""
        ...

    def add(self, path: str, count: int) -> None:
        """That many bytes more."""
        ...

    def say(self, sentence: str) -> None:
        """Something that one should know while waiting."""
        ...


class Silent:
    """A Show for nobody."""

    def begin(self, path: str, size: int, done: int) -> None:
        """Nobody is told."""

    def add(self, path: str, count: int) -> None:
        """Nobody is told."""

    def say(self, sentence: str) -> None:
        """Nobody is told."""
