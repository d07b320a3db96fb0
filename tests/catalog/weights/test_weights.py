"""`catalog/weights`: models of content-addressed files."""

import hashlib
from multiprocessing import get_context
from pathlib import Path

import pytest
from tests.catalog.weights.shelf import blobs, put, there

from millrace.base.errors import Reason, Refusal
from millrace.catalog.weights.values import Manifest, check_path
from millrace.catalog.weights.weights import Weights


@pytest.fixture
def weights(tmp_path: Path) -> Weights:
    return Weights(tmp_path / "models")


def test_an_empty_store_has_nothing_and_makes_nothing(weights: Weights) -> None:
    """Looking is not making; a name that is not there is refused with the way to get it."""
    assert weights.list() == ()
    with pytest.raises(Refusal, match="millrace model pull REF") as caught:
        weights.find("qwen")
    assert caught.value.reason is Reason.NOT_FOUND
    assert not weights.folder.exists()


def test_a_model_lies_under_its_hashes_and_under_its_names(weights: Weights) -> None:
    """Blobs are named by content and read-only; the tree has the files as their source calls them."""
    manifest = put(weights, "qwen", {"a.gguf": b"weights", "sub/LICENSE": b"Apache"})
    assert weights.find("qwen") == manifest
    assert weights.path(manifest) == weights.folder / "trees/qwen/a.gguf"
    assert weights.path(manifest).read_bytes() == b"weights"
    assert (weights.folder / "trees/qwen/sub/LICENSE").read_bytes() == b"Apache"
    blob = weights.folder / "blobs" / hashlib.sha256(b"weights").hexdigest()
    assert blob.stat().st_mode & 0o777 == 0o444
    assert weights.path(manifest).samefile(blob)
    assert list((weights.folder / "partial").iterdir()) == []


def test_of_a_folder_model_the_folder_is_served(weights: Weights) -> None:
    """A model in safetensors form has no single file to load."""
    manifest = put(weights, "qwen", {"config.json": b"{}", "model.safetensors": b"1"}, format="safetensors", serves=None)
    assert weights.path(manifest) == weights.folder / "trees/qwen"


def test_the_same_content_is_kept_once(weights: Weights) -> None:
    """Two models that share a file share its blob, and it goes with the second of them."""
    put(weights, "one", {"a.gguf": b"same"})
    put(weights, "two", {"b.gguf": b"same"})
    assert len(there(weights.folder / "blobs")) == 1
    weights.remove("one")
    assert weights.path(weights.find("two")).read_bytes() == b"same"
    weights.remove("two")
    assert there(weights.folder / "blobs") == []
    assert there(weights.folder / "trees") == []


def test_a_name_belongs_to_its_source(weights: Weights) -> None:
    """Pulling the same again replaces; something else under the name is refused with both remedies."""
    put(weights, "qwen", {"a.gguf": b"old"})
    put(weights, "qwen", {"a.gguf": b"new"}, revision="d00d")
    assert weights.path(weights.find("qwen")).read_bytes() == b"new"
    assert len(there(weights.folder / "blobs")) == 1
    with pytest.raises(Refusal, match=r"--name.*millrace model remove qwen") as caught:
        put(weights, "qwen", {"a.gguf": b"other"}, source="hf:other/qwen")
    assert caught.value.reason is Reason.CONFLICT


def test_what_is_served_stays(weights: Weights) -> None:
    """Neither removed nor replaced while somebody serves it; afterwards both."""
    put(weights, "qwen", {"a.gguf": b"old"})
    with weights.use("qwen"), weights.use("qwen"):
        with pytest.raises(Refusal, match="serves 'qwen'"):
            weights.remove("qwen")
        with pytest.raises(Refusal, match="serves 'qwen'"):
            put(weights, "qwen", {"a.gguf": b"new"})
        assert weights.path(weights.find("qwen")).read_bytes() == b"old"
    weights.remove("qwen")
    assert weights.list() == ()


def test_what_is_not_there_cannot_be_served(weights: Weights) -> None:
    """Nobody holds a model that was removed."""
    with pytest.raises(Refusal, match="no pulled model"):
        weights.use("qwen")


def test_links_come_back(weights: Weights) -> None:
    """A tree that somebody deleted is made again from the blobs."""
    manifest = put(weights, "qwen", {"a.gguf": b"weights"})
    (weights.folder / "trees/qwen/a.gguf").unlink()
    assert weights.path(manifest).read_bytes() == b"weights"


