"""`/v1/fine_tuning`: jobs as the API makes, shows and ends them. What trains them is tests/scenarios/tuning's."""

import json
from typing import Any

import pytest
from tests.gateway.conftest import Answer, World
from tests.gateway.uploads import jsonl, upload

from millrace.tenants.values import Scope

JOBS = "/v1/fine_tuning/jobs"


async def create(world: World, *, key: str | None = None, headers: dict[str, str] | None = None, **fields: Any) -> Answer:
    """With a file of 12 examples, of 10 tokens each, unless one is named."""
    if "training_file" not in fields:
        fields["training_file"] = (await upload(world, jsonl(), key=key)).json["id"]
    asked = {"model": "echo", "seed": 7} | fields
    return await world.call("POST", JOBS, json.dumps(asked).encode(), key=key, headers=headers)


def test_a_job_is_made_and_shown(play: Any) -> None:
    """It waits, with its numbers counted and its price known; list, events and checkpoints have it."""

    async def scene(world: World) -> None:
        made = await create(world, suffix="shop", hyperparameters={"n_epochs": 3, "batch_size": 4})
        job = made.json
        assert (made.status, job["object"], job["status"], job["seed"]) == (200, "fine_tuning.job", "queued", 7)
        assert job["id"].startswith("ftjob-")
        assert job["hyperparameters"] == {"n_epochs": 3, "batch_size": 4, "learning_rate_multiplier": "auto"}
        assert job["method"]["supervised"]["hyperparameters"] == job["hyperparameters"]
        assert job["estimate"] == {
            "object": "fine_tuning.estimate", "examples": 12, "tokens_per_epoch": 120, "epochs": 3, "tokens": 360,
            "price": "tune:echo/CNY/v1", "amount": "0.000360000", "currency": "CNY",
        }  # fmt: skip
        assert (await world.call("GET", f"{JOBS}/{job['id']}")).json == job
        assert (await world.call("GET", JOBS)).json == {"object": "list", "data": [job], "has_more": False}
        (event,) = (await world.call("GET", f"{JOBS}/{job['id']}/events")).json["data"]
        assert "360 tokens" in event["message"]
        assert (await world.call("GET", f"{JOBS}/{job['id']}/checkpoints")).json["data"] == []
        curve = await world.call("GET", f"{JOBS}/{job['id']}/curve.svg")
        assert (curve.headers["content-type"], curve.body[:4]) == ("image/svg+xml; charset=utf-8", b"<svg")

    play(scene)


def test_an_estimate_starts_nothing(play: Any) -> None:
    """Tokens, price and amount, for a key that may only read; there is no job afterwards."""

    async def scene(world: World) -> None:
        file_id = (await upload(world, jsonl())).json["id"]
        body = json.dumps({"model": "echo", "training_file": file_id, "hyperparameters": {"n_epochs": 2}}).encode()
        answer = await world.call("POST", "/v1/fine_tuning/estimates", body, key=world.key(world.owner, scopes={Scope.READ}))
        assert (answer.status, answer.json["tokens"], answer.json["amount"]) == (200, 240, "0.000240000")
        assert (await world.call("GET", JOBS)).json["data"] == []

    play(scene)


def test_bad_data_is_a_failed_job(play: Any) -> None:
    """Its error names the line and the reason; nothing is charged."""

    async def scene(world: World) -> None:
        bad = jsonl(11) + b'{"messages": [{"role": "user", "content": "hello"}]}\n'
        file_id = (await upload(world, bad)).json["id"]
        job = (await create(world, training_file=file_id)).json
        error = job["error"]
        assert (job["status"], error["code"], error["param"]) == ("failed", "invalid_training_file", "training_file")
        assert "line 12: " in job["error"]["message"]
        assert (job["trained_tokens"], job["request_ids"]) == (0, [])

    play(scene)


def test_who_cannot_pay_is_told_before_anything_runs(play: Any) -> None:
    """402 with what it comes to and what is there; there is no job."""

    async def scene(world: World) -> None:
        world.db.write_now(lambda tx: tx.run("UPDATE account SET debits_posted = credits_posted - 300 WHERE id LIKE 'grant/%'"))
        answer = await create(world, hyperparameters={"n_epochs": 50})
        assert (answer.status, answer.error["code"]) == (402, "insufficient_credit")
        assert (await world.call("GET", JOBS)).json["data"] == []

    play(scene)


