"""The folder of shared sets that is named on the command line."""

import argparse
from pathlib import Path

import pytest
from models.tiny.shared import shared_folder


def test_a_folder_with_the_sets_is_taken(tmp_path: Path) -> None:
    """Where there is a folder `dialogues`, the sets are read from there."""
    (tmp_path / "dialogues").mkdir()
    assert shared_folder(str(tmp_path)) == tmp_path


def test_a_folder_without_the_sets_is_refused(tmp_path: Path) -> None:
    """A folder in which no set would be found is named, and what to do instead; it is not silently read as empty."""
    with pytest.raises(argparse.ArgumentTypeError, match=r"no folder `dialogues`; leave --shared out") as refused:
        shared_folder(str(tmp_path))
    assert str(tmp_path) in str(refused.value)
