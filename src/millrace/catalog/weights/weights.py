"""The models whose files are here: manifests over blobs, and for each a folder with the files under their real names.

    <folder>/manifests/<name>.json   what a model is made of; appears and goes by a rename
    <folder>/manifests/<name>.used   whoever serves the model holds the lock of this file, shared
    <folder>/trees/<name>/…          its files under their own paths: links to blobs, for programs that want a folder
    <folder>/blobs, <folder>/partial see blobs.py

Readers take no lock: a manifest is whole or absent. Writers take `<folder>/lock` for milliseconds. A blob goes when the
last manifest that names it goes. Not covered: a pull whose blob another command removes before its manifest is there;
`add` notices and refuses, and the pull can be repeated.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from millrace.base.errors import Reason, Refusal
from millrace.catalog.weights.blobs import Blobs, Progress, no_progress
from millrace.catalog.weights.durable import locked, store_errors, sync_folder, try_lock, write_whole
from millrace.catalog.weights.values import (
    Damage,
    Manifest,
    StoredFile,
    check_manifest,
    check_name,
    parse_manifest,
    render_manifest,
)

FOLDER: Final = "models"
"""In a home."""

NAMES_SHOWN_MAX: Final = 20


class Weights:
    """Raises STORE_UNAVAILABLE when the disk does not do as it should."""

    def __init__(self, folder: Path) -> None:
        self.folder: Final = folder
        self.blobs: Final = Blobs(folder)
        self._manifests: Final = folder / "manifests"
        self._trees: Final = folder / "trees"

    def list(self) -> tuple[Manifest, ...]:
        """All, by name. Raises BAD_SETTING for a manifest that somebody broke."""
        if not self._manifests.is_dir():
            return ()
        names = sorted(path.stem for path in self._manifests.glob("*.json") if not path.name.startswith("."))
        return tuple(found for name in names if (found := self.get(name)) is not None)

    def get(self, name: str) -> Manifest | None:
        """The model of that name, or None."""
        path = self._manifests / f"{check_name(name)}.json"
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            return None
        return parse_manifest(raw, str(path))

    def find(self, name: str) -> Manifest:
        """The model of that name. Raises NOT_FOUND, which names what there is."""
        manifest = self.get(name)
        if manifest is None:
            raise Refusal(Reason.NOT_FOUND, f"there is no pulled model {name!r}; {self._there_is()}", param="name")
        return manifest

    def own(self, name: str, source: str) -> Manifest | None:
        """The model of that name if it came from there, None if there is none. Raises CONFLICT for somebody else's name."""
        manifest = self.get(name)
        if manifest is not None and manifest.source != source:
            raise Refusal(
                Reason.CONFLICT,
                f"the name {name!r} belongs to what came from {manifest.source}; give another with --name, "
                f"or remove that first: millrace model remove {name}",
            )
        return manifest

    def path(self, manifest: Manifest) -> Path:
        """The file to load, or the folder where the model is one; its links are made again where they are missing."""
        tree = self._trees / manifest.name
        if not all(_is_link_to(tree / file.path, self.blobs.path(file.sha256)) for file in manifest.files):
            with store_errors(self.folder), locked(self.folder / "lock"):
                self._refuse_incomplete(manifest)
                self._link(manifest)
        return self.place(manifest)

    def place(self, manifest: Manifest) -> Path:
        """Where `path` is, or will be; nothing is looked at."""
        tree = self._trees / manifest.name
        return tree if manifest.serves is None else tree / manifest.serves

    def file(self, manifest: Manifest, path: str) -> Path:
        """Where one file's content is."""
        stored = next(file for file in manifest.files if file.path == path)
        return self.blobs.path(stored.sha256)

    def add(self, manifest: Manifest) -> None:
        """Make a model of blobs that are here; one of the same name and source is replaced.

        Raises CONFLICT when the name belongs to something else or is being served, or when a blob went meanwhile.
        """
        check_manifest(manifest)
        self._make()
        with store_errors(self.folder), locked(self.folder / "lock"):
            before = self.own(manifest.name, manifest.source)
            self._refuse_incomplete(manifest)
            if before is not None and before.files != manifest.files:
                self._while_unused(manifest.name, lambda: self._put(manifest))
                self._drop_blobs(before.files)
            else:
                self._put(manifest)

    def remove(self, name: str) -> Manifest:
        """Take a model away with the blobs that no other needs. Raises NOT_FOUND, and CONFLICT while it is served."""
        self.find(name)
        with store_errors(self.folder), locked(self.folder / "lock"):
            manifest = self.find(name)
            self._while_unused(name, lambda: self._take_away(name))
            self._drop_blobs(manifest.files)
        return manifest

    @contextmanager
    def staged(self, files: Iterable[StoredFile]) -> Iterator[Path]:
        """A folder with these files under their names, for as long as it takes to look at them."""
        self._make()
        with tempfile.TemporaryDirectory(prefix=".stage-", dir=self._trees, ignore_cleanup_errors=True) as folder:
            with store_errors(self.folder):
                self._fill(Path(folder), files)
            yield Path(folder)

    def forget(self, files: Iterable[StoredFile]) -> None:
        """Remove those of these files that no model needs."""
        with store_errors(self.folder), locked(self.folder / "lock"):
            self._drop_blobs(files)

    def orphans(self) -> tuple[Path, ...]:
        """Files of no model: of a pull that was not ended, whose other files are not here yet."""
        needed = {file.sha256 for manifest in self.list() for file in manifest.files}
        return tuple(path for path in sorted(self.blobs.folder.glob("*")) if path.name not in needed)

    def drop_orphans(self) -> int:
        """Remove them; how many. A pull that counted on one of them notices, and fetches it when it is repeated."""
        if not self.blobs.folder.is_dir():
            return 0
        with store_errors(self.folder), locked(self.folder / "lock"):
            found = self.orphans()
            for path in found:
                path.unlink(missing_ok=True)
        return len(found)

    def verify(self, name: str, progress: Progress = no_progress) -> tuple[Damage, ...]:
        """Read every file of a model again. A damaged one is removed, so that the next pull fetches it; the rest stays."""
        damages = []
        for file in self.find(name).files:
            if not self.blobs.has(file.sha256):
                damages.append(Damage(file.path, "it is missing"))
            elif not self.blobs.check(file.sha256, progress):
                self.blobs.discard(file.sha256)
                damages.append(Damage(file.path, "its content has changed"))
        return tuple(damages)

    def use(self, name: str) -> "InUse":
        """Say that this process serves the model, until released or ended: `remove` is refused meanwhile.

        Raises NOT_FOUND.
        """
        self._make()
        with store_errors(self.folder), locked(self.folder / "lock"):
            self.find(name)
            descriptor = try_lock(self._manifests / f"{check_name(name)}.used", shared=True)
        if descriptor is None:  # only a writer takes it alone, and then it has the store's lock
            raise RuntimeError(f"the lock of {name!r} is taken alone by nobody that holds the store's lock")
        return InUse(descriptor)

    def _make(self) -> None:
        self.blobs.make()
        with store_errors(self.folder):
            for folder in (self._manifests, self._trees):
                folder.mkdir(mode=0o700, exist_ok=True)

    def _put(self, manifest: Manifest) -> None:
        self._link(manifest)
        write_whole(self._manifests / f"{manifest.name}.json", render_manifest(manifest))

    def _take_away(self, name: str) -> None:
        (self._manifests / f"{name}.json").unlink()
        sync_folder(self._manifests)
        shutil.rmtree(self._trees / name, ignore_errors=True)
        (self._manifests / f"{name}.used").unlink(missing_ok=True)

    def _link(self, manifest: Manifest) -> None:
        """Build the folder aside and put it in the place of the old one."""
        aside, old = self._trees / f".{manifest.name}.new", self._trees / f".{manifest.name}.old"
        for left in (aside, old):
            shutil.rmtree(left, ignore_errors=True)
        aside.mkdir(mode=0o700)
        self._fill(aside, manifest.files)
        tree = self._trees / manifest.name
        if tree.exists():
            tree.rename(old)
        aside.rename(tree)
        shutil.rmtree(old, ignore_errors=True)

    def _fill(self, folder: Path, files: Iterable[StoredFile]) -> None:
        for file in files:
            target = folder / file.path
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _link(self.blobs.path(file.sha256), target)

    def _drop_blobs(self, files: Iterable[StoredFile]) -> None:
        needed = {file.sha256 for manifest in self.list() for file in manifest.files}
        for sha256 in {file.sha256 for file in files} - needed:
            self.blobs.discard(sha256)

    def _refuse_incomplete(self, manifest: Manifest) -> None:
        missing = [file.path for file in manifest.files if not self.blobs.has(file.sha256, file.size)]
        if missing:
            raise Refusal(
                Reason.CONFLICT,
                f"{manifest.name!r} lacks {', '.join(missing[:3])}{' …' if len(missing) > 3 else ''}; "
                f"fetch it again: {manifest.again}",
            )

    def _while_unused(self, name: str, work: Callable[[], None]) -> None:
        descriptor = try_lock(self._manifests / f"{name}.used")
        if descriptor is None:
            raise Refusal(Reason.CONFLICT, f"a running server serves {name!r}; stop it first")
        try:
            work()
        finally:
            os.close(descriptor)

    def _there_is(self) -> str:
        names = [manifest.name for manifest in self.list()]
        more = len(names) - NAMES_SHOWN_MAX
        if not names:
            return "nothing is pulled yet: millrace model pull REF"
        return f"pulled: {', '.join(names[:NAMES_SHOWN_MAX])}{f' and {more} more' if more > 0 else ''}"


class InUse:
    """A model that is being served. The lock is the kernel's: no crash leaves it behind."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def release(self) -> None:
        """Safe to call twice."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _link(blob: Path, target: Path) -> None:
    """A hard link, which costs nothing; where the disk has none, a symbolic one."""
    try:
        target.hardlink_to(blob)
    except OSError:
        target.symlink_to(blob.absolute())


def _is_link_to(path: Path, blob: Path) -> bool:
    try:
        return path.samefile(blob)
    except FileNotFoundError:
        return False
