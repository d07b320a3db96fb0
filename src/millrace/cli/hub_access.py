"""The hub that a command speaks to, with the key of the environment."""

import os

from millrace.cli.model_push import own_url
from millrace.cli.shell import Shell
from millrace.client.access import Access, key_from
from millrace.client.hub import HubClient


def hub_client(shell: Shell, url: str | None) -> HubClient:
    """Of the cloud at `url`, else of this home. Raises INVALID_API_KEY where there is no key. Inside an event loop."""
    return HubClient(Access(url or own_url(shell), key_from(os.environ)), clock=shell.clock)
