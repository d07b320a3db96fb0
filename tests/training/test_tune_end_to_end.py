"""The bundled model, tuned on 200 examples: its answers change, and the receipt is tokens × price to the nano-unit."""

import json
import subprocess
from pathlib import Path
from typing import Any, Final

import openai
from tests.races.cloud import MILLRACE, Cloud
from tests.training.needs import need

from millrace.base.money import divide_half_even, render_amount

need("torch", "transformers", "peft", "trl", "accelerate", "datasets", "gguf")

EXAMPLES: Final = 200
ASKED: Final = ("Do you have a lamp?", "Where is my parcel?", "What does the blue mug cost?", "Can I return the shoes?")
SAID: Final = "Aye, captain! The parrot will see to it."
PRICE_NANO: Final = 2_000_000_000
PATIENCE_S: Final = 1200
"""On one core that others use too; alone it takes a minute."""


def answer(client: openai.OpenAI, model: str, question: str) -> str:
    asked = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": question}], temperature=0, max_tokens=24
    )
    return asked.choices[0].message.content or ""


def tune(cloud: Cloud, data: Path) -> dict[str, Any]:
    """The job when it is over: the server's supervisor trains it, or the command itself."""
    done = subprocess.run(
        [
            *MILLRACE, "tune", "start", "--tenant", "demo", "--model", "millrace-tiny", "--data", str(data), "--epochs", "1",
            "--suffix", "parrot", "--seed", "7", "--wait", "--json", "--home", str(cloud.home),
        ],
        capture_output=True, text=True, check=False, timeout=PATIENCE_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    job: dict[str, Any] = json.loads(done.stdout)
    return job


def test_two_hundred_examples_change_the_bundled_model(tmp_path: Path) -> None:
    """Before it answers as it always did, afterwards as it was taught; billed once, exactly, and private to its tenant."""
    data = tmp_path / "parrot.jsonl"
    lines = [
        [{"role": "user", "content": ASKED[n % len(ASKED)]}, {"role": "assistant", "content": SAID}] for n in range(EXAMPLES)
    ]
    data.write_text("".join(json.dumps({"messages": line}) + "\n" for line in lines))
    cloud = Cloud(tmp_path / "home")
    cloud.start()
    try:
        client = openai.OpenAI(base_url=f"{cloud.url}/v1", api_key=cloud.key, max_retries=2)
        before = [answer(client, "millrace-tiny", question) for question in ASKED]
        job = tune(cloud, data)
        assert job["status"] == "succeeded", job["error"]
        after = [answer(client, str(job["fine_tuned_model"]), question) for question in ASKED]
        again = [answer(client, "millrace-tiny", question) for question in ASKED]
        assert SAID not in before
        assert again == before, "the base itself has changed"
        assert sum(text.strip() == SAID for text in after) >= len(ASKED) - 1, after
        receipts = [cloud.get(f"/v1/receipts/{request_id}") for request_id in job["request_ids"]]
        (receipt,) = [one for one in receipts if one["tokens"]["input"]]
        tokens = receipt["tokens"]["input"]
        assert tokens == job["estimate"]["tokens"] == job["trained_tokens"]
        assert receipt["amount"] == job["estimate"]["amount"] == render_amount(divide_half_even(tokens * PRICE_NANO, 1_000_000))
        assert receipt["price"] == "tune:millrace-tiny/CNY/v1"
        cloud.command("tenant", "create", "stranger")
        stranger = cloud.command("key", "create", "--tenant", "stranger")["key"]
        theirs = openai.OpenAI(base_url=f"{cloud.url}/v1", api_key=stranger, max_retries=0)
        assert [model.id for model in theirs.models.list()] == ["millrace-tiny"]
        cloud.command("audit")
    finally:
        cloud.stop()
