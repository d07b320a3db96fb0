"""The model that comes inside the package: small enough for a laptop's processor, real from weights to bill."""

from importlib.resources import files
from pathlib import Path
from typing import Final

from millrace.base.errors import Reason, Refusal
from millrace.catalog.gguf_header import read_header
from millrace.catalog.model import Model

NAME: Final = "millrace-tiny"

CREATED: Final = 1_795_392_000
"""2026-11-23, the day it was first made."""

SLOTS: Final = 4
"""Four answers at once keep two processor cores busy; more would make each of them slow."""

MAX_OUTPUT_TOKENS: Final = 512
"""Its answers are a few sentences; one that is longer has lost its way. Half of the context where that is less."""


PATH: Final = Path(str(files("millrace.catalog"))) / "bundled" / f"{NAME}.gguf"


def bundled_model(path: Path = PATH) -> Model:
    """What is on offer when nothing else is. Raises BAD_SETTING when the file is missing or damaged."""
    if not path.is_file():
        raise Refusal(
            Reason.BAD_SETTING,
            f"the bundled model {NAME} is not in this installation ({path} is missing); "
            "install the complete millrace wheel, or list your own [[models]] in millrace.toml",
        )
    context = read_header(path).context_tokens
    return Model(
        name=NAME, engine="embedded", context_tokens=context, max_output_tokens=min(MAX_OUTPUT_TOKENS, context // 2),
        slots=SLOTS, path=path, created=CREATED,
    )
