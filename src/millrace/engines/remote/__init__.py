"""An engine that is a server somebody else runs: anything that speaks the OpenAI API."""

from millrace.engines.remote.engine import RemoteEngine
from millrace.engines.remote.settings import RemoteSettings

__all__ = ["RemoteEngine", "RemoteSettings"]
