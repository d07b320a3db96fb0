"""A folder or file of this machine as a source: what hubs cannot be reached for, and what was made here."""

import os
from pathlib import Path
from typing import Final

from millrace.base.errors import Reason, Refusal
from millrace.catalog.hub.choice import part_paths
from millrace.catalog.hub.ref import PathRef
from millrace.catalog.hub.values import Listing, RemoteFile
from millrace.catalog.weights.values import check_path

FILES_MAX: Final = 10_000
"""A folder with more is not a model's."""


def local_listing(typed: PathRef) -> tuple[Listing, str | None]:
    """What is there, with each file's place as its `url`; and the file to take, where a file was named.

    Raises NOT_FOUND.
    """
    path = Path(absolute(typed).path)
    try:
        if path.is_file():
            return Listing(revision="", files=_beside(path)), path.name
        if path.is_dir():
            return Listing(revision="", files=_inside(path)), None
    except OSError as error:
        raise Refusal(Reason.NOT_FOUND, f"{path} cannot be read: {error.strerror}", param="ref") from error
    raise Refusal(Reason.NOT_FOUND, _nothing(typed.path), param="ref")


def absolute(ref: PathRef) -> PathRef:
    """The same place, wherever a later command is run; links stay as they were named."""
    return PathRef(path=os.path.abspath(Path(ref.path).expanduser()))  # noqa: PTH100


def _beside(path: Path) -> tuple[RemoteFile, ...]:
    """A GGUF file with the other parts of its model."""
    if path.suffix.lower() != ".gguf":
        raise Refusal(Reason.INVALID_REQUEST, f"{path} is no .gguf file; of safetensors name the folder", param="ref")
    paths = [path.with_name(name) for name in part_paths(path.name)]
    return tuple(_file(one, one.name) for one in paths if one.is_file())


def _inside(folder: Path) -> tuple[RemoteFile, ...]:
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            file = Path(place) / name
            if not name.startswith(".") and file.is_file():
                found.append(_file(file, file.relative_to(folder).as_posix()))
        if len(found) > FILES_MAX:
            raise Refusal(Reason.INVALID_REQUEST, f"{folder} has over {FILES_MAX} files: not a model's own", param="ref")
    return tuple(found)


def _file(file: Path, path: str) -> RemoteFile:
    try:
        check_path(path)
    except ValueError as error:
        raise Refusal(Reason.INVALID_REQUEST, f"{file}: {error}", param="ref") from None
    return RemoteFile(path=path, url=str(file), size=file.stat().st_size)


def _nothing(typed: str) -> str:
    owner, slash, name = typed.partition("/")
    if slash and name and "/" not in name and not owner.startswith((".", "~")) and owner:
        return f"there is no folder or file {typed} here; the repository of that name on Hugging Face is hf:{typed}"
    return f"there is no folder or file {typed} here"
