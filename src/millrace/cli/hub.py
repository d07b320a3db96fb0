"""`millrace hub`: what is published. With the home at hand all of it, as its operator; with --url what a key may."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Final, TypeVar

import typer

from millrace.base.errors import Reason, Refusal
from millrace.catalog.published import store
from millrace.catalog.published.depot import Depot
from millrace.catalog.published.values import Listed, Repository, Visibility
from millrace.cli.model_push import check_target
from millrace.cli.output import Facts, Table, Text, cell
from millrace.cli.shell import Shell, command, group
from millrace.settings.parse import declared
from millrace.store.database import Database
from millrace.store.transaction import Tx
from millrace.wire.hub import model_info, sibling

app: Final = group("hub", "Models that tenants publish here.")

LIST_MAX: Final = 100_000

NameArgument = Annotated[str, typer.Argument(metavar="OWNER/NAME", help="The model's name on the hub.")]
UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url", metavar="URL", help="Ask that cloud with MILLRACE_API_KEY, as a tenant; else this home.", show_default=False
    ),
]

T = TypeVar("T")


@command(app, "list", example="millrace hub list --search shop")
def list_(
    shell: Shell, search: Annotated[str, typer.Option("--search", metavar="TEXT", help="Only names with this in them.")] = "",
    url: UrlOption = None,
) -> None:  # fmt: skip
    """List what is published: private and public models, their newest commit, size and how often they were pulled."""
    if url is not None:
        forms = asyncio.run(_ask(shell, url, lambda hub: hub.list(search)))
    else:
        with shell.database() as db:
            forms = [_form(one) for one in db.read(lambda tx: store.listed(tx, "", search=search, limit=LIST_MAX, every=True))]
    rows = [
        (form["id"], "private" if form["private"] else "public", cell(form["sha"])[:12], str(form["usedStorage"]),
         str(form["downloads"]), form["lastModified"][:10])
        for form in forms
    ]  # fmt: skip
    shell.show(
        {"models": forms}, Table(("MODEL", "SEEN", "COMMIT", "BYTES", "PULLS", "CHANGED"), rows, frozenset({3, 4}))
    )


@command(app, "show", example="millrace hub show acme/shop-assistant")
def show(shell: Shell, name: NameArgument, url: UrlOption = None) -> None:
    """Show one published model with its files."""
    form: Mapping[str, Any]
    if url is not None:
        form = asyncio.run(_ask(shell, url, lambda hub: hub.show(name)))
    else:
        with shell.database() as db:
            form = db.read(lambda tx: _whole(tx, _existing(tx, name)))
    facts = [
        ("model", form["id"]), ("seen", "private" if form["private"] else "public"), ("commit", cell(form["sha"])),
        ("bytes", str(form["usedStorage"])), ("pulls", str(form["downloads"])), ("changed", form["lastModified"]),
    ]  # fmt: skip
    rows = [(one["rfilename"], str(one["size"]), one["lfs"]["sha256"]) for one in form["siblings"]]
    shell.show(form, Facts(facts), Text(""), Table(("FILE", "BYTES", "SHA-256"), rows, frozenset({1}), empty="no files yet"))


@command(app, "visibility", example="millrace hub visibility acme/shop-assistant public")
def visibility(
    shell: Shell, name: NameArgument,
    seen: Annotated[Visibility, typer.Argument(metavar="private|public", help="Who may pull it from now on.")],
    url: UrlOption = None,
) -> None:  # fmt: skip
    """Change who may pull a model: only its tenant, or everybody who reaches the server."""
    if url is not None:
        asyncio.run(_ask(shell, url, lambda hub: hub.show(name)))  # so that a mistyped name does not make a repository
        asyncio.run(_ask(shell, url, lambda hub: hub.make(name, seen.value)))
    else:
        with shell.database() as db:
            db.write_now(lambda tx: store.show(tx, _existing(tx, name), seen))
    shell.show({"id": name, "visibility": seen.value}, Text(f"{name} is {seen.value}"))


@command(app, "remove", example="millrace hub remove acme/shop-assistant")
def remove(shell: Shell, name: NameArgument, url: UrlOption = None) -> None:
    """Remove a published model with all its revisions; files that another one has too stay."""
    if url is not None:
        asyncio.run(_ask(shell, url, lambda hub: hub.remove(name)))
    else:
        with shell.database() as db:
            depot_of(shell, db).take_away(db.read(lambda tx: _existing(tx, name)))
    shell.show({"id": name, "removed": True}, Text(f"{name} is removed"))


def depot_of(shell: Shell, db: Database) -> Depot:
    """The hub of this home."""
    settings = declared(shell.home_path, shell.config).hub
    return Depot(db, settings.place(shell.home_path.absolute()), shell.ids, shell.clock, settings.quota_bytes)


async def _ask(shell: Shell, url: str, question: Callable[[Any], Awaitable[T]]) -> T:
    from millrace.cli.hub_access import hub_client  # an HTTP client takes longer to import than the rest takes to answer

    async with hub_client(shell, url) as hub:
        return await question(hub)


def _existing(tx: Tx, name: str) -> Repository:
    check_target(name)
    owner, _, rest = name.partition("/")
    found = store.existing(tx, owner, rest)
    if found is None:
        raise Refusal(Reason.NOT_FOUND, f"there is no published model {name[:200]!r}; 'millrace hub list' shows them all")
    return found


def _form(one: Listed) -> dict[str, Any]:
    repository = one.repository
    return model_info(
        owner=repository.owner, name=repository.name, commit=one.commit, size=one.size, pulls=one.pulls,
        private=repository.visibility is Visibility.PRIVATE, created_at=repository.created_at, changed_at=one.changed_at,
    )  # fmt: skip


def _whole(tx: Tx, repository: Repository) -> dict[str, Any]:
    head = store.head(tx, repository)
    files = () if head is None else store.files(tx, head)
    listed = Listed(
        repository=repository, commit=None if head is None else head.commit, pulls=store.pulls(tx, repository),
        changed_at=repository.created_at if head is None else head.created_at, size=sum(file.size for file in files),
    )  # fmt: skip
    return {**_form(listed), "siblings": [sibling(one.path, one.sha256, one.size, blobs=True) for one in files]}
