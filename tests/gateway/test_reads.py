"""What may be looked up, and by whom."""

from collections.abc import Callable
from typing import Any

from millrace.money.retention import store as retention
from millrace.money.retention.values import Export

Scene = Callable[..., None]


def test_a_stranger_sees_no_receipt_of_another_tenant(play: Scene) -> None:
    """Another tenant's receipt is 404, as if it did not exist."""

    async def scene(world: Any) -> None:
        answer = await world.chat()
        seen = await world.call("GET", f"/v1/receipts/{answer.request_id}", key=world.stranger_key)
        missing = await world.call("GET", "/v1/receipts/req_00000000000000000000000000", key=world.stranger_key)
        assert seen.status == missing.status == 404
        assert seen.error["message"] == missing.error["message"]

    play(scene)


def test_the_id_of_an_answer_finds_its_receipt(play: Scene) -> None:
    """A receipt is found by the x-request-id and by the id in the answer's body."""

    async def scene(world: Any) -> None:
        answer = await world.chat()
        by_body = await world.call("GET", f"/v1/receipts/{answer.json['id']}")
        assert by_body.json["request_id"] == answer.request_id

    play(scene)


def test_the_balance_is_the_tenants_own(play: Scene) -> None:
    """Balance, held and available add up, and one tenant's requests do not move another's."""

    async def scene(world: Any) -> None:
        await world.chat()
        mine = (await world.call("GET", "/v1/balance")).json
        theirs = (await world.call("GET", "/v1/balance", key=world.stranger_key)).json
        assert mine["tenant"] == "mill"
        assert mine["balance"] == mine["available"] == "9.999960000"
        assert theirs["balance"] == "10.000000000"
        assert mine["held"] == "0.000000000"

    play(scene)


def test_usage_is_summed_by_model_day_and_key(play: Scene) -> None:
    """Usage rows by model, day and key have the same sums; an unknown 'by' and an unknown parameter are refused."""

    async def scene(world: Any) -> None:
        await world.chat()
        await world.chat()
        sums = [
            (await world.call("GET", "/v1/usage", query=f"by={by}")).json["rows"][0] for by in ("model", "day", "key")
        ]
        assert {row["requests"] for row in sums} == {2}
        assert len({row["amount"] for row in sums}) == 1
        assert sums[1]["day"] == "2023-11-14"
        assert (await world.call("GET", "/v1/usage", query="by=hour")).status == 422
        assert (await world.call("GET", "/v1/usage", query="since=1")).error["param"] == "since"
        assert (await world.call("GET", "/v1/usage", query="from=2026-02-01&to=2026-01-01")).error["param"] == "to"

    play(scene)


def test_models_are_listed_with_prices_and_only_those_allowed(play: Scene) -> None:
    """The list has lengths and prices; a key with an allow-list sees its own models only."""

    async def scene(world: Any) -> None:
        everything = (await world.call("GET", "/v1/models")).json["data"]
        assert [card["id"] for card in everything] == ["echo", "spare"]
        assert everything[0]["prices"]["tiers"][0]["output"] == "4.000000000"
        limited = world.key(world.owner, models={"spare"})
        assert [card["id"] for card in (await world.call("GET", "/v1/models", key=limited)).json["data"]] == ["spare"]
        assert (await world.call("GET", "/v1/models/echo", key=limited)).status == 403
        assert (await world.call("GET", "/v1/models/echo")).json["id"] == "echo"

    play(scene)


def test_an_archived_receipt_is_told_to_its_own_tenant(play: Scene) -> None:
    """After its row was deleted the owner is told which file has it, and a stranger that there is none."""

    async def scene(world: Any) -> None:
        answer = await world.chat()
        export = Export(
            seq_lo=1, seq_hi=10, file="usage-000000000000001.parquet", sha256="", size=1, requests=1, tokens=1, waived=0,
            amounts=(), finished_lo=0, finished_hi=0, exported_at=0,
        )  # fmt: skip
        world.db.write_now(lambda tx: tx.run("UPDATE usage SET invoice_id = 'inv_1'"))
        world.db.write_now(lambda tx: retention.record(tx, export))
        world.db.write_now(lambda tx: retention.begin_drop(tx, export, 0))
        assert world.db.write_now(lambda tx: retention.drop(tx, export, 0, 10)) == 1
        mine = await world.call("GET", f"/v1/receipts/{answer.request_id}")
        theirs = await world.call("GET", f"/v1/receipts/{answer.request_id}", key=world.stranger_key)
        assert mine.status == theirs.status == 404
        assert "archived; ask the operator for its row in the file usage-000000000000001.parquet" in mine.error["message"]
        assert "there is no receipt of that request" in theirs.error["message"]

    play(scene)
