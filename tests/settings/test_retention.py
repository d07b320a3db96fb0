"""`[retention]` of millrace.toml."""

from pathlib import Path

import pytest

from millrace.base.errors import Refusal
from millrace.settings.parse import parse_settings
from millrace.settings.retention import Retention


def read(text: str) -> Retention:
    return parse_settings(text, "millrace.toml").retention


def test_by_default_usage_is_kept_for_ever() -> None:
    """Nothing is deleted that nobody asked for; the folder lies in the home."""
    assert read("") == Retention(usage_days=None, folder="exports")
    assert read("").place(Path("home")) == Path("home/exports")


def test_the_settings_are_read() -> None:
    """Days are a number, and an absolute folder is where it says."""
    assert read('[retention]\nusage_days = 400\nfolder = "/archive"') == Retention(usage_days=400, folder="/archive")
    assert read('[retention]\nfolder = "/archive"').place(Path("home")) == Path("/archive")


@pytest.mark.parametrize("line", ["usage_days = 0", 'usage_days = "400"', "usage_days = 36501", "days = 1", 'folder = ""'])
def test_what_cannot_be_meant_is_refused(line: str) -> None:
    """A value out of range, of another type or by another name stops the start, by name."""
    with pytest.raises(Refusal, match=f"retention.{line.split()[0]}"):
        read(f"[retention]\n{line}")
