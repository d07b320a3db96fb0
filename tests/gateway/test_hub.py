"""The hub over HTTP: pushing in parts, pulling in ranges, and what a stranger sees."""

import asyncio
import hashlib
import json
from collections.abc import Callable
from typing import Any

from millrace.tenants import store as tenants
from millrace.tenants.values import Scope

Scene = Callable[..., None]

GREETING = b"hello, hub" * 30_000
"""Some pieces."""


def listed(contents: dict[str, bytes]) -> list[dict[str, Any]]:
    return [
        {"path": path, "sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
        for path, content in contents.items()
    ]


async def send(
    world: Any, content: bytes, *, offset: int = 0, upto: int | None = None, key: str | None = None, **other: str
) -> Any:
    sha256 = hashlib.sha256(content).hexdigest()
    fields = {"upload-length": str(len(content)), "upload-offset": str(offset)} | {
        name.replace("_", "-"): value for name, value in other.items()
    }
    return await world.call("PATCH", f"/hub/api/blobs/{sha256}", content[offset:upto], headers=fields, key=key)


async def push(
    world: Any, name: str, contents: dict[str, bytes], *, parent: str | None = None, visibility: str | None = None,
    key: str | None = None, owner: str = "mill",
) -> Any:  # fmt: skip
    base = f"/hub/api/models/{owner}/{name}"
    made = await world.call("PUT", base, json.dumps({"visibility": visibility}).encode(), key=key)
    assert made.status in (200, 201), made.body
    missing = await world.call("POST", f"{base}/missing", json.dumps({"files": listed(contents)}).encode(), key=key)
    absent = {one["sha256"] for one in missing.json["missing"]}
    for content in contents.values():
        if hashlib.sha256(content).hexdigest() in absent:
            assert (await send(world, content, key=key)).json["whole"]
    body = json.dumps({"files": listed(contents), "parent": parent, "message": "m"}).encode()
    return await world.call("POST", f"{base}/commit", body, key=key)


def test_what_was_pushed_is_pulled(play: Scene) -> None:
    """Info, tree and files say the same; a file comes whole, with its hash as ETag and the commit beside it."""

    async def scene(world: Any) -> None:
        commit = (await push(world, "m", {"m.gguf.txt": GREETING, "docs/a.md": b"# a"}, visibility="public")).json["commit"]
        info = (await world.call("GET", "/hub/api/models/mill/m/revision/main", query="blobs=true", key="")).json
        assert (info["id"], info["sha"], info["private"]) == ("mill/m", commit, False)
        assert [one["rfilename"] for one in info["siblings"]] == ["docs/a.md", "m.gguf.txt"]
        sha256 = hashlib.sha256(GREETING).hexdigest()
        assert info["siblings"][1]["lfs"] == {"sha256": sha256, "size": len(GREETING), "pointerSize": 134}
        tree = (await world.call("GET", "/hub/api/models/mill/m/tree/main", key="")).json
        assert [(one["type"], one["path"]) for one in tree] == [("directory", "docs"), ("file", "m.gguf.txt")]
        deep = (await world.call("GET", f"/hub/api/models/mill/m/tree/{commit}", query="recursive=true", key="")).json
        assert [one["path"] for one in deep] == ["docs", "docs/a.md", "m.gguf.txt"]
        for rev in ("main", commit):
            whole = await world.call("GET", f"/hub/mill/m/resolve/{rev}/m.gguf.txt", key="")
            assert (whole.status, whole.body) == (200, GREETING)
            assert (whole.headers["etag"], whole.headers["x-repo-commit"]) == (f'"{sha256}"', commit)
            assert whole.headers["x-linked-size"] == str(len(GREETING))

    play(scene)


def test_ranges_and_conditions(play: Scene) -> None:
    """206 with its bytes, 416 behind the end, 304 for what one has, the whole for another version; HEAD has no body."""

    async def scene(world: Any) -> None:
        await push(world, "m", {"a": GREETING}, visibility="public")
        path = "/hub/mill/m/resolve/main/a"
        etag = (await world.call("HEAD", path)).headers["etag"]

        async def get(**fields: str) -> Any:
            headers = {name.replace("_", "-"): text for name, text in fields.items()}
            return await world.call("GET", path, key="", headers=headers)

        part = await get(range="bytes=7-12")
        assert (part.status, part.body, part.headers["content-range"]) == (206, GREETING[7:13], f"bytes 7-12/{len(GREETING)}")
        behind = await get(range=f"bytes={len(GREETING)}-")
        assert (behind.status, behind.body, behind.headers["content-range"]) == (416, b"", f"bytes */{len(GREETING)}")
        assert (await get(if_none_match=etag)).status == 304
        assert (await get(range="bytes=1-2", if_range='"other"')).body == GREETING
        assert (await get(range="bytes=1-2", if_range=etag)).body == GREETING[1:3]

    play(scene)


def test_an_upload_comes_in_parts_and_goes_on_after_a_cut(play: Scene) -> None:
    """Each part answers how far it is; a wrong offset is 409 and says the right one; the hash is the server's own."""

    async def scene(world: Any) -> None:
        await world.call("PUT", "/hub/api/models/mill/m")
        first = await send(world, GREETING, upto=100_000)
        assert (first.status, first.json["offset"], first.json["whole"]) == (200, 100_000, False)
        wrong = await send(world, GREETING, offset=0)
        assert (wrong.status, wrong.error["code"]) == (409, "conflict")
        body = json.dumps({"files": listed({"a": GREETING})}).encode()
        (missing,) = (await world.call("POST", "/hub/api/models/mill/m/missing", body)).json["missing"]
        assert missing["offset"] == 100_000
        last = await send(world, GREETING, offset=100_000)
        assert last.json["whole"]
        other = await world.call(
            "PATCH", f"/hub/api/blobs/{'0' * 64}", b"abc", headers={"upload-length": "3", "upload-offset": "0"}
        )
        assert other.status == 422
        assert "has the SHA-256" in other.error["message"]

    play(scene)


def test_what_came_of_a_part_before_the_client_left_stays(play: Scene) -> None:
    """A connection that ends in the middle of a part costs nothing but the rest of it."""

    async def scene(world: Any) -> None:
        await world.call("PUT", "/hub/api/models/mill/m")
        await send(world, GREETING, upto=50_000)
        sha256 = hashlib.sha256(GREETING).hexdigest()
        fields = {"upload-length": str(len(GREETING)), "upload-offset": "50000"}
        await world.call("PATCH", f"/hub/api/blobs/{sha256}", b"", headers=fields, leave_in_body=True)
        assert (await send(world, GREETING, offset=50_000)).json["whole"]

    play(scene)


def test_a_strangers_private_model_is_answered_as_one_that_is_not_there(play: Scene) -> None:
    """Every route, with another's key, none, and one that may not read: status, body and code are those of no model."""

    async def scene(world: Any) -> None:
        commit = (await push(world, "secret", {"a": b"a"})).json["commit"]
        weak = world.key(world.owner, scopes={Scope.INFERENCE})
        files = json.dumps({"files": listed({"a": b"a"})}).encode()
        whole = json.dumps({"files": listed({"a": b"a"}), "parent": None}).encode()
        routes = [
            ("GET", "/hub/api/models/mill/{}", b""), ("GET", "/hub/api/models/mill/{}/revision/main", b""),
            ("GET", f"/hub/api/models/mill/{{}}/revision/{commit}", b""), ("GET", "/hub/api/models/mill/{}/tree/main", b""),
            ("GET", "/hub/mill/{}/resolve/main/a", b""), ("HEAD", f"/hub/mill/{{}}/resolve/{commit}/a", b""),
            ("GET", "/hub/mill/{}/resolve/main/none", b""),
        ]
        writes = [
            ("PUT", "/hub/api/models/mill/{}", b"{}"), ("DELETE", "/hub/api/models/mill/{}", b""),
            ("POST", "/hub/api/models/mill/{}/missing", files), ("POST", "/hub/api/models/mill/{}/commit", whole),
        ]
        for key in (world.stranger_key, "", weak):
            for method, path, body in routes + (writes if key == world.stranger_key else []):
                seen = await world.call(method, path.format("secret"), body, key=key)
                none = await world.call(method, path.format("nothing"), body, key=key)
                assert seen.status == none.status == 404, (method, path)
                assert seen.body == none.body
                assert seen.headers.keys() == none.headers.keys()
                assert seen.headers.get("x-error-code") == none.headers.get("x-error-code")
            assert (await world.call("GET", "/hub/api/models", key=key)).json == []
        assert [one["id"] for one in (await world.call("GET", "/hub/api/models")).json] == ["mill/secret"]

    play(scene)


def test_pushing_needs_a_whole_key(play: Scene) -> None:
    """Without a key 401, with one that lacks a scope 403; a revoked or wrong one is refused even for what is public."""

    async def scene(world: Any) -> None:
        await push(world, "m", {"a": b"a"}, visibility="public")
        assert (await world.call("PUT", "/hub/api/models/mill/m", key="")).status == 401
        for scope in Scope:
            weak = world.key(world.owner, scopes={scope})
            assert (await world.call("PUT", "/hub/api/models/mill/m", key=weak)).error["code"] == "scope_missing"
        assert (await world.call("GET", "/hub/api/models/mill/m", key="mr_wrong")).status == 401
        world.db.write_now(lambda tx: tenants.suspend(tx, world.ids, 1, tenant=world.owner, reason="abuse"))
        assert (await world.call("GET", "/hub/api/models/mill/m", key="")).status == 404

    play(scene)


def test_of_two_pushes_one_wins(play: Scene) -> None:
    """The slower of two from one commit is 409 and can push again from the other's; both files are served."""

    async def scene(world: Any) -> None:
        first = (await push(world, "m", {"a": b"0"})).json["commit"]
        answers = await asyncio.gather(
            push(world, "m", {"a": b"1"}, parent=first), push(world, "m", {"a": b"2"}, parent=first)
        )
        assert sorted(answer.status for answer in answers) == [200, 409]
        winner = next(answer.json["commit"] for answer in answers if answer.status == 200)
        losing = b"2" if answers[0].status == 200 else b"1"
        again = await push(world, "m", {"a": losing}, parent=winner)
        assert again.status == 200
        for commit, content in ((first, b"0"), (again.json["commit"], losing)):
            assert (await world.call("GET", f"/hub/mill/m/resolve/{commit}/a")).body == content

    play(scene)


def test_a_pull_is_counted_once_for_a_download(play: Scene) -> None:
    """From the first byte of the serving file; not for HEAD, a later range, another file, or what one has already."""

    async def scene(world: Any) -> None:
        await push(world, "m", {"README.md": b"hello", "a.txt": GREETING}, visibility="public")
        path = "/hub/mill/m/resolve/main/README.md"

        async def pulls() -> int:
            return int((await world.call("GET", "/hub/api/models/mill/m", key="")).json["downloads"])

        etag = (await world.call("HEAD", path)).headers["etag"]
        await world.call("GET", path, headers={"range": "bytes=2-"})
        await world.call("GET", path, headers={"if-none-match": etag})
        await world.call("GET", "/hub/mill/m/resolve/main/a.txt")
        assert await pulls() == 0
        await world.call("GET", path, key="")
        await world.call("GET", path, headers={"range": "bytes=0-2"}, key=world.stranger_key)
        assert await pulls() == 2

    play(scene)


def test_what_cannot_be_meant_is_refused(play: Scene) -> None:
    """Unknown routes, parameters, fields and numbers are refused by name; a pickle with its reason; the quota in bytes."""

    async def scene(world: Any) -> None:
        for method, path, query, status in (
            ("GET", "/hub/nothing", "", 404), ("POST", "/hub/api/models", "", 404), ("GET", "/hub/api/models", "limit=0", 422),
            ("GET", "/hub/api/models", "colour=red", 422), ("GET", "/hub/api/models/mill/m/x/y", "", 404),
            ("DELETE", "/hub/mill/m/resolve/main/a", "", 404),
        ):  # fmt: skip
            assert (await world.call(method, path, query=query)).status == status, path
        await world.call("PUT", "/hub/api/models/mill/m")
        pickle = json.dumps({"files": listed({"a.bin": b"x"})}).encode()
        bad = await world.call("POST", "/hub/api/models/mill/m/missing", pickle)
        assert "run code when they are loaded" in bad.error["message"]
        large = [{"path": "a", "sha256": "a" * 64, "size": 6_000_000}]
        full = await world.call("POST", "/hub/api/models/mill/m/missing", json.dumps({"files": large}).encode())
        assert (full.status, full.error["code"]) == (409, "conflict")
        assert "of 5000000 bytes" in full.error["message"]
        assert (await send(world, b"abc", upload_offset="x")).status == 422

    play(scene)


def test_files_without_their_content_say_so(play: Scene) -> None:
    """After a restore without the folder a pull is 503 with the reason, never half a file."""

    async def scene(world: Any) -> None:
        await push(world, "m", {"a": b"abc"})
        world.depot.blobs.discard(hashlib.sha256(b"abc").hexdigest())
        answer = await world.call("GET", "/hub/mill/m/resolve/main/a")
        assert answer.status == 503
        assert "restored from a backup" in answer.error["message"]

    play(scene)
