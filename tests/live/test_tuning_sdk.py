"""The official SDK against `millrace up`: files and fine-tuning jobs as its users write them, on the fake engine."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from tests.races.cloud import Cloud

SETTINGS = """
[[models]]
name = "echo"
engine = "fake"
context_tokens = 8192
max_output_tokens = 4096
[[prices]]
model = "echo"
currency = "CNY"
input = "1"
output = "1"
[[prices]]
model = "tune:echo"
currency = "CNY"
input = "2.345678901"
output = "0"
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    home = tmp_path_factory.mktemp("home") / "home"
    made = Cloud(home)
    (home / "millrace.toml").write_text(SETTINGS)
    made.start()
    try:
        yield made
    finally:
        assert made.stop() == 0


def test_a_job_from_file_to_answer(server: Cloud, tmp_path: Path) -> None:
    """Upload, create, retrieve until it is over, list, events, checkpoints, a chat with the tuned model, its deletion."""
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=0)
    data = tmp_path / "shop.jsonl"
    messages = [{"role": "user", "content": "which mill is it"}, {"role": "assistant", "content": "the old wind mill"}]
    data.write_text((json.dumps({"messages": messages}) + "\n") * 12)
    with data.open("rb") as opened:
        file = client.files.create(file=opened, purpose="fine-tune")
    assert (file.bytes, file.filename, file.status) == (data.stat().st_size, "shop.jsonl", "processed")
    assert client.files.content(file.id).read() == data.read_bytes()
    assert [one.id for one in client.files.list()] == [file.id]
    job = client.fine_tuning.jobs.create(
        model="echo", training_file=file.id, suffix="shop", seed=3,
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2, "batch_size": 4}}},
        extra_headers={"Idempotency-Key": "shop-1"},
    )  # fmt: skip
    for _ in range(600):
        job = client.fine_tuning.jobs.retrieve(job.id)
        if job.status == "succeeded":
            break
        time.sleep(0.2)
    assert (job.status, job.trained_tokens, job.error) == ("succeeded", 240, None)
    assert job.fine_tuned_model is not None
    assert [one.id for one in client.fine_tuning.jobs.list(limit=1)] == [job.id]
    events = list(client.fine_tuning.jobs.list_events(job.id, limit=2))  # the SDK pages by itself
    assert [event.type for event in events].count("metrics") == 6
    assert "is ready" in events[0].message
    (checkpoint,) = client.fine_tuning.jobs.checkpoints.list(job.id)
    assert (checkpoint.step_number, checkpoint.fine_tuning_job_id) == (6, job.id)
    (request_id,) = job.model_dump()["request_ids"]
    receipt = server.get(f"/v1/receipts/{request_id}")
    assert (receipt["model"], receipt["amount"], receipt["status"]) == ("tune:echo", "0.000562963", "completed")
    answer = client.chat.completions.create(model=job.fine_tuned_model, messages=[{"role": "user", "content": "which mill"}])
    assert answer.choices[0].message.content
    with pytest.raises(openai.ConflictError):
        client.fine_tuning.jobs.cancel(job.id)
    assert client.files.delete(file.id).deleted
    assert client.models.delete(job.fine_tuned_model).deleted
    server.command("audit")
