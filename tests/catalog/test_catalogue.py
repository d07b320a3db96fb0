"""Which model: what is found, what a key sees, and what it is told."""

import pytest

from millrace.base.errors import Reason, Refusal
from millrace.catalog.catalogue import Catalogue
from millrace.catalog.model import MODEL_NAME, Model


def model(name: str) -> Model:
    return Model(name=name, engine="fake", context_tokens=1024, max_output_tokens=512, slots=1)


QWEN, TINY = model("qwen3-8b"), model("millrace-tiny")
OFFER = Catalogue([QWEN, TINY])


def test_a_model_is_found_by_its_exact_name() -> None:
    """The name decides, letter by letter."""
    assert OFFER.find("qwen3-8b") is QWEN
    assert OFFER.find("millrace-tiny") is TINY


@pytest.mark.parametrize("name", ["", "Qwen3-8B", "qwen3-8b ", "qwen3"])
def test_an_unknown_model_is_not_found(name: str) -> None:
    """The refusal names what was asked for and what there is."""
    with pytest.raises(Refusal, match="on offer: qwen3-8b, millrace-tiny") as caught:
        OFFER.find(name)
    assert (caught.value.reason, caught.value.param) == (Reason.MODEL_NOT_FOUND, "model")
    assert repr(name) in caught.value.sentence


def test_a_limited_key_is_not_told_of_other_models() -> None:
    """The stranger learns only of the models that its key may use."""
    with pytest.raises(Refusal) as caught:
        OFFER.find("gpt-4", among=frozenset({"millrace-tiny"}))
    assert "millrace-tiny" in caught.value.sentence
    assert "qwen3-8b" not in caught.value.sentence
    with pytest.raises(Refusal, match="no model is on offer to this key"):
        OFFER.find("gpt-4", among=frozenset({"gone"}))


def test_a_refusal_stays_short() -> None:
    """Neither a thousand models nor a name of a megabyte make a page of a refusal."""
    large = Catalogue(model(f"model-{number}") for number in range(1000))
    with pytest.raises(Refusal, match=r"and 980 more \(GET /v1/models\)") as caught:
        large.find("x" * 1_000_000)
    assert len(caught.value.sentence) < 600


def test_a_key_sees_what_it_may_use() -> None:
    """All without a list; with one, those of it that there are, in the catalogue's order."""
    assert OFFER.visible(None) == (QWEN, TINY)
    assert OFFER.visible(frozenset({"millrace-tiny", "gone"})) == (TINY,)
    assert OFFER.visible(frozenset({"millrace-tiny", "qwen3-8b"})) == (QWEN, TINY)


def test_one_name_is_one_model() -> None:
    """Two models of one name are a bug of whoever made the catalogue."""
    with pytest.raises(ValueError, match="twice"):
        Catalogue([QWEN, model("qwen3-8b")])


@pytest.mark.parametrize("name", ["qwen3-8b", "Qwen/Qwen3-8B", "llama3.1:8b", "a@v1+b", "x" * 128])
def test_usual_names_are_names(name: str) -> None:
    """What hubs and servers call their models can be offered here."""
    assert MODEL_NAME.fullmatch(name)


@pytest.mark.parametrize("name", ["", "a b", "a,b", "-a", "/a", "a\n", "模型", "x" * 129])
def test_odd_names_are_none(name: str) -> None:
    """A name with a space, a comma, a line break or a strange beginning is none."""
    assert not MODEL_NAME.fullmatch(name)