def test_the_same_key_is_the_same_job(play: Any) -> None:
    """Idempotency-Key: the same body again gets the job that is there, another body is refused, a stranger's key is his."""

    async def scene(world: World) -> None:
        headers = {"idempotency-key": "tune-1"}
        file_id = (await upload(world, jsonl())).json["id"]
        first, again = [(await create(world, training_file=file_id, headers=headers)).json for _ in range(2)]
        assert first == again
        other = await create(world, training_file=file_id, headers=headers, suffix="x")
        assert (other.status, other.error["code"]) == (409, "idempotency_conflict")
        theirs = await create(world, key=world.stranger_key, headers=headers)
        assert theirs.json["id"] != first["id"]
        assert len((await world.call("GET", JOBS)).json["data"]) == 1

    play(scene)


def test_a_stranger_s_job_is_as_one_that_is_not_there(play: Any) -> None:
    """Every verb answers another tenant as it answers for an id that nobody has; so does a job with a stranger's file."""

    async def scene(world: World) -> None:
        made = (await create(world)).json
        for method, path in (
            ("GET", "{}"), ("POST", "{}/cancel"), ("GET", "{}/events"), ("GET", "{}/checkpoints"), ("GET", "{}/curve.svg"),
        ):  # fmt: skip
            theirs = await world.call(method, f"{JOBS}/{path.format(made['id'])}", key=world.stranger_key)
            nobody = await world.call(method, f"{JOBS}/{path.format('ftjob-0')}", key=world.stranger_key)
            assert theirs.status == nobody.status == 404
            assert theirs.error["message"].replace(made["id"], "ftjob-0") == nobody.error["message"]
        stolen = await create(world, key=world.stranger_key, training_file=made["training_file"])
        assert (stolen.status, stolen.error["param"]) == (404, "training_file")

    play(scene)


def test_cancel(play: Any) -> None:
    """A job that waits is over at once, and again is the same; a file is free then, and was not before."""

    async def scene(world: World) -> None:
        job = (await create(world)).json
        file = f"/v1/files/{job['training_file']}"
        assert (await world.call("DELETE", file)).status == 409
        for _ in range(2):
            done = (await world.call("POST", f"{JOBS}/{job['id']}/cancel")).json
            assert (done["status"], done["trained_tokens"]) == ("cancelled", 0)
        assert (await world.call("DELETE", file)).status == 200

    play(scene)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"integrations": [{"type": "wandb"}]}, "integrations"),
        ({"metadata": {"a": "b"}}, "metadata"),
        ({"method": {"type": "dpo"}}, "method.type"),
        ({"method": {"type": "supervised", "dpo": {}}}, "method.dpo"),
        ({"hyperparameters": {"beta": 1}}, "hyperparameters.beta"),
        ({"hyperparameters": {"n_epochs": 0}}, "hyperparameters.n_epochs"),
        ({"suffix": "a b"}, "suffix"),
        ({"model": "nobody"}, "model"),
        ({"model": "spare"}, "model"),
        ({"training_file": "file-0"}, "training_file"),
        ({"n_epochs": 3}, "n_epochs"),
    ],
)
def test_what_is_refused(play: Any, fields: dict[str, Any], param: str) -> None:
    """What is not honoured is refused by its name: methods, integrations, models without a price for tuning."""

    async def scene(world: World) -> None:
        answer = await create(world, **fields)
        assert answer.status in (404, 422)
        assert answer.error["param"] == param
        assert (await world.call("GET", JOBS)).json["data"] == []

    play(scene)


def test_a_key_that_may_only_read_starts_nothing(play: Any) -> None:
    """It is refused by its scope, and so is one that may not use the model."""

    async def scene(world: World) -> None:
        file_id = (await upload(world, jsonl())).json["id"]
        reader = world.key(world.owner, scopes={Scope.READ})
        assert (await create(world, key=reader, training_file=file_id)).error["code"] == "scope_missing"
        limited = world.key(world.owner, models={"spare"})
        assert (await create(world, key=limited, training_file=file_id)).error["code"] == "model_not_allowed"

    play(scene)
