"""The models on offer."""

from millrace.wire.models import ModelCard, render_model, render_model_list

CARD = ModelCard(
    id="qwen3-8b",
    created=1_700_000_000,
    owned_by="millrace",
    context_tokens=32768,
    max_output_tokens=8192,
    embeds=False,
    prices={"currency": "CNY", "input": "0.8", "output": "2.0"},
)
CARD_JSON = (
    b'{"id":"qwen3-8b","object":"model","created":1700000000,"owned_by":"millrace","context_tokens":32768,'
    b'"max_output_tokens":8192,"embeds":false,"prices":{"currency":"CNY","input":"0.8","output":"2.0"},"parent":null}'
)


def test_one_model() -> None:
    """A model has the API's four keys, its lengths and its prices as given."""
    assert render_model(CARD) == CARD_JSON


def test_the_list() -> None:
    """The list keeps its order; no model is an empty list."""
    assert render_model_list([CARD]) == b'{"object":"list","data":[' + CARD_JSON + b"]}"
    assert render_model_list([]) == b'{"object":"list","data":[]}'
