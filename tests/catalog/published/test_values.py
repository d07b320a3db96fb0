"""What may be published, and what it is called."""

import pytest

from millrace.base.errors import Refusal
from millrace.catalog.published.values import check_files, check_message, check_name, commit_id, serving_files
from millrace.catalog.weights.values import StoredFile

HASH = "ab" * 32


def named(*paths: str) -> list[StoredFile]:
    return [StoredFile(path=path, sha256=HASH, size=3) for path in paths]


@pytest.mark.parametrize(
    "path", ["../x", "/etc/x", "a/../b", "a//b", "a/./b", "", "a\\b", "a\nb", "a\x1b[2J", "x" * 513, "é" * 200, "a/"]
)
def test_paths_that_lead_elsewhere_are_refused(path: str) -> None:
    """No way out of the folder, no control characters, no names that a file system does not take."""
    with pytest.raises(Refusal, match="files: "):
        check_files(named(path))


@pytest.mark.parametrize("path", ["model.bin", "a/b.PT", "x.pkl", "y.ckpt", "z.pth"])
def test_pickles_are_refused_with_the_reason(path: str) -> None:
    """The sentence says why, and what to do instead."""
    with pytest.raises(Refusal, match=r"run code when they are loaded; save the weights as safetensors or GGUF"):
        check_files(named(path))


def test_a_path_is_one_thing_once() -> None:
    """Twice the same path, a file that is a folder too, no file at all, and too many are refused."""
    for paths in (["a", "a"], ["a", "a/b"], [], [str(number) for number in range(5001)]):
        with pytest.raises(Refusal, match="files: "):
            check_files(named(*paths))


def test_one_content_has_one_size() -> None:
    """A list that contradicts itself is refused."""
    with pytest.raises(Refusal, match="another size"):
        check_files([StoredFile(path="a", sha256=HASH, size=1), StoredFile(path="b", sha256=HASH, size=2)])


@pytest.mark.parametrize("name", ["", ".x", "x.", "a/b", "a b", "..", "a--b", "é", "x" * 97, "a\n"])
def test_names_are_fit_for_an_address(name: str) -> None:
    """What the clients of the form refuse is refused here already."""
    with pytest.raises(Refusal, match="cannot be a repository's name"):
        check_name(name)


def test_messages_are_plain_text() -> None:
    """Line breaks may be in one, what moves a terminal's cursor may not."""
    assert check_message("new\nweights") == "new\nweights"
    for message in ("\x1b[2J", "x" * 1001):
        with pytest.raises(Refusal, match="message: "):
            check_message(message)


def test_a_commit_is_the_hash_of_what_it_stands_for() -> None:
    """The order in which files come does not matter; each name, content, and the commit before do."""
    files = check_files(named("b", "a"))
    assert commit_id(None, files) == commit_id(None, check_files(named("a", "b")))
    fewer, other = check_files(named("a")), check_files(named("a", "c"))
    others = {commit_id(None, fewer), commit_id("0" * 40, files), commit_id(None, other)}
    assert len({*others, commit_id(None, files)}) == 4
    assert len(commit_id(None, files)) == 40


def test_one_download_of_a_model_is_one_pull() -> None:
    """Each quantisation counts, of a split one the first part, of safetensors the first file, of neither the first file."""
    assert serving_files(named("README.md", "q4.gguf", "q8-00001-of-00002.gguf", "q8-00002-of-00002.gguf")) == {
        "q4.gguf", "q8-00001-of-00002.gguf",
    }  # fmt: skip
    assert serving_files(named("config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")) == {
        "model-00001-of-00002.safetensors"
    }
    assert serving_files(named("a.txt", "b.txt")) == {"a.txt"}
