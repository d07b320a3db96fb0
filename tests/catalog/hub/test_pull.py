"""A pull from a hub on real sockets: what comes, in what parts, and what is refused."""

import asyncio
import hashlib
import json
from pathlib import Path

import pytest
from tests.catalog.hub.stand import BIG, FOLDER, PIECE, Stand, at_the_stand, gguf_file

from millrace.base.errors import Reason, Refusal
from millrace.catalog.hub.fake import Fault


def test_a_repository_of_gguf(tmp_path: Path) -> None:
    """The file comes whole, in ranges, from the content network, with what it says of itself; the hub was asked once."""

    async def work(stand: Stand) -> None:
        pulled = await stand.pull()
        manifest = pulled.manifest
        assert stand.served(pulled) == BIG
        assert (manifest.name, manifest.source, manifest.revision) == ("model", "hf:acme/model", "5" * 40)
        assert (manifest.format, manifest.architecture, manifest.parameters) == ("gguf", "llama", 100_000)
        assert (manifest.context_tokens, manifest.licence) == (1024, "apache-2.0")
        assert {file.path: file.size for file in manifest.files} == {"model-Q8_0.gguf": len(BIG), "README.md": 9}
        assert pulled.why == "it is the only GGUF file"
        ranges = sorted(int(seen.range[6:].split("-")[0]) for seen in stand.hub.requests("network") if seen.range)
        assert ranges == list(range(0, len(BIG), PIECE))
        assert len(stand.hub.requests("hub", "model-Q8_0.gguf")) <= 4  # no more than lanes, then straight to the network
        assert stand.partials() == []
        assert stand.told.added == len(BIG) + 9

    at_the_stand(tmp_path, work)


def test_from_modelscope(tmp_path: Path) -> None:
    """The same from ModelScope's form of a hub."""

    async def work(stand: Stand) -> None:
        pulled = await stand.pull("ms:acme/model")
        assert stand.served(pulled) == BIG
        assert (pulled.manifest.source, pulled.manifest.revision) == ("ms:acme/model", "master")

    at_the_stand(tmp_path, work)


def test_from_another_millrace(tmp_path: Path) -> None:
    """A Millrace cloud speaks the same below /hub; its key is in MILLRACE_API_KEY."""

    async def work(stand: Stand) -> None:
        stand.hub.repos["acme/model"].private = True
        stand.environment["MILLRACE_API_KEY"] = stand.hub.token
        ref = f"millrace://{stand.hub.url.removeprefix('http://')}/acme/model"
        pulled = await stand.pull(ref)
        assert stand.served(pulled) == BIG
        assert pulled.manifest.source == ref

    at_the_stand(tmp_path, work)


def test_from_an_address(tmp_path: Path) -> None:
    """A plain address: its size and ETag are asked first; a signature in it is kept by nobody."""

    async def work(stand: Stand) -> None:
        pulled = await stand.pull(f"{stand.hub.network_url}/acme/model/model-Q8_0.gguf?Signature=s3cr3t")
        assert stand.served(pulled) == BIG
        assert pulled.manifest.name == "model-q8_0"
        assert pulled.manifest.source == f"{stand.hub.network_url}/acme/model/model-Q8_0.gguf"
        assert [seen.if_range is not None for seen in stand.hub.requests("network")] == [False, *[True] * 7]

    at_the_stand(tmp_path, work)


def test_through_a_proxy(tmp_path: Path) -> None:
    """A hub that only the proxy reaches."""

    async def work(stand: Stand) -> None:
        stand.environment |= {"HF_ENDPOINT": "http://hub.invalid", "HTTP_PROXY": stand.hub.url}
        assert stand.served(await stand.pull()) == BIG

    at_the_stand(tmp_path, work)


def test_what_netrc_has_is_sent_to_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token comes from its variable alone."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1\nlogin me\npassword netrc-secret\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

    async def work(stand: Stand) -> None:
        stand.environment["HF_TOKEN"] = stand.hub.token
        assert stand.served(await stand.pull()) == BIG
        assert {seen.token for seen in stand.hub.seen} == {None, f"Bearer {stand.hub.token}"}

    at_the_stand(tmp_path, work)


def test_safetensors_without_pickles_and_programs(tmp_path: Path) -> None:
    """Of a repository without GGUF the tensors, their configuration and the tokenizer; nothing that could run."""

    async def work(stand: Stand) -> None:
        pulled = await stand.pull()
        assert {file.path for file in pulled.manifest.files} == {*FOLDER} - {"pytorch_model.bin", "modeling_evil.py"}
        folder = stand.weights.path(pulled.manifest)
        assert json.loads((folder / "config.json").read_bytes())["model_type"] == "qwen3"
        manifest = pulled.manifest
        assert (manifest.format, manifest.architecture, manifest.parameters) == ("safetensors", "qwen3", 48)
        assert (manifest.context_tokens, manifest.licence, manifest.chat_template) == (2048, "mit", True)
        assert manifest.kv_values == 2 * 2 * 2 * 8

    at_the_stand(tmp_path, work, FOLDER)


