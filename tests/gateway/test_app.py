"""Paths, methods, bodies, health: what the application does around the handlers."""

from collections.abc import Callable
from typing import Any

from millrace.base.errors import Reason
from millrace.gateway.refusals import STATUS
from millrace.settings.limits import Limits

Scene = Callable[..., None]


def test_every_reason_has_a_status() -> None:
    """No refusal is without an HTTP status."""
    assert set(STATUS) == set(Reason)


def test_an_unknown_path_and_a_wrong_method_are_named(play: Scene) -> None:
    """404 names the path, 405 the method that is taken; both before any key is asked for."""

    async def scene(world: Any) -> None:
        unknown = await world.call("GET", "/v1/nothing", key="")
        assert (unknown.status, unknown.error["code"]) == (404, "not_found")
        wrong = await world.call("GET", "/v1/chat/completions", key="")
        assert (wrong.status, wrong.error["code"]) == (405, "method_not_allowed")

    play(scene)


def test_malformed_json_is_refused_with_its_position(play: Scene) -> None:
    """Broken JSON is 400 and says where."""

    async def scene(world: Any) -> None:
        answer = await world.call("POST", "/v1/chat/completions", b'{"model": "echo",\n  oops}')
        assert answer.status == 400
        assert "line 2" in answer.error["message"]

    play(scene)


def test_a_body_over_the_limit_is_refused_before_it_is_read(play: Scene) -> None:
    """A declared length over the limit and a body that turns out longer are both 413, and the connection is closed."""

    async def scene(world: Any) -> None:
        declared = await world.call("POST", "/v1/chat/completions", b"{}", headers={"content-length": "99999"})
        longer = await world.call("POST", "/v1/chat/completions", b"x" * 5000)
        for answer in (declared, longer):
            assert (answer.status, answer.error["code"]) == (413, "request_too_large")
            assert answer.headers["connection"] == "close"

    play(scene, limits=Limits(body_bytes_max=2000))


def test_a_client_that_leaves_before_its_body_is_whole_is_nobodys_error(play: Scene) -> None:
    """A connection that ends in the middle of a request is counted and nothing else happens."""

    async def scene(world: Any) -> None:
        answer = await world.call("POST", "/v1/chat/completions", leave_in_body=True)
        assert answer.status == 0
        assert 'millrace_refusals_total{reason="client_gone"} 1.0' in world.metrics.render().decode()

    play(scene)


def test_health_needs_no_key_and_readiness_names_the_model_that_is_not(play: Scene) -> None:
    """/healthz is 200 while alive; /readyz is 503 while a model is not ready and says which."""

    async def scene(world: Any) -> None:
        assert (await world.call("GET", "/healthz", key="")).json == {"status": "ok"}
        ready = await world.call("GET", "/readyz", key="")
        assert ready.status == 503
        assert ready.json["models"] == {"echo": "ready", "spare": "declared"}

    play(scene)


def test_metrics_count_requests_tokens_and_refusals(play: Scene) -> None:
    """Each settled request and each refusal shows in /metrics."""

    async def scene(world: Any) -> None:
        await world.chat()
        await world.chat(model="nothing")
        text = (await world.call("GET", "/metrics", key="")).body.decode()
        assert 'millrace_requests_total{model="echo",status="completed"} 1.0' in text
        assert 'millrace_tokens_total{class="output",model="echo"} 8.0' in text
        assert 'millrace_refusals_total{reason="model_not_found"} 1.0' in text
        assert 'millrace_engine_ready{model="echo"} 1.0' in text

    play(scene)


def test_other_paths_go_to_the_pages(play: Scene) -> None:
    """What is not under /v1 is the pages' to answer."""

    async def scene(world: Any) -> None:
        answer = await world.call("GET", "/somewhere", key="")
        assert answer.body == b"no such page"

    play(scene)
