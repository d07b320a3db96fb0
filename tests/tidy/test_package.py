"""What the program reads at run time is in the wheel."""

import tomllib
from pathlib import PurePosixPath

from tests.tidy.repository import ROOT, SKIPPED, SRC, told


def test_every_data_file_is_packaged() -> None:
    """A file beside the code that no pattern of package-data matches is missing from an installation."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = [pattern.removeprefix("**/") for pattern in settings["tool"]["setuptools"]["package-data"]["millrace"]]
    findings = [
        str(path.relative_to(ROOT))
        for path in sorted(SRC.rglob("*"))
        if path.is_file() and path.suffix != ".py" and SKIPPED.isdisjoint(path.parts)
        and not any(PurePosixPath(path.name).match(pattern) for pattern in patterns)
    ]  # fmt: skip
    assert not findings, told(findings, "add the suffix to package-data of millrace in pyproject.toml")
