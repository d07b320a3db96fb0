"""The metrics of several processes as one text: each sample with the worker that it is from. Pure.

Nothing is added up: a sum of counters that begin anew with each process would run backwards when one is replaced, and
Prometheus, which sees each worker's beginning, adds up rightly (`sum without (worker) (rate(…))`).
"""

from collections.abc import Mapping

LABEL = "worker"


def merge(texts: Mapping[int, str]) -> str:
    """Texts in Prometheus's format by worker; a family's help and type, which each text has, stand once before all samples."""
    families: dict[str, list[str]] = {}
    seen: set[str] = set()
    for number, text in sorted(texts.items()):
        lines: list[str] = []
        for line in text.splitlines():
            if line.startswith("# "):
                family = line.split(" ", 3)[2]
                lines = families.setdefault(family, [])
                if line not in seen:
                    seen.add(line)
                    lines.append(line)
            elif line:
                lines.append(_labelled(line, number))
    return "".join(f"{line}\n" for lines in families.values() for line in lines)


def _labelled(sample: str, number: int) -> str:
    """'name{a="b"} 1' → 'name{worker="0",a="b"} 1'. A name has neither a brace nor a space."""
    brace, space = sample.find("{"), sample.find(" ")
    label = f'{LABEL}="{number}"'
    if 0 <= brace < space:
        return f"{sample[:brace]}{{{label},{sample[brace + 1 :]}"
    return f"{sample[:space]}{{{label}}}{sample[space:]}"
