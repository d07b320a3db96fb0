"""`[telemetry]`: a collector's base address, or none."""

import pytest

from millrace.base.errors import Reason, Refusal
from millrace.settings.table import Table
from millrace.settings.telemetry import Telemetry, parse_telemetry


def parse(**values: object) -> Telemetry:
    return parse_telemetry(Table(values, where="a.toml", path="telemetry"))


def test_without_an_endpoint_there_is_no_address() -> None:
    """Nothing is sent unless somebody says where."""
    assert parse().traces_url is None


@pytest.mark.parametrize("base", ["http://127.0.0.1:4318", "https://collector.example/otlp/"])
def test_spans_go_below_the_base_address(base: str) -> None:
    """The path of OTLP is appended, with one slash."""
    assert parse(otlp_endpoint=base).traces_url == base.rstrip("/") + "/v1/traces"


@pytest.mark.parametrize("wrong", ["127.0.0.1:4318", "grpc://127.0.0.1:4317", "http://", "http://127.0.0.1:4318/v1/traces"])
def test_what_is_no_base_address_is_refused(wrong: str) -> None:
    """Without http, without a host, or with the path that is appended anyway; the sentence shows what stood there."""
    with pytest.raises(Refusal) as refused:
        parse(otlp_endpoint=wrong)
    assert refused.value.reason is Reason.BAD_SETTING
    assert f"telemetry.otlp_endpoint = {wrong!r}" in refused.value.sentence


def test_a_password_in_the_address_is_refused_and_not_repeated() -> None:
    """A secret goes into the environment variable that the sentence names."""
    with pytest.raises(Refusal) as refused:
        parse(otlp_endpoint="http://user:hunter2@127.0.0.1:4318")
    assert "hunter2" not in refused.value.sentence
    assert "OTEL_EXPORTER_OTLP_HEADERS" in refused.value.sentence
