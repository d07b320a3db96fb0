"""`/v1/files`: a file goes in piece by piece and comes out byte for byte, for its tenant and nobody else."""

from typing import Any

import pytest
from tests.gateway.conftest import World
from tests.gateway.uploads import BOUNDARY, form, jsonl, upload

from millrace.settings.limits import Limits
from millrace.tenants.values import Scope


def test_in_and_out(play: Any) -> None:
    """What was sent is listed, shown, given back byte for byte and deleted; then it is not there."""

    async def scene(world: World) -> None:
        content = b"\r\n--mill\x00" * 1000
        sent = await upload(world, content)
        assert sent.status == 200
        file = sent.json
        assert (file["object"], file["bytes"], file["filename"]) == ("file", len(content), "shop.jsonl")
        assert (file["purpose"], file["status"]) == ("fine-tune", "processed")
        assert file["id"].startswith("file-")
        listed = (await world.call("GET", "/v1/files")).json
        assert (listed["data"], listed["has_more"]) == ([file], False)
        assert (await world.call("GET", f"/v1/files/{file['id']}")).json == file
        assert (await world.call("GET", f"/v1/files/{file['id']}/content")).body == content
        deleted = await world.call("DELETE", f"/v1/files/{file['id']}")
        assert deleted.json == {"id": file["id"], "object": "file", "deleted": True}
        assert (await world.call("GET", f"/v1/files/{file['id']}")).status == 404
        assert (await world.call("GET", "/v1/files")).json["data"] == []

    play(scene)


def test_a_stranger_s_file_is_as_one_that_is_not_there(play: Any) -> None:
    """Another tenant's key gets for each verb what it gets for an id that nobody has."""

    async def scene(world: World) -> None:
        file_id = (await upload(world, jsonl())).json["id"]
        for method, path in (("GET", "/v1/files/{}"), ("GET", "/v1/files/{}/content"), ("DELETE", "/v1/files/{}")):
            theirs = await world.call(method, path.format(file_id), key=world.stranger_key)
            nobody = await world.call(method, path.format("file-0"), key=world.stranger_key)
            assert theirs.status == nobody.status == 404
            assert theirs.error["message"].replace(file_id, "file-0") == nobody.error["message"]
        assert (await world.call("GET", f"/v1/files/{file_id}")).status == 200

    play(scene)


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        (form(b"x", purpose="batch"), 422, "purpose"),
        (form(b"x", purpose=None), 422, "purpose"),
        (form(b"x", expires_after="1"), 422, "expires_after"),
        (form(b"x")[:-10], 422, "file"),
        (f"--{BOUNDARY}--\r\n".encode(), 422, "purpose"),
    ],
)
def test_what_is_refused(play: Any, body: bytes, status: int, param: str) -> None:
    """Another purpose, an unknown field and a body that is cut are refused by name, and nothing is kept."""

    async def scene(world: World) -> None:
        headers = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
        answer = await world.call("POST", "/v1/files", body, headers=headers)
        assert (answer.status, answer.error["param"]) == (status, param)
        assert (await world.call("GET", "/v1/files")).json["data"] == []

    play(scene)


def test_bounds(play: Any) -> None:
    """A file over the limit, and one over the tenant's quota, are refused with 413."""

    async def scene(world: World) -> None:
        assert (await upload(world, b"x" * 2001)).status == 413
        assert (await upload(world, b"x" * 2000)).status == 200
        over = await upload(world, b"y" * 1001)
        assert (over.status, "delete some" in over.error["message"]) == (413, True)

    play(scene, limits=Limits(file_bytes_max=2000, files_bytes_max=3000))


def test_pages(play: Any) -> None:
    """`limit` and `after` lead through all files, newest first or oldest first."""

    async def scene(world: World) -> None:
        ids = []
        for number in range(5):
            world.clock.advance(1)
            ids.append((await upload(world, b"%d" % number)).json["id"])
        for order, wanted in (("asc", ids), ("desc", ids[::-1])):
            seen: list[str] = []
            more = True
            while more:
                after = f"&after={seen[-1]}" if seen else ""
                page = (await world.call("GET", "/v1/files", query=f"limit=2&order={order}{after}")).json
                seen += [file["id"] for file in page["data"]]
                more = page["has_more"]
            assert seen == wanted

    play(scene)


def test_scopes_and_methods(play: Any) -> None:
    """A key that may only read sends and deletes nothing; a method that a path does not take is refused with those it takes."""

    async def scene(world: World) -> None:
        reader = world.key(world.owner, scopes={Scope.READ})
        assert (await upload(world, b"x", key=reader)).status == 403
        assert (await world.call("GET", "/v1/files", key=reader)).status == 200
        wrong = await world.call("PUT", "/v1/files")
        assert (wrong.status, "POST and GET" in wrong.error["message"]) == (405, True)

    play(scene)
