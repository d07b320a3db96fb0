"""Push to a real server and pull from it again, by the commands and by a client of Hugging Face's form."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.races.cloud import MILLRACE, Cloud, cloud

from millrace.catalog.bundled import PATH


def run(home: Path, key: str, *arguments: str) -> dict[str, object]:
    """A command's JSON, with the key in its environment."""
    done = subprocess.run(
        [*MILLRACE, *arguments, "--json", "--home", str(home)], capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "MILLRACE_API_KEY": key},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    form: dict[str, object] = json.loads(done.stdout)
    return form


def folder(place: Path) -> Path:
    """A model as one publishes it: weights and a card."""
    place.mkdir()
    (place / "tiny.gguf").write_bytes(PATH.read_bytes())
    (place / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Tiny\n")
    return place


def publish(server: Cloud, place: Path, *more: str) -> dict[str, object]:
    return run(server.home, server.key, "model", "push", str(folder(place)), "demo/tiny", "--url", server.url, *more)


def test_push_here_pull_there(tmp_path: Path) -> None:
    """The same bytes on the other home, the pull counted on both sides, and nothing for whoever has no key."""
    with cloud(tmp_path / "home") as server:
        server.start()
        pushed = publish(server, tmp_path / "model")
        assert (pushed["visibility"], pushed["files"]) == ("private", 2)
        ref = f"millrace://{server.url.removeprefix('http://')}/demo/tiny"
        pulled = run(tmp_path / "other", server.key, "model", "pull", ref)["pulled"]
        assert isinstance(pulled, dict)
        assert pulled["revision"] == pushed["commit"]
        assert (tmp_path / "other" / "models" / "trees" / "tiny" / "tiny.gguf").read_bytes() == PATH.read_bytes()
        (listed,) = server.command("hub", "list")["models"]
        assert listed["downloads"] == 1
        done = subprocess.run(
            [*MILLRACE, "model", "pull", ref, "--home", str(tmp_path / "third")], capture_output=True, text=True, timeout=120,
            check=False, env={**os.environ, "MILLRACE_API_KEY": ""},
        )  # fmt: skip
        assert done.returncode == 1
        assert "or does not show it" in done.stderr


def test_hugging_face_s_own_client_works(tmp_path: Path) -> None:
    """hf_hub_download and snapshot_download with HF_ENDPOINT set to a cloud fetch what was pushed there."""
    pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
    script = (
        "import huggingface_hub as h, sys, pathlib\n"
        "one = h.hf_hub_download('demo/tiny', 'tiny.gguf')\n"
        "folder = h.snapshot_download('demo/tiny')\n"
        "print(pathlib.Path(one).stat().st_size, sorted(path.name for path in pathlib.Path(folder).iterdir()))\n"
    )
    with cloud(tmp_path / "home") as server:
        server.start()
        publish(server, tmp_path / "model", "--public")
        environment = {**os.environ, "HF_ENDPOINT": f"{server.url}/hub", "HF_HOME": str(tmp_path / "cache"), "HF_TOKEN": ""}
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False, env=environment
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{PATH.stat().st_size} ['README.md', 'tiny.gguf']"
