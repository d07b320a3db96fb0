"""Which files of a repository are taken, and why."""

from collections.abc import Sequence

import pytest

from millrace.base.errors import Reason, Refusal
from millrace.catalog.hub.choice import choose, part_paths
from millrace.catalog.hub.values import Choice, Listing, RemoteFile


def chosen(paths: Sequence[str], file: str | None = None) -> Choice:
    listing = Listing(revision="c", files=tuple(RemoteFile(path=path, url=path, size=1) for path in paths))
    return choose(listing, file, "hf:acme/model")


def refusal(paths: Sequence[str], file: str | None = None) -> str:
    with pytest.raises(Refusal) as caught:
        chosen(paths, file)
    assert caught.value.reason is Reason.NOT_FOUND
    return caught.value.sentence


@pytest.mark.parametrize(
    ("kinds", "taken"),
    [
        (["F16", "Q2_K", "Q4_K_M", "Q8_0"], "Q4_K_M"),
        (["F16", "Q2_K", "Q8_0", "q6_k"], "Q8_0"),
        (["F32", "BF16"], "BF16"),
        (["Q2_K"], "Q2_K"),
    ],
)
def test_the_preferred_quantisation_is_taken(kinds: list[str], taken: str) -> None:
    """Q4_K_M, else Q8_0, and so on; the rest is listed."""
    choice = chosen([f"m-{kind}.gguf" for kind in kinds])
    assert choice.serves == f"m-{taken}.gguf"
    assert set(choice.others) == {f"m-{kind}.gguf" for kind in kinds} - {choice.serves}


def test_the_file_that_was_asked_for() -> None:
    """It and no other, whatever is preferred; with what says how it may be used."""
    choice = chosen(["a-Q8_0.gguf", "a-Q4_K_M.gguf", "LICENSE", "README.md", "run.py"], "a-Q8_0.gguf")
    assert [file.path for file in choice.files] == ["a-Q8_0.gguf", "LICENSE", "README.md"]
    assert choice.why == "a-Q8_0.gguf was asked for"


def test_gguf_goes_before_safetensors() -> None:
    """It can be served as it is."""
    assert chosen(["config.json", "model.safetensors", "m.gguf"]).format == "gguf"


def test_a_picture_s_projector_is_no_model() -> None:
    """mmproj files belong to one."""
    assert chosen(["m-Q8_0.gguf", "mmproj-F16.gguf"]).others == ()


def test_all_parts_of_a_split_model() -> None:
    """Whichever part was named; a lacking one is refused by name."""
    parts = [f"q/m-Q8_0-0000{number}-of-00003.gguf" for number in (3, 1, 2)]
    for file in (None, *parts):
        choice = chosen(parts, file)
        assert [one.path for one in choice.files] == sorted(parts)
        assert choice.serves == min(parts)
    assert "m-Q8_0-00002-of-00003.gguf is not there" in refusal(parts[:2])
    assert part_paths("m.gguf") == ("m.gguf",)


def test_safetensors_with_what_belongs_to_them() -> None:
    """Weights, configuration and tokenizer of the top folder; no pickle, no program, no other copy."""
    choice = chosen(
        ["config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "consolidated.safetensors",
         "model.safetensors.index.json", "tokenizer.json", "original/x.safetensors", "pytorch_model.bin", "modeling.py"]
    )  # fmt: skip
    assert {file.path for file in choice.files} == {
        "config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
        "model.safetensors.index.json", "tokenizer.json",
    }  # fmt: skip
    assert choice.serves is None


@pytest.mark.parametrize(
    ("paths", "file", "says"),
    [
        (["pytorch_model.bin", "config.json"], None, "only as pickles"),
        (["README.md"], None, "neither GGUF files nor safetensors; there are README.md"),
        ([], None, "there are no files"),
        (["model.safetensors"], None, "no config.json"),
        (["a.gguf"], "b.gguf", "there is no 'b.gguf'; there are a.gguf"),
        (["model.safetensors"], "b.gguf", "leave the file out"),
        (["a-Q8_0.gguf", "b-Q8_0.gguf"], None, "several models; name one with hf:acme/model:FILE: a-Q8_0.gguf, b-Q8_0.gguf"),
    ],
)
def test_refusals(paths: list[str], file: str | None, says: str) -> None:
    """With what there is, and what could be done."""
    assert says in refusal(paths, file)
