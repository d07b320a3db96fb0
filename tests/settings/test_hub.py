"""`[hub]` of millrace.toml."""

from pathlib import Path

import pytest

from millrace.base.errors import Refusal
from millrace.settings.hub import Hub
from millrace.settings.parse import parse_settings


def read(text: str) -> Hub:
    return parse_settings(text, "millrace.toml").hub


def test_the_settings_are_read() -> None:
    """Each has its default; the folder lies in the home unless it says where."""
    assert read("") == Hub()
    assert read("").place(Path("home")) == Path("home/hub")
    text = '[hub]\nenabled = false\nfolder = "/shared/hub"\nquota_bytes = 5\ntransfers_max = 1'
    assert read(text) == Hub(enabled=False, folder="/shared/hub", quota_bytes=5, transfers_max=1)
    assert read(text).place(Path("home")) == Path("/shared/hub")


@pytest.mark.parametrize("line", ["enabled = 1", "quota_bytes = -1", "transfers_max = 0", "quota = 1", 'folder = ""'])
def test_what_cannot_be_meant_is_refused(line: str) -> None:
    """A value out of range, of another type or by another name stops the start, by name."""
    with pytest.raises(Refusal, match=f"hub.{line.split()[0]}"):
        read(f"[hub]\n{line}")
