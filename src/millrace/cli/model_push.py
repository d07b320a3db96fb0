"""`millrace model push`: a model from here to a hub, which is another Millrace cloud or this one."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from millrace.base.errors import Reason, Refusal
from millrace.catalog.hub.show import Show
from millrace.catalog.published.values import Visibility, check_files, check_message
from millrace.catalog.weights.blobs import hash_file
from millrace.catalog.weights.values import NAME, StoredFile
from millrace.cli.model_weights import size_text
from millrace.cli.output import Text
from millrace.cli.shell import Shell, command
from millrace.settings.parse import declared
from millrace.settings.pulled import weights_of

WhatArgument = Annotated[
    str, typer.Argument(metavar="FOLDER|FILE|NAME", help="A folder, one file, or the name of a pulled model.")
]
TargetArgument = Annotated[
    str, typer.Argument(metavar="OWNER/NAME", help="What it is called on the hub; OWNER is the name of the key's tenant.")
]
UrlOption = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="The cloud; the one of this home unless given.", show_default=False),
]


def push(
    shell: Shell, what: WhatArgument, target: TargetArgument,
    public: Annotated[bool, typer.Option("--public", help="Everybody may pull it; else only its tenant.")] = False,
    message: Annotated[str, typer.Option("--message", metavar="TEXT", help="What is new, in a sentence.")] = "",
    url: UrlOption = None,
) -> None:  # fmt: skip
    """Publish a model under the tenant of MILLRACE_API_KEY. What the hub has is not sent again; interrupted, the next goes on.

    A repository that is there keeps who may see it, unless --public is given.
    """
    # Here, because an HTTP client and rich take longer to import than most commands take to answer.
    from millrace.cli.hub_access import hub_client  # aiohttp
    from millrace.cli.model_progress import pull_progress  # rich
    from millrace.client.hub import LocalFile  # aiohttp
    from millrace.wire.hub import CommitAnswer, PushedFile  # as the above

    check_target(target)
    check_message(message)
    files = list(found(shell, what))
    check_files([StoredFile(path=path, sha256="0" * 64, size=0) for path, _, _ in files])
    with pull_progress(shell) as show:
        listed = [
            LocalFile(file=PushedFile(path=one.path, sha256=one.sha256, size=one.size), at=at)
            for one, at in hashed(files, show)
        ]
        for one in listed:
            show.begin(one.file.path, one.file.size, 0)

        async def run() -> tuple[dict[str, Any], CommitAnswer]:
            async with hub_client(shell, url) as hub:
                made = dict(await hub.make(target, Visibility.PUBLIC.value if public else None))
                return made, await hub.push(target, listed, message, show.add)

        made, commit = asyncio.run(run())
    size = sum(one.file.size for one in listed)
    form = {
        "id": commit.id, "commit": commit.commit, "visibility": made["visibility"], "files": len(listed), "size": size,
    }  # fmt: skip
    said = f"{commit.id} ({made['visibility']}) is at commit {commit.commit}: {len(listed)} files, {size_text(size)}"
    host = (url or own_url(shell)).split("//", 1)[-1].rstrip("/")
    shell.show(form, Text(f"{said}\nmillrace model pull millrace://{host}/{commit.id}"))


def check_target(target: str) -> None:
    """Raises INVALID_REQUEST for what is not OWNER/NAME."""
    owner, slash, name = target.partition("/")
    if not (owner and slash and name) or "/" in name:
        raise Refusal(Reason.INVALID_REQUEST, f"{target[:80]!r} is not OWNER/NAME, such as acme/shop-assistant", param="target")


def own_url(shell: Shell) -> str:
    """Where the server of this home listens, as its settings say."""
    server = declared(shell.home_path, shell.config).server
    host = "127.0.0.1" if server.host in ("0.0.0.0", "::") else server.host  # noqa: S104 - where one listens, one answers
    return f"http://{f'[{host}]' if ':' in host else host}:{server.port}"


def found(shell: Shell, what: str) -> Iterator[tuple[str, Path, str | None]]:
    """Path on the hub, file here, and its SHA-256 where that is known. Hidden files and folders stay here."""
    place = Path(what).expanduser()
    if place.is_file():
        yield place.name, place, None
    elif place.is_dir():
        for path in sorted(place.rglob("*")):
            inner = path.relative_to(place)
            if path.is_file() and not any(part.startswith(".") for part in inner.parts):
                yield inner.as_posix(), path, None
    elif NAME.fullmatch(what):
        weights = weights_of(shell.home_path)
        for file in weights.find(what).files:
            yield file.path, weights.blobs.path(file.sha256), file.sha256
    else:
        raise Refusal(Reason.NOT_FOUND, f"there is no folder, file or pulled model {what[:200]!r}", param="what")


def hashed(files: Sequence[tuple[str, Path, str | None]], show: Show) -> Iterator[tuple[StoredFile, Path]]:
    """Each with its SHA-256, which is read where it is not known."""
    for path, at, known in files:
        try:
            size = at.stat().st_size
            sha256 = known or _hash(path, at, size, show)
        except OSError as error:
            raise Refusal(Reason.NOT_FOUND, f"{at} cannot be read: {error.strerror}") from error
        yield StoredFile(path=path, sha256=sha256, size=size), at


def _hash(path: str, at: Path, size: int, show: Show) -> str:
    label = f"reading {path}"
    show.begin(label, size, 0)
    with at.open("rb") as opened:
        return hash_file(opened.read, lambda count: show.add(label, count))[0]


def register(app: typer.Typer) -> None:
    command(app, "push", example="millrace model push ./shop-assistant acme/shop-assistant --public")(push)
