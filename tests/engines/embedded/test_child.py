"""What the child does around llama.cpp."""

import os
from pathlib import Path

from millrace.engines.embedded.child import bound_log, first_error

LOG = b"""0.00.003 I srv  init: build_info
0.00.007 E gguf_init_from_reader: failed to read magic
0.00.008 E llama_model_load: error loading model
"""


def test_the_first_error_of_the_log_is_the_reason(tmp_path: Path) -> None:
    """Later ones are its consequences."""
    file = tmp_path / "log"
    file.write_bytes(LOG)
    descriptor = os.open(file, os.O_RDONLY)
    assert first_error(descriptor) == "gguf_init_from_reader: failed to read magic"
    os.close(descriptor)


def test_a_log_beyond_its_bound_is_emptied(tmp_path: Path) -> None:
    """And goes on from its beginning."""
    file = tmp_path / "log"
    descriptor = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, LOG)
    bound_log(descriptor, len(LOG))
    assert file.read_bytes() == LOG
    bound_log(descriptor, len(LOG) - 1)
    os.write(descriptor, b"next\n")
    assert file.read_bytes() == b"next\n"
    os.close(descriptor)
