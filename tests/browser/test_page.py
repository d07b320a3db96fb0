"""The pages in a real browser: Debian's Chromium without a window, against a page server in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]

CHROMIUM: Final = Path("/usr/bin/chromium")

LIMIT_S: Final = 60
"""A cold start of the browser on a busy machine takes seconds."""

FLAGS: Final = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--enable-logging=stderr",
)  # fmt: skip


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The base URL of a page server that ends with the tests."""
    if not CHROMIUM.exists():
        remedy = f"{CHROMIUM} is not there; install it with `apt-get install chromium`"
        if "CI" in os.environ:
            pytest.fail(remedy)
        pytest.skip(remedy)
    command = [sys.executable, str(ROOT / "tests" / "console" / "server.py")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip().rstrip("/")
        finally:
            server.terminate()


def visit(url: str, profile: Path) -> tuple[str, str]:
    """The document after its scripts ran, and what the browser's console said."""
    done = subprocess.run(
        [str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", "--dump-dom", url],
        capture_output=True, text=True, timeout=LIMIT_S, check=True,
    )  # fmt: skip
    return unescape(done.stdout), "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


@pytest.mark.parametrize(
    ("path", "texts"),
    [
        ("/", ["All 3 models are ready", "qwen3-max", "over 131,072", "0.105", "/v1/chat/completions"]),
        ("/docs", ["API reference", "/v1/receipts/{id}", "insufficient_credit", "temperature"]),
        ("/nothing", ["There is no such page", "/nothing"]),
    ],
)
def test_a_page_is_shown_without_complaint(address: str, tmp_path: Path, path: str, texts: list[str]) -> None:
    """What the page has to say is in the document, and the console is empty: no policy is violated, nothing is missing."""
    document, console = visit(address + path, tmp_path)
    missing = [text for text in texts if text not in document]
    assert not missing
    complaints = [line for line in console.splitlines() if "404" not in line or path != "/nothing"]
    assert not complaints


def test_examples_get_a_copy_button(address: str, tmp_path: Path) -> None:
    """The script runs under the page's own policy: each example has its button."""
    document, _ = visit(address, tmp_path)
    assert document.count('aria-label="Copy: ') == document.count('<figure class="code"') == 4
