"""The metrics of several processes in one text."""

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from millrace.workers.merge import merge


def text_of(requests: int) -> str:
    registry = CollectorRegistry()
    counter = Counter("requests", "Requests, by model.", ["model"], registry=registry)
    counter.labels('a "b" {c} d').inc(requests)
    Histogram("seconds", "Time.", buckets=(1, 2), registry=registry).observe(requests)
    return generate_latest(registry).decode()


def test_each_sample_says_whose_it_is() -> None:
    """With labels and without, whatever stands in them; the result is read by Prometheus's own parser."""
    families = {family.name: family for family in text_string_to_metric_families(merge({0: text_of(1), 1: text_of(2)}))}
    requests = [sample for sample in families["requests"].samples if sample.name == "requests_total"]
    assert [(sample.labels, sample.value) for sample in requests] == [
        ({"worker": "0", "model": 'a "b" {c} d'}, 1),
        ({"worker": "1", "model": 'a "b" {c} d'}, 2),
    ]
    assert [sample.labels["worker"] for sample in families["seconds"].samples if sample.name == "seconds_sum"] == ["0", "1"]


def test_help_and_type_stand_once() -> None:
    """Prometheus refuses a text that says a family's type twice, or that goes back to a family."""
    lines = merge({0: text_of(1), 1: text_of(2), 2: text_of(3)}).splitlines()
    said = [line for line in lines if line.startswith("#")]
    assert len(said) == len(set(said))
    names = [line.partition("{")[0] for line in lines if line.startswith("requests_total")]
    first = lines.index(next(line for line in lines if line.startswith("requests_total")))
    assert all(line.startswith("requests_total") for line in lines[first : first + len(names)])


def test_nobody_has_nothing_to_say() -> None:
    """Without a worker there is no sample."""
    assert merge({}) == ""
