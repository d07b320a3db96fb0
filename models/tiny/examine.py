"""Counts how often an exported model answers invented shops truly: dialogues that training never saw, asked in llama.cpp.

Run: python -m models.tiny.examine [--model FILE] [--dialogues 100]      needs the wheel xllamacpp
Each question is asked after the true dialogue up to it, at temperature 0. What is not covered: phrases that the generator
does not know, dialogues that the model itself led astray, and whether a sentence without figures is the right one.
"""

from __future__ import annotations

import argparse
import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

from models.tiny.conversation import Dialogue
from models.tiny.dialogues import make_dialogue
from models.tiny.talk import BUNDLED, ask, start

SEED = "examination"
FIGURE = re.compile(r"\d[\d.:]*\d|\d")


def counted(told: str, wanted: str, said: str, ended: str) -> Counter[str]:
    """One answer as counts: ended by itself; the same words; figures that are all told; figures that are the right ones."""
    figures = FIGURE.findall(said)
    count = Counter(answers=1, ended=int(ended == "stop"), same_words=int(said.strip() == wanted))
    if figures:
        count += Counter(with_figures=1, figures_told=int(all(figure in told for figure in figures)))
    if needed := FIGURE.findall(wanted):
        count += Counter(needing_figures=1, figures_right=int(set(figures) == set(needed)))
    return count


def examine(server: Any, dialogue: Dialogue) -> Counter[str]:
    """All answers of one dialogue."""
    total: Counter[str] = Counter()
    for place, turn in enumerate(dialogue):
        if turn.role == "assistant":
            before = [{"role": earlier.role, "content": earlier.text} for earlier in dialogue[:place]]
            said, ended = ask(server, before, temperature=0.0, seed=1)
            told = " ".join(earlier.text for earlier in dialogue[:place])
            total += counted(told, turn.text, said, ended)
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=BUNDLED)
    parser.add_argument("--dialogues", type=int, default=100)
    given = parser.parse_args()
    server = start(given.model)
    total: Counter[str] = Counter()
    for number in range(given.dialogues):
        total += examine(server, make_dialogue(random.Random(f"{SEED}/{number}")))
    for name, count in total.items():
        print(f"{name:16} {count}")


if __name__ == "__main__":
    main()
