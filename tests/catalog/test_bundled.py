"""The model inside the package: there and sound, or refused with what to do."""

from pathlib import Path

import pytest
from tests.catalog.gguf import SOUND

from millrace.base.errors import Reason, Refusal
from millrace.catalog import bundled


def test_the_offer_is_what_the_file_says(tmp_path: Path) -> None:
    """The context comes from the file; the output leaves room for the question."""
    file = tmp_path / "millrace-tiny.gguf"
    file.write_bytes(SOUND)
    model = bundled.bundled_model(file)
    assert (model.name, model.engine, model.path) == ("millrace-tiny", "embedded", file)
    assert (model.context_tokens, model.max_output_tokens) == (1024, 512)
    assert (model.slots, model.created, model.owned_by) == (bundled.SLOTS, bundled.CREATED, "millrace")


def test_without_the_file_the_remedy_is_said(tmp_path: Path) -> None:
    """An installation that lacks the file says which, and what can be done."""
    with pytest.raises(Refusal, match=r"tiny\.gguf is missing\); install the complete millrace wheel") as caught:
        bundled.bundled_model(tmp_path / "millrace-tiny.gguf")
    assert caught.value.reason is Reason.BAD_SETTING


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    """A file that was cut short stops the start."""
    file = tmp_path / "millrace-tiny.gguf"
    file.write_bytes(SOUND[:-1])
    with pytest.raises(Refusal, match="cut short"):
        bundled.bundled_model(file)


def test_the_package_s_own_file_is_sound() -> None:
    """The file that ships can be read and is small enough to ship."""
    model = bundled.bundled_model()
    assert model.context_tokens >= 512
    assert bundled.PATH.stat().st_size < 100 * 1024 * 1024
