"""docs/reference/metrics.md: every metric is there as the program explains it."""

import re
from pathlib import Path
from typing import Final

from millrace.gateway.metrics import Metrics

PAGE: Final = (Path(__file__).parents[2] / "docs" / "reference" / "metrics.md").read_text("utf-8")


def test_every_metric() -> None:
    """Each metric stands in the table with its kind and its help text, and no other does."""
    metrics = Metrics()
    metrics.audited(0, 0, 0, 0)
    listed = {tuple(row) for row in re.findall(r"^\| `(\w+)` \| (\w+) \| .*? \| (.+) \|$", PAGE, re.MULTILINE)}
    assert listed == {
        (family.name + ("_total" if family.type == "counter" else ""), family.type, family.documentation)
        for family in metrics.registry.collect()
    }
