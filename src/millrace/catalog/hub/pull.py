"""A pull: from a REF to a model in the store.

List what the source has, choose, look whether there is room, fetch what is not here, read what the files say of the model,
and write its manifest. Everything before the last step can be killed at any moment and goes on from where it was.
"""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from millrace.base.clock import Clock
from millrace.base.errors import Reason, Refusal
from millrace.catalog.hub.answers import key_of, total_of, validator_of
from millrace.catalog.hub.choice import choose, part_paths
from millrace.catalog.hub.door import Door, Passing, Patience, Refused
from millrace.catalog.hub.local import absolute, local_listing
from millrace.catalog.hub.noes import refusal_of, unreachable
from millrace.catalog.hub.partial import held_bytes
from millrace.catalog.hub.ref import HubRef, PathRef, Ref, UrlRef, default_name, render_ref, source_of
from millrace.catalog.hub.show import Show
from millrace.catalog.hub.site import Site, site_of
from millrace.catalog.hub.transfer import PIECE_BYTES, Transfer, together
from millrace.catalog.hub.values import Choice, Listing, RemoteFile
from millrace.catalog.weights.facts import read_facts
from millrace.catalog.weights.values import Format, Manifest, StoredFile, check_name
from millrace.catalog.weights.weights import Weights

CONTACT_ATTEMPTS: Final = 3
"""For the first word with a source: whoever is offline wants to know soon."""

SPARE_BYTES: Final = 64 << 20
"""Left free on the disk: the database of the home lies there too."""

T = TypeVar("T")


class Pulled(Struct, frozen=True, kw_only=True):
    """What a pull did."""

    manifest: Manifest
    why: str
    """Why these files."""
    others: tuple[str, ...]
    """What else the source has."""
    fetched: int
    """Bytes that were not here before."""


