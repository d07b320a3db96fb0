"""Which files of a repository make a model that can be served: GGUF where there is one, else safetensors.

Never pickles (`.bin`, `.pt`, `.ckpt`), which run code when they are loaded, and never Python. Pure.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Final, NamedTuple

from millrace.base.errors import Reason, Refusal
from millrace.catalog.hub.values import Choice, Listing, RemoteFile

PREFERRED: Final = (
    "Q4_K_M", "Q8_0", "Q5_K_M", "Q6_K", "Q4_K_S", "Q5_K_S", "Q4_0", "Q5_0", "IQ4_XS", "IQ4_NL", "Q3_K_M", "BF16", "F16", "F32",
)  # fmt: skip
"""Quantisations, the first that there is being taken: Q4_K_M is a quarter of the size and nearly as good; then what is
better and larger, then what is worse, last what is not quantised."""

SHOWN_MAX: Final = 20

BESIDE: Final = frozenset(
    [
        "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json",
        "merges.txt", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja", "chat_template.json",
        "model.safetensors.index.json",
    ]
)  # fmt: skip
"""What belongs to weights in safetensors form, where it is there."""

_PART: Final = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.IGNORECASE)
PAPERS: Final = re.compile(r"(README\.md|(LICEN[CS]E|NOTICE)(\.\w+)?)", re.IGNORECASE)
_PICKLES: Final = (".bin", ".pt", ".pth", ".ckpt")


class Model(NamedTuple):
    """One GGUF model of a repository: a file, or all parts of a split one in order."""

    parts: tuple[RemoteFile, ...]

    @property
    def first(self) -> str:
        return self.parts[0].path

    @property
    def kind(self) -> str | None:
        """Its quantisation, as its name says."""
        stem = self.first.upper()
        return next((kind for kind in PREFERRED if re.search(rf"(?<![A-Z0-9]){kind}(?![A-Z0-9_])", stem)), None)


def choose(listing: Listing, file: str | None, where: str) -> Choice:
    """The files to fetch from `where`, a REF for refusals. Raises NOT_FOUND, which names what there is."""
    models = gguf_models(listing.files, where)
    papers = tuple(one for one in listing.files if PAPERS.fullmatch(one.path))
    if file is not None:
        return _named(models, file, papers, where)
    if models:
        return _best(models, papers, where)
    return _safetensors(listing.files, papers, where)


def gguf_models(files: Iterable[RemoteFile], where: str) -> tuple[Model, ...]:
    """The GGUF models among the files. Raises NOT_FOUND for a split one that lacks a part."""
    groups: dict[str, list[RemoteFile]] = {}
    for file in sorted(files, key=lambda one: one.path):
        name = PurePosixPath(file.path).name.lower()
        if name.endswith(".gguf") and not name.startswith("mmproj"):
            groups.setdefault(split_name(file.path)[0], []).append(file)
    for stem, parts in groups.items():
        expected = part_paths(parts[0].path)
        lacking = sorted({*expected} - {part.path for part in parts})
        if lacking:
            raise _refusal(f"{where} has the model {stem} in {len(expected)} parts, and {lacking[0]} is not there")
    return tuple(Model(tuple(parts)) for parts in groups.values())


def split_name(path: str) -> tuple[str, int]:
    """Of a part of a split model its stem and how many parts there are; of another file itself and 1."""
    part = _PART.fullmatch(path)
    return (f"{part['stem']} ({part['count']} parts)", int(part["count"])) if part else (path, 1)


def part_paths(path: str) -> tuple[str, ...]:
    """The paths of all parts of the model that this file is of."""
    part = _PART.fullmatch(path)
    if part is None:
        return (path,)
    suffix = path[-len(".gguf") :]
    return tuple(f"{part['stem']}-{number:05}-of-{part['count']}{suffix}" for number in range(1, int(part["count"]) + 1))


def _named(models: Sequence[Model], file: str, papers: tuple[RemoteFile, ...], where: str) -> Choice:
    for model in models:
        if any(part.path == file for part in model.parts):
            others = tuple(other.first for other in models if other is not model)
            return _gguf(model, papers, f"{file} was asked for", others)
    if models:
        raise _refusal(f"{where}: there is no {file!r}; there are {_shown(model.first for model in models)}")
    raise _refusal(f"{where}: there is no {file!r} and no GGUF file at all; leave the file out to fetch its safetensors")


def _best(models: Sequence[Model], papers: tuple[RemoteFile, ...], where: str) -> Choice:
    ranked = {kind: [model for model in models if model.kind == kind] for kind in (*PREFERRED, None)}
    kind, found = next((kind, found) for kind, found in ranked.items() if found)
    if len(found) > 1:
        raise _refusal(f"{where} has several models; name one with {where}:FILE: {_shown(model.first for model in models)}")
    others = tuple(model.first for model in models if model is not found[0])
    why = "it is the only GGUF file" if not others else f"{kind} comes first in {', '.join(PREFERRED[:4])} …"
    return _gguf(found[0], papers, why, others)


def _gguf(model: Model, papers: tuple[RemoteFile, ...], why: str, others: tuple[str, ...]) -> Choice:
    return Choice(format="gguf", files=(*model.parts, *papers), serves=model.first, why=why, others=others)


def _safetensors(files: Sequence[RemoteFile], papers: tuple[RemoteFile, ...], where: str) -> Choice:
    tensors = [file for file in files if file.path.endswith(".safetensors") and "/" not in file.path]
    tensors = [file for file in tensors if file.path.startswith("model")] or tensors
    if not tensors:
        raise _refusal(_nothing(files, where))
    if not any(file.path == "config.json" for file in files):
        raise _refusal(f"{where} has safetensors and no config.json, which says what they are")
    beside = tuple(file for file in files if file.path in BESIDE)
    return Choice(
        format="safetensors", files=(*tensors, *beside, *papers), serves=None, why="there is no GGUF file, and safetensors are"
    )


def _nothing(files: Sequence[RemoteFile], where: str) -> str:
    if any(file.path.endswith(_PICKLES) for file in files):
        return (
            f"{where} has its weights only as pickles ({', '.join(_PICKLES)}), which run code when they are loaded; "
            "look for the same model as GGUF or safetensors"
        )
    return f"{where} has neither GGUF files nor safetensors; there are {_shown(file.path for file in files)}"


def _shown(paths: Iterable[str]) -> str:
    names = sorted(paths)
    more = len(names) - SHOWN_MAX
    return (", ".join(names[:SHOWN_MAX]) or "no files") + (f" and {more} more" if more > 0 else "")


def _refusal(sentence: str) -> Refusal:
    return Refusal(Reason.NOT_FOUND, sentence, param="ref")
