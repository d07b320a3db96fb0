"""What tuned models are called."""

from millrace.catalog.model import MODEL_NAME
from millrace.catalog.tuned.values import is_tuned, is_tuned_on, tuned_name


def test_a_name_says_base_tenant_and_wish() -> None:
    """The same job has the same name each time, another one another."""
    name = tuned_name("millrace-tiny", "acme", "ftjob_1", "shop")
    assert name.startswith("ft:millrace-tiny:acme:shop:")
    assert name == tuned_name("millrace-tiny", "acme", "ftjob_1", "shop")
    assert name != tuned_name("millrace-tiny", "acme", "ftjob_2", "shop")


def test_the_longest_name_is_a_model_s_name() -> None:
    """Whatever base, tenant and suffix are called, the name fits where names of models fit."""
    assert MODEL_NAME.fullmatch(tuned_name("b" * 128, "t" * 63, "ftjob_1", "s" * 64))
    assert MODEL_NAME.fullmatch(tuned_name("Qwen/Qwen3-8B", "t", "ftjob_1"))


def test_a_name_tells_its_base() -> None:
    """A long base by the part of it that the name has; another base is another."""
    assert is_tuned_on(tuned_name("qwen3", "acme", "j"), "qwen3")
    assert is_tuned_on(tuned_name("b" * 128, "acme", "j"), "b" * 128)
    assert not is_tuned_on(tuned_name("qwen3-8b", "acme", "j"), "qwen3")
    assert not is_tuned_on("qwen3", "qwen3")


def test_only_names_with_the_prefix_are_tuned() -> None:
    """Other names need not be looked up."""
    assert is_tuned("ft:anything")
    assert not is_tuned("qwen3-8b")
