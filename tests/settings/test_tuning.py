"""`[tuning]` of millrace.toml."""

import pytest

from millrace.base.errors import Refusal
from millrace.settings.parse import parse_settings
from millrace.settings.tuning import Tuning


def read(text: str) -> Tuning:
    return parse_settings(text, "millrace.toml").tuning


def test_the_settings_are_read() -> None:
    """Each has its default; a cluster is named by its address."""
    assert read("") == Tuning()
    assert read('[tuning]\ndevice = "cuda"\nray = "10.0.0.1:6379"') == Tuning(device="cuda", ray="10.0.0.1:6379")
    assert read('[tuning]\ndevice = "cpu"\nray = "auto"') == Tuning(device="cpu", ray="auto")


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        ('device = "gpu"', "tuning.device"), ("device = 1", "tuning.device"), ("gpus = 2", "tuning.gpus"),
        ('device = "cpu"\nray = "ray://head:10001"', "tuning.ray"), ('device = "cpu"\nray = ""', "tuning.ray"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(lines: str, named: str) -> None:
    """A device, an address or a key that nobody knows stops the start, by name."""
    with pytest.raises(Refusal, match=named):
        read(f"[tuning]\n{lines}")


def test_a_cluster_has_to_be_told_its_device() -> None:
    """Ray gives a GPU to whoever asks for one, so `auto` would always train on the CPU there: it is refused."""
    with pytest.raises(Refusal, match="cpu or cuda where ray is set"):
        read('[tuning]\nray = "10.0.0.1:6379"')