def test_from_a_folder_and_from_a_file(tmp_path: Path) -> None:
    """What is here already is copied: the operator may change or remove the original afterwards."""
    folder = tmp_path / "My Model"
    folder.mkdir()
    for path, content in FOLDER.items():
        (folder / path).write_bytes(content)
    (tmp_path / "Small-Q8_0.gguf").write_bytes(BIG)

    async def work(stand: Stand) -> None:
        pulled = await stand.pull(str(folder))
        assert (pulled.manifest.name, pulled.manifest.source) == ("my-model", str(folder))
        assert {file.path for file in pulled.manifest.files} == {*FOLDER} - {"pytorch_model.bin", "modeling_evil.py"}
        one = await stand.pull(str(tmp_path / "Small-Q8_0.gguf"))
        (tmp_path / "Small-Q8_0.gguf").write_bytes(b"another")
        assert (one.manifest.name, stand.served(one)) == ("small-q8_0", BIG)
        assert stand.hub.seen == []

    at_the_stand(tmp_path, work)


def test_a_split_model_comes_whole(tmp_path: Path) -> None:
    """All parts, in order; the first is what is loaded."""
    parts = {f"m-Q4_K_M-0000{number}-of-00002.gguf": gguf_file(seed=number) for number in (1, 2)}

    async def work(stand: Stand) -> None:
        pulled = await stand.pull()
        assert [file.path for file in pulled.manifest.files] == list(parts)
        assert (pulled.manifest.serves, pulled.manifest.parameters) == ("m-Q4_K_M-00001-of-00002.gguf", 200)

    at_the_stand(tmp_path, work, parts)


def test_pulling_again_fetches_only_what_changed(tmp_path: Path) -> None:
    """The same commit: nothing. A new one: only the files whose content is another."""

    async def work(stand: Stand) -> None:
        await stand.pull()
        before = stand.hub.sent
        assert (await stand.pull()).fetched == 0
        assert stand.hub.sent == before
        repo = stand.hub.repos["acme/model"]
        repo.commit, repo.files["README.md"] = "6" * 40, b"# Better"
        pulled = await stand.pull()
        assert (pulled.manifest.revision, pulled.fetched, stand.hub.sent) == ("6" * 40, 8, before + 8)

    at_the_stand(tmp_path, work)


def test_a_revision_is_what_was_asked(tmp_path: Path) -> None:
    """A commit is pinned; one that is not there is refused by name."""

    async def work(stand: Stand) -> None:
        assert (await stand.pull(f"hf:acme/model@{'5' * 40}")).manifest.revision == "5" * 40
        with pytest.raises(Refusal, match="has no revision 'v9'"):
            await stand.pull("hf:acme/model@v9")

    at_the_stand(tmp_path, work)


def test_two_pulls_at_once_fetch_once(tmp_path: Path) -> None:
    """The second waits for the first, says so, and takes what that one fetched."""

    async def work(stand: Stand) -> None:
        stand.hub.faults = [Fault(at="network", hold_after=1000)]
        first = asyncio.create_task(stand.pull())
        await stand.hub.held.wait()
        second = asyncio.create_task(stand.pull())
        while not stand.told.said:
            await asyncio.sleep(0)
        stand.hub.release()
        pulled = await asyncio.gather(first, second)
        assert stand.served(pulled[1]) == BIG
        assert len([seen for seen in stand.hub.requests("network") if seen.range]) == 7
        assert "another command is fetching" in stand.told.said[0]

    at_the_stand(tmp_path, work)


def test_no_room_is_said_before_the_first_byte(tmp_path: Path) -> None:
    """How much the model has, how much is to come, and how much is missing on the disk."""

    async def work(stand: Stand) -> None:
        with pytest.raises(Refusal, match=r"still to come.*lacks 1 MB.*make room") as caught:
            await stand.pull(free_bytes=lambda _: len(BIG) + (64 << 20) - 100_000)
        assert caught.value.reason is Reason.STORE_UNAVAILABLE
        assert stand.hub.requests("network") == []

    at_the_stand(tmp_path, work)


def test_a_name_that_is_taken_is_refused_before_the_first_byte(tmp_path: Path) -> None:
    """Not after forty gigabytes."""

    async def work(stand: Stand) -> None:
        await stand.pull(name="mine")
        asked = len(stand.hub.seen)
        with pytest.raises(Refusal, match="belongs to what came from hf:acme/model;"):
            await stand.pull("ms:acme/model", name="mine")
        assert len(stand.hub.seen) == asked

    at_the_stand(tmp_path, work)


def test_what_is_no_model_is_not_kept_as_one(tmp_path: Path) -> None:
    """A file that only has the suffix is refused by what is wrong with it, and no model appears."""

    async def work(stand: Stand) -> None:
        with pytest.raises(Refusal, match=r"^hf:acme/model: the model file m\.gguf is not usable: it does not begin as"):
            await stand.pull()
        assert (stand.weights.list(), stand.weights.orphans()) == ((), ())

    at_the_stand(tmp_path, work, {"m.gguf": b"<html>sorry</html>"})


def test_a_list_that_leads_out_of_the_store_is_refused(tmp_path: Path) -> None:
    """A hub cannot write where it wants."""

    async def work(stand: Stand) -> None:
        with pytest.raises(Refusal, match="is not a path inside"):
            await stand.pull()
        assert not (tmp_path / "evil.gguf").exists()

    at_the_stand(tmp_path, work, {"../../evil.gguf": BIG})


def test_the_hash_is_the_files_own(tmp_path: Path) -> None:
    """Each file of the manifest has the SHA-256 of its content, also those that the hub knows only by Git's name."""

    async def work(stand: Stand) -> None:
        pulled = await stand.pull()
        contents = stand.hub.repos["acme/model"].files
        assert {one.path: one.sha256 for one in pulled.manifest.files} == {
            path: hashlib.sha256(content).hexdigest() for path, content in contents.items()
        }

    at_the_stand(tmp_path, work)
