"""Other people's programs, each in an environment of its own under the user's cache folder."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

LITELLM: Final = "1.106.2"
"""The newest of the 1.106 line whose requirements this was tried with; 1.107.0 was withdrawn and is not to be installed."""

PY_SPY: Final = "0.4.3"

PORTKEY: Final = "1.15.2"


def cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "millrace-bench"


def litellm(version: str = LITELLM) -> Path:
    """The folder of its programs; installed on the first call, which takes minutes."""
    return _environment(f"litellm-{version}", f"litellm[proxy]=={version}")


def portkey(version: str = PORTKEY) -> list[str]:
    """The command that runs its gateway; installed by npm on the first call. Node must be there."""
    folder = cache() / f"portkey-{version}"
    marker = folder / "complete"
    if not marker.exists():
        package = f"@portkey-ai/gateway@{version}"
        print(f"installing {package} into the cache folder, once", file=sys.stderr, flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "install", "--silent", "--no-fund", "--no-audit", "--prefix", folder, package], check=True)
        marker.touch()
    return ["node", str(folder / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js")]


def py_spy() -> Path:
    """The sampling profiler's program."""
    return _environment(f"py-spy-{PY_SPY}", f"py-spy=={PY_SPY}") / "py-spy"


def _environment(name: str, requirement: str) -> Path:
    """A virtual environment with one requirement; its marker is written last, so a broken install is made anew."""
    folder = cache() / name
    programs, marker = folder / "bin", folder / "complete"
    if not marker.exists():
        print(f"installing {requirement} into the cache folder, once", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run(
            [programs / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", requirement], check=True
        )
        marker.touch()
    return programs
