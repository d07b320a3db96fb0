"""The example of tool calling, run as a developer would, against a cloud with the bundled model."""

import os
import subprocess
import sys
from pathlib import Path

from tests.races.cloud import Cloud

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "shop_chat.py"


def test_the_example_talks_ten_turns(tmp_path: Path) -> None:
    """Each of the ten questions is answered, the visitor's orders are looked up, and nobody goes round in circles."""
    cloud = Cloud(tmp_path / "home")
    cloud.start()
    try:
        settings = {"MILLRACE_URL": f"{cloud.url}/v1", "MILLRACE_API_KEY": cloud.key}
        done = subprocess.run(
            [sys.executable, str(EXAMPLE)], check=False, env=os.environ | settings, capture_output=True, text=True, timeout=120
        )
    finally:
        assert cloud.stop() == 0
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    answers = [line for line in lines if line.startswith("  ") and not line.startswith("    ")]
    assert len([line for line in lines if line.startswith("> ")]) == len(answers) == 10
    assert all(answer.strip() for answer in answers)
    for number in ("HT-20417", "HT-20433"):
        assert f'get_order({{"order_id":"{number}"}})' in done.stdout.replace('": "', '":"')
    assert "(It went on calling.)" not in done.stdout
