"""The extra `convert`: gguf and numpy. They are imported where they are used, so that everything else runs without them."""

import importlib.util

from millrace.base.errors import Reason, Refusal

PACKAGES = ("gguf", "numpy")


def check() -> None:
    """Raises BAD_SETTING, with the line that installs them, where a package is missing."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise Refusal(
            Reason.BAD_SETTING,
            f"converting weights needs {', '.join(missing)}, which is not here; get it with: pip install 'millrace[convert]'",
        )