def test_verify_finds_a_changed_and_a_missing_file(weights: Weights) -> None:
    """Each is named; the changed one is removed, so that the next pull fetches it, and serving it is refused."""
    manifest = put(weights, "qwen", {"a.gguf": b"weights", "b": b"second", "c": b"third"})
    done: list[int] = []
    assert weights.verify("qwen", done.append) == ()
    assert sum(done) == manifest.size
    changed, missing = (weights.file(manifest, path) for path in ("a.gguf", "b"))
    changed.chmod(0o644)
    changed.write_bytes(b"rotten!")
    missing.unlink()
    assert [(damage.path, damage.what) for damage in weights.verify("qwen")] == [
        ("a.gguf", "its content has changed"), ("b", "it is missing"),
    ]  # fmt: skip
    assert not changed.exists()
    with pytest.raises(Refusal, match=r"lacks a.gguf, b; .*millrace model pull hf:acme/qwen"):
        weights.path(manifest)


def test_a_model_is_made_only_of_what_is_here(weights: Weights) -> None:
    """A blob that another command removed meanwhile is noticed before the manifest says otherwise."""
    (file,) = blobs(weights, {"a.gguf": b"weights"})
    weights.blobs.discard(file.sha256)
    manifest = Manifest(
        name="qwen", source="hf:acme/qwen", revision="", files=(file,), format="gguf", architecture="qwen3", parameters=1,
        context_tokens=2, pulled_at=3,
    )  # fmt: skip
    with pytest.raises(Refusal, match=r"lacks a\.gguf"):
        weights.add(manifest)
    assert weights.list() == ()


@pytest.mark.parametrize("path", ["/etc/passwd", "../a", "a/../../b", "", ".", "a//b", "a/./b", "a\\b", "a\n", "x" * 600])
def test_no_path_leads_out(path: str) -> None:
    """A hub's file list is somebody's claim: what is no plain path inside the folder is refused."""
    with pytest.raises(ValueError, match="not a path inside"):
        check_path(path)


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "../x", "a b", "x" * 101, "a:b"])
def test_a_name_is_a_file_s_name(weights: Weights, name: str) -> None:
    """No name reaches out of the store."""
    with pytest.raises(Refusal, match="cannot be the name of a pulled model"):
        weights.find(name)


def test_a_broken_manifest_is_named(weights: Weights) -> None:
    """Somebody's edit is one sentence with the file in it, not a traceback."""
    put(weights, "qwen", {"a.gguf": b"weights"})
    (weights.folder / "manifests/qwen.json").write_text('{"name": "qwen"}')
    with pytest.raises(Refusal, match=r"manifests/qwen\.json is not a manifest") as caught:
        weights.list()
    assert caught.value.reason is Reason.BAD_SETTING


def test_a_copy_that_was_cut_short_is_swept(weights: Weights) -> None:
    """What a killed process left in partial/ goes with the next copy."""
    weights.blobs.make()
    (weights.folder / "partial/copy-left").write_bytes(b"half")
    put(weights, "qwen", {"a.gguf": b"weights"})
    assert there(weights.folder / "partial") == []


def test_a_source_that_cannot_be_read_is_named(weights: Weights, tmp_path: Path) -> None:
    """And nothing is left behind."""
    with pytest.raises(Refusal, match=r"missing\.gguf cannot be read"):
        weights.blobs.store(tmp_path / "missing.gguf")
    assert there(weights.folder) == []


def _churn(folder: Path, turns: int) -> None:
    weights = Weights(folder / "models")
    for turn in range(turns):
        put(weights, f"shared{turn % 2}", {"a.gguf": b"same", "b": str(turn % 2).encode()})
        weights.list()


def test_several_processes_at_once(tmp_path: Path) -> None:
    """Processes that add the same models at the same time leave whole ones."""
    context = get_context("spawn")
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "models").symlink_to(tmp_path / "models")
    (tmp_path / "models").mkdir()
    workers = [context.Process(target=_churn, args=(tmp_path / place, 6)) for place in ("one", "two")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    weights = Weights(tmp_path / "models")
    assert [manifest.name for manifest in weights.list()] == ["shared0", "shared1"]
    assert all(weights.verify(manifest.name) == () for manifest in weights.list())
