"""What is counted of streams, of the database and of background work."""

from collections.abc import Callable
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from millrace import __version__
from millrace.base.clock import NS_PER_S
from millrace.engines.fake import FakeScript
from millrace.gateway.metrics import Metrics

Scene = Callable[..., None]


def samples(metrics: Metrics) -> dict[tuple[str, str], float]:
    """Each value by its name and its only label's value."""
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
        if "le" not in sample.labels
    }


def test_the_times_of_a_stream_are_those_of_its_tokens(play: Scene) -> None:
    """To the first bytes from the request's head, and for each token after the first; a whole answer has neither."""

    async def scene(world: Any) -> None:
        await world.chat(stream=True)
        await world.chat()
        found = samples(world.metrics)
        assert found["millrace_time_to_first_token_seconds_count", "echo"] == 1
        assert round(found["millrace_time_to_first_token_seconds_sum", "echo"], 9) == 0.52
        assert found["millrace_time_per_output_token_seconds_count", "echo"] == 1
        assert round(found["millrace_time_per_output_token_seconds_sum", "echo"], 9) == 0.02

    play(scene, script=FakeScript(tokens=8, first_token_delay_s=0.5, token_delay_s=0.02))


def test_a_stream_of_one_token_has_no_time_between_tokens(play: Scene) -> None:
    """It counts for the first token alone."""

    async def scene(world: Any) -> None:
        await world.chat(stream=True)
        found = samples(world.metrics)
        assert found["millrace_time_to_first_token_seconds_count", "echo"] == 1
        assert found["millrace_time_per_output_token_seconds_count", "echo"] == 0

    play(scene, script=FakeScript(tokens=1))


def test_commits_and_background_work_are_seen() -> None:
    """How many pieces shared a commit and how long it took; when a job last ended well."""
    metrics = Metrics()
    metrics.committed(3, NS_PER_S // 4)
    metrics.worked("sweeper", 1_700_000_000 * NS_PER_S)
    found = samples(metrics)
    assert found["millrace_commit_batch_size_sum", ""] == 3
    assert found["millrace_commit_duration_seconds_sum", ""] == 0.25
    assert found["millrace_background_last_success_timestamp_seconds", "sweeper"] == 1_700_000_000


def test_the_version_and_the_process_are_seen() -> None:
    """What runs, and what the kernel says of it."""
    found = samples(Metrics())
    assert found["millrace_build_info", __version__] == 1
    assert found["process_open_fds", ""] > 0
    assert found["process_resident_memory_bytes", ""] > 0
