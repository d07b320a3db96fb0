"""Tests that need an extra say so here: without it they are skipped with the reason, and in CI they fail."""

import importlib.util
import os

import pytest


def need(*packages: str) -> None:
    """Call it at the top of the file, before the packages are imported."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if not missing:
        return
    said = f"not installed: {', '.join(missing)}; `make install-tune` brings them"
    if os.environ.get("CI"):
        pytest.fail(said, pytrace=False)
    pytest.skip(said, allow_module_level=True)
