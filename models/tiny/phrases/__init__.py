"""What people say and are answered, as text: one phrase a line, `# name` opens a section, `;` is a remark."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from zlib import crc32

Phrases = Mapping[str, tuple[str, ...]]


def read_phrases(name: str) -> Phrases:
    """The sections of `name`.txt beside this file; an empty or doubled section is a bug in the text and raises."""
    sections: dict[str, list[str]] = {}
    section = ""
    for line in Path(__file__).with_name(f"{name}.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            section = line[2:]
            if section in sections:
                raise ValueError(f"{name}.txt has two sections {section!r}")
            sections[section] = []
        elif line and not line.startswith(";"):
            sections[section].append(line)
    if empty := [section for section, lines in sections.items() if not lines]:
        raise ValueError(f"{name}.txt has empty sections: {empty}")
    return {section: tuple(lines) for section, lines in sections.items()}


def split(phrases: Phrases) -> tuple[Phrases, Phrases]:
    """What training may use, and about every seventh line, which is kept for examination; each section has some of both."""
    training, held_out = {}, {}
    for section, lines in phrases.items():
        kept = {line for line in lines if crc32(line.encode()) % 7 == 0} or {lines[-1]}
        training[section] = tuple(line for line in lines if line not in kept) or lines
        held_out[section] = tuple(line for line in lines if line in kept)
    return training, held_out


def pairs(phrases: Phrases) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Each section with its `_answers`; a section without them is left out."""
    return [(lines, phrases[f"{name}_answers"]) for name, lines in phrases.items() if f"{name}_answers" in phrases]
