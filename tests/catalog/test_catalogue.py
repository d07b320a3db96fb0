"""Which model: what is found, what a key sees, and what it is told."""

import pytest

from millrace.base.errors import Reason, Refusal
from millrace.catalog.catalogue import Catalogue, unknown
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


def test_the_refusal_names_what_it_is_given() -> None:
    """The names are those that the caller may see; without one it says so."""
    assert unknown("gpt-4", ["millrace-tiny"]).sentence == "there is no model 'gpt-4'; on offer: millrace-tiny"
    assert unknown("gpt-4", []).sentence == "there is no model 'gpt-4'; no model is on offer to this key"


def test_a_model_is_looked_for_without_a_refusal() -> None:
    """For whoever knows of other models too."""
    assert OFFER.get("qwen3-8b") is QWEN
    assert OFFER.get("gpt-4") is None


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