class Puller:
    """Everything that a pull needs from outside. `free_bytes` says how much room a folder's disk has."""

    def __init__(
        self, weights: Weights, clock: Clock, environment: Mapping[str, str], show: Show, *, lanes: int,
        patience: Patience = Patience(), piece_bytes: int = PIECE_BYTES,  # noqa: B008 - frozen
        free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
    ) -> None:  # fmt: skip
        self._weights = weights
        self._clock = clock
        self._environment = environment
        self._show = show
        self._lanes = lanes
        self._patience = patience
        self._piece_bytes = piece_bytes
        self._free_bytes = free_bytes

    async def pull(self, ref: Ref, name: str | None = None) -> Pulled:
        """Raises a Refusal with the remedy; what was fetched until then is kept for the next pull."""
        name = check_name(name or default_name(ref))
        if isinstance(ref, PathRef):
            return await self._copy(ref, name)
        self._weights.own(name, source_of(ref))
        self._weights.blobs.make()
        site = site_of(ref, self._environment) if isinstance(ref, HubRef) else None
        try:
            return await self._fetch(ref, name, site)
        except Refused as refused:
            raise refusal_of(refused, ref, site) from None
        except Passing as passing:
            raise unreachable(passing, site) from None

    async def _copy(self, typed: PathRef, name: str) -> Pulled:
        listing, file = local_listing(typed)
        ref = absolute(typed)
        self._weights.own(name, source_of(ref))
        self._weights.blobs.make()
        choice = choose(listing, file, ref.path)
        total = sum(one.size or 0 for one in choice.files)
        self._refuse_without_room(total, total)
        stored = []
        for one in choice.files:
            self._show.begin(one.path, one.size or 0, 0)
            sha256, size = await asyncio.to_thread(
                self._weights.blobs.store, Path(one.url), partial(self._show.add, one.path)
            )
            stored.append(StoredFile(path=one.path, sha256=sha256, size=size))
        return self._finish(ref, name, listing, choice, stored, total)

    async def _fetch(self, ref: HubRef | UrlRef, name: str, site: Site | None) -> Pulled:
        origin, credentials = (site.endpoint, site.credentials) if site is not None else (render_ref(ref), {})
        async with Door(origin, credentials, self._environment, self._patience) as door:
            listing, validators = await self._listing(door, ref, site)
            choice = choose(listing, _file_of(ref), render_ref(ref))
            here = self._already(name, ref, listing)
            wanted = [one for one in choice.files if one.path not in here]
            sizes = {one.path: await self._size(door, one) for one in wanted}
            held = sum(held_bytes(self._weights.blobs.partial, key_of(source_of(ref), one), sizes[one.path]) for one in wanted)
            missing = sum(sizes.values()) - held
            self._refuse_without_room(missing, sum(one.size or 0 for one in choice.files))
            transfer = Transfer(door, self._weights.blobs, self._clock, self._show, self._lanes, self._piece_bytes)

            under_way = asyncio.Semaphore(self._lanes)  # a model of many shards must not open them all

            async def one_file(file: RemoteFile) -> None:
                async with under_way:
                    validator = validators.get(file.path)
                    here[file.path] = await transfer.fetch(source_of(ref), file, sizes[file.path], validator)

            await together(one_file(one) for one in wanted)
        return self._finish(ref, name, listing, choice, [here[one.path] for one in choice.files], missing)

    async def _listing(
        self, door: Door, ref: HubRef | UrlRef, site: Site | None
    ) -> tuple[Listing, dict[str, str | None]]:
        """What the source has; of files without a hash also what says that they are the same (ETag or date)."""
        if isinstance(ref, HubRef) and site is not None:
            body = await self._patiently(lambda: door.read(site.listing_url(ref.repo, ref.revision)))
            return site.listing(ref.repo, ref.revision, body), {}
        files: list[RemoteFile] = []
        validators: dict[str, str | None] = {}
        for url in _part_urls(ref.url if isinstance(ref, UrlRef) else ""):
            file, validator = await self._patiently(partial(_probe, door, url))
            files.append(file)
            validators[file.path] = validator
        return Listing(revision="", files=tuple(files)), validators

    async def _size(self, door: Door, file: RemoteFile) -> int:
        if file.size is not None:
            return file.size
        found, _ = await self._patiently(lambda: _probe(door, file.url))
        if found.size is None:
            raise Refusal(Reason.NOT_FOUND, f"the source does not say how large {file.path} is", param="ref")
        return found.size

    async def _patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        attempts = min(CONTACT_ATTEMPTS, self._patience.attempts)
        for attempt in range(1, attempts):
            try:
                return await work()
            except Passing as passing:
                wait_s = max(self._patience.first_wait_s * 2 ** (attempt - 1), passing.wait_s or 0)
                self._show.say(f"{passing.sentence}; trying again in {wait_s:g} s")
                await self._clock.sleep(wait_s)
        return await work()

    def _already(self, name: str, ref: Ref, listing: Listing) -> dict[str, StoredFile]:
        """Files that are here: of the same commit, or with the hash that the hub says."""
        blobs = self._weights.blobs
        here = {
            one.path: StoredFile(path=one.path, sha256=one.sha256, size=one.size)
            for one in listing.files
            if one.sha256 is not None and one.size is not None and blobs.has(one.sha256, one.size)
        }
        before = self._weights.own(name, source_of(ref))
        pinned = isinstance(ref, HubRef) and ref.hub != "ms"  # whose revision is a branch
        if before is not None and pinned and before.revision == listing.revision:
            here |= {one.path: one for one in before.files if blobs.has(one.sha256, one.size)}
        return here

    def _refuse_without_room(self, missing: int, total: int) -> None:
        folder = self._weights.folder
        lacking = missing + SPARE_BYTES - self._free_bytes(folder)
        if missing and lacking > 0:
            raise Refusal(
                Reason.STORE_UNAVAILABLE,
                f"the model has {megabytes(total)}, of which {megabytes(missing)} are still to come, and the disk of {folder} "
                f"lacks {megabytes(lacking)} for that; make room (millrace model list shows what is there), or take a --home "
                "on another disk",
            )

    def _finish(
        self, ref: Ref, name: str, listing: Listing, choice: Choice, files: list[StoredFile], fetched: int
    ) -> Pulled:
        parts = () if choice.serves is None else part_paths(choice.serves)
        try:
            with self._weights.staged(files) as folder:
                facts = read_facts(folder, parts)
        except Refusal as refusal:
            self._weights.forget(files)
            said = refusal.sentence.replace(f"{folder}/", "")
            raise Refusal(refusal.reason, f"{render_ref(ref)}: {said}", param="ref") from None
        kind: Format = "gguf" if parts else "safetensors"
        manifest = Manifest(
            name=name, source=source_of(ref), revision=listing.revision, files=tuple(files), format=kind,
            architecture=facts.architecture, parameters=facts.parameters, context_tokens=facts.context_tokens,
            licence=facts.licence or listing.licence, chat_template=facts.chat_template, kv_values=facts.kv_values,
            serves=choice.serves, pulled_at=self._clock.now(),
        )  # fmt: skip
        self._weights.add(manifest)
        return Pulled(manifest=manifest, why=choice.why, others=choice.others, fetched=fetched)


def megabytes(count: int) -> str:
    """A size as people read it, rounded up: '1,234 MB'."""
    return f"{-(-count // 1_000_000):,} MB"


async def _probe(door: Door, url: str) -> tuple[RemoteFile, str | None]:
    """Size of the file at an address, its hash where a hub tells, and what says that it is the same."""
    async with door.get(url, {"Range": "bytes=0-0"}) as answer:
        path = unquote(urlsplit(url).path.rpartition("/")[2])
        size = total_of(answer.headers)
        if size is None:
            raise Refusal(Reason.NOT_FOUND, f"the source does not say how large {path} is", param="ref")
        return RemoteFile(path=path, url=url, size=size, sha256=answer.linked_sha256), validator_of(answer.headers)


def _part_urls(url: str) -> tuple[str, ...]:
    """The addresses of all parts of the model that this one is of."""
    place, question, query = url.partition("?")
    folder, _, name = place.rpartition("/")
    return tuple(f"{folder}/{part}{question}{query}" for part in part_paths(name))


def _file_of(ref: HubRef | UrlRef) -> str | None:
    return ref.file if isinstance(ref, HubRef) else unquote(urlsplit(ref.url).path.rpartition("/")[2])
