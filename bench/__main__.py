"""All benches in quick mode, one after the other: `python -m bench`. A quick look, not a measurement."""

import subprocess
import sys
from typing import Final

COMMANDS: Final = (
    ("bench.gateway", ("--seconds", "3", "--rounds", "1"), "requests and streams a second beside others; added latency"),
    ("bench.gateway", ("--streams", "--seconds", "3", "--rounds", "1"), "paced streams, 20 ms a token"),
    ("bench.gateway", ("--profile", "--seconds", "3"), "where the gateway's processor time goes"),
    ("bench.embedded", ("--seconds", "3", "--rounds", "1"), "tokens through Millrace over tokens straight from llama.cpp"),
    ("bench.ledger", ("--seconds", "1", "--rounds", "1"), "hold and settle a second beside a raw batched insert, both stores"),
    ("bench.soak", ("--requests", "5000"), "one worker for a long while: memory, files, threads, latency"),
    ("bench.keeping", ("--rows", "60000"), "roll-up, backup, export, deletion, and what a small write waits for meanwhile"),
)
"""Module, its quick options, and what its table shows. Without the options, and with --log, it is the real measurement."""


def main() -> int:
    """Run them all; 1 when one of them failed."""
    failed = []
    for module, options, shows in COMMANDS:
        print(f"\npython -m {' '.join((module, *options))}   # {shows}", flush=True)
        if subprocess.run([sys.executable, "-m", module, *options], check=False).returncode:
            failed.append(module)
    print("\nReal measurements: the same commands without --seconds and --rounds, with --log, on a quiet machine.")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
