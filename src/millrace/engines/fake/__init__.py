"""A deterministic engine with the real interface: tests, demonstrations and benches run on it. Needs no weights."""

from millrace.engines.fake.engine import FakeEngine
from millrace.engines.fake.script import FakeScript, FakeSettings

__all__ = ["FakeEngine", "FakeScript", "FakeSettings"]
