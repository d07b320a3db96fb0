"""Pushing, committing, removing, on rows and files together."""

import hashlib
import threading

import pytest
from tests.catalog.gguf import Tensor, gguf, pair
from tests.tenants.conftest import Cast

from millrace.base.clock import FakeClock
from millrace.base.errors import Reason, Refusal
from millrace.base.ids import Ids
from millrace.catalog.published import store
from millrace.catalog.published.depot import STALE_S, Depot
from millrace.catalog.published.values import Revision, Visibility
from millrace.catalog.weights.values import StoredFile
from millrace.tenants import store as tenants
from millrace.tenants.values import Tenant


def stored(path: str, content: bytes) -> StoredFile:
    return StoredFile(path=path, sha256=hashlib.sha256(content).hexdigest(), size=len(content))


def send(depot: Depot, tenant: Tenant, content: bytes) -> None:
    """A whole file in one part."""
    file = stored("x", content)
    with depot.receive(tenant, file.sha256, file.size, 0) as incoming:
        incoming.write(content)
        assert incoming.finish()


def push(depot: Depot, tenant: Tenant, name: str, contents: dict[str, bytes], parent: str | None = None) -> Revision:
    files = [stored(path, content) for path, content in contents.items()]
    depot.make(tenant, tenant.name, name, None)
    by_hash = {stored("", content).sha256: content for content in contents.values()}
    for one in depot.missing(tenant, tenant.name, name, files)[1]:
        send(depot, tenant, by_hash[one.file.sha256])
    return depot.commit(tenant, tenant.name, name, files=files, parent=parent, message="")


def contents(depot: Depot) -> set[str]:
    return {path.name for path in depot.blobs.folder.iterdir()}


def test_what_was_committed_is_there(depot: Depot, cast: Cast) -> None:
    """A revision lists its files; the same list again is the same revision."""
    first = push(depot, cast.acme, "m", {"a.txt": b"a", "b/c.txt": b"c"})
    assert (first.number, first.parent) == (1, None)
    assert push(depot, cast.acme, "m", {"a.txt": b"a", "b/c.txt": b"c"}) == first
    second = push(depot, cast.acme, "m", {"a.txt": b"other"}, parent=first.commit)
    assert (second.number, second.parent) == (2, first.commit)
    assert [file.path for file in depot.db.read(lambda tx: store.files(tx, first))] == ["a.txt", "b/c.txt"]


def test_a_torn_upload_goes_on_where_it_was_cut(depot: Depot, cast: Cast) -> None:
    """What was written stays, is told, and only the rest is taken; from anywhere else is refused."""
    content = bytes(range(200))
    file = stored("a", content)
    depot.make(cast.acme, "acme", "m", None)
    with depot.receive(cast.acme, file.sha256, file.size, 0) as incoming:
        incoming.write(content[:70])
        assert not incoming.finish()
    ((missing,)) = depot.missing(cast.acme, "acme", "m", [file])[1]
    assert missing.offset == 70
    with pytest.raises(Refusal, match="70 bytes of this file are here, not 0"):
        depot.receive(cast.acme, file.sha256, file.size, 0)
    with depot.receive(cast.acme, file.sha256, file.size, 70) as incoming:
        incoming.write(content[70:])
        assert incoming.finish()
    assert depot.missing(cast.acme, "acme", "m", [file])[1] == []


def test_two_do_not_write_one_file_at_once(depot: Depot, cast: Cast) -> None:
    """The second is refused while the first is at it, and may go on afterwards."""
    file = stored("a", b"abc")
    with depot.receive(cast.acme, file.sha256, 3, 0), pytest.raises(Refusal, match="being sent already"):
        depot.receive(cast.acme, file.sha256, 3, 0)
    send(depot, cast.acme, b"abc")


def test_another_hash_is_refused_and_forgotten(depot: Depot, cast: Cast) -> None:
    """Nothing of it stays, neither a content nor a row nor a part."""
    file = stored("a", b"good")
    with depot.receive(cast.acme, file.sha256, 4, 0) as incoming:
        incoming.write(b"evil")
        with pytest.raises(Refusal, match="has the SHA-256"):
            incoming.finish()
    assert contents(depot) == set()
    assert list(depot.blobs.partial.iterdir()) == []
    assert depot.db.read(lambda tx: store.stored(tx, cast.acme.id)) == 0


def test_more_than_was_announced_is_refused(depot: Depot, cast: Cast) -> None:
    """A sender cannot fill the disk behind the size that was checked."""
    file = stored("a", b"abc")
    with depot.receive(cast.acme, file.sha256, 3, 0) as incoming, pytest.raises(Refusal, match="more came"):
        incoming.write(b"abcd")


def test_the_quota_counts_each_content_once(depot: Depot, cast: Cast) -> None:
    """What a tenant has already costs nothing again; what does not fit is refused before it is sent, and at its sending."""
    push(depot, cast.acme, "m", {"a": b"x" * 600})
    push(depot, cast.acme, "copy", {"b": b"x" * 600, "c": b"y" * 300})
    large = stored("d", b"z" * 101)
    with pytest.raises(Refusal, match=r"101 bytes more do not fit: tenant 'acme' has 900 of 1000 bytes"):
        depot.missing(cast.acme, "acme", "m", [large])
    with pytest.raises(Refusal, match="do not fit"):
        depot.receive(cast.acme, large.sha256, 101, 0)
    assert list(depot.blobs.partial.iterdir()) == []
    push(depot, cast.acme, "m2", {"e": b"z" * 100})


def test_a_hash_is_not_as_good_as_the_file(depot: Depot, cast: Cast) -> None:
    """What another tenant has privately is asked for all the same; what everybody may pull is not."""
    push(depot, cast.acme, "m", {"a": b"secret weights"})
    file = stored("mine", b"secret weights")
    depot.make(cast.globex, "globex", "m", None)
    assert len(depot.missing(cast.globex, "globex", "m", [file])[1]) == 1
    with pytest.raises(Refusal, match="are not here yet"):
        depot.commit(cast.globex, "globex", "m", files=[file], parent=None, message="")
    depot.make(cast.acme, "acme", "m", Visibility.PUBLIC)
    assert depot.missing(cast.globex, "globex", "m", [file])[1] == []


def test_contents_go_with_the_last_that_names_them(depot: Depot, cast: Cast) -> None:
    """A file that another tenant published too stays until that one goes."""
    push(depot, cast.acme, "m", {"a": b"shared", "b": b"own"})
    push(depot, cast.globex, "m", {"a": b"shared"})
    depot.remove(cast.acme, "acme", "m")
    assert contents(depot) == {stored("", b"shared").sha256}
    depot.remove(cast.globex, "globex", "m")
    assert contents(depot) == set()


def test_nobody_changes_what_is_anothers(depot: Depot, cast: Cast) -> None:
    """Every change is refused in the words of what is not there."""
    push(depot, cast.acme, "m", {"a": b"a"})
    file = stored("a", b"a")
    said = set()
    for name in ("m", "none"):
        for attempt in (
            lambda name=name: depot.make(cast.globex, "acme", name, Visibility.PUBLIC),
            lambda name=name: depot.missing(cast.globex, "acme", name, [file]),
            lambda name=name: depot.commit(cast.globex, "acme", name, files=[file], parent=None, message=""),
            lambda name=name: depot.remove(cast.globex, "acme", name),
        ):
            with pytest.raises(Refusal) as caught:
                attempt()
            said.add((caught.value.reason, caught.value.sentence))
    assert len(said) == 1
    assert said.pop()[0] is Reason.NOT_FOUND


def test_of_two_that_push_at_once_one_wins(depot: Depot, cast: Cast) -> None:
    """Both from the same commit: one is the next, the other is told, and both their files and histories are whole."""
    first = push(depot, cast.acme, "m", {"a": b"0"})
    for number in range(4):
        send(depot, cast.acme, b"new %d" % number)
    outcomes: list[object] = []
    ready = threading.Barrier(4)

    def commit(number: int) -> None:
        file = stored("a", b"new %d" % number)
        ready.wait(10)
        try:
            outcomes.append(depot.commit(cast.acme, "acme", "m", files=[file], parent=first.commit, message=str(number)))
        except Refusal as refusal:
            outcomes.append(refusal.reason)

    threads = [threading.Thread(target=commit, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = [one for one in outcomes if isinstance(one, Revision)]
    assert outcomes.count(Reason.CONFLICT) == 3
    repository = depot.db.read(lambda tx: store.owned(tx, "acme", "m", cast.acme))
    assert depot.db.read(lambda tx: store.head(tx, repository)) == winner
    assert depot.db.read(lambda tx: store.revision(tx, repository, first.commit)) == first
    loser = next(number for number in range(4) if str(number) != winner.message)
    file = stored("a", b"new %d" % loser)
    assert depot.commit(cast.acme, "acme", "m", files=[file], parent=winner.commit, message="again").number == 3


def test_what_a_file_claims_to_be_is_looked_at(depot: Depot, cast: Cast) -> None:
    """A GGUF that is none, safetensors that are cut short, and a pickle under another name are refused, by their paths."""
    good = gguf([pair("general.architecture", "qwen3"), pair("qwen3.context_length", 64)], [Tensor("w", (8,), size=32)])
    push(depot, cast.acme, "good", {"m.gguf": good})
    for path, content, why in (
        ("m.gguf", b"not one", "m.gguf is not usable"), ("m.gguf", good[:-4], "m.gguf is not usable"),
        ("m.safetensors", b"\xff" * 20, "m.safetensors is not usable"),
        ("weights.dat", b"\x80\x04K\x01.", "begins as a pickle"),
    ):  # fmt: skip
        with pytest.raises(Refusal, match=why) as caught:
            push(depot, cast.acme, "bad", {path: content})
        assert str(depot.blobs.root) not in caught.value.sentence


def test_what_nobody_finishes_goes_after_a_week(depot: Depot, cast: Cast, clock: FakeClock) -> None:
    """A part, a file that was sent and not committed, and a content that no row names; what is published stays."""
    kept = push(depot, cast.acme, "m", {"a": b"published"})
    send(depot, cast.acme, b"never committed")
    depot.receive(cast.acme, stored("", b"half").sha256, 4, 0).close()
    (depot.blobs.folder / stored("", b"left by a kill").sha256).write_bytes(b"left by a kill")
    assert depot.sweep() == 1
    assert len(contents(depot)) == 2
    clock.advance(STALE_S + 1)
    assert depot.sweep() == 1
    assert contents(depot) == {stored("", b"published").sha256}
    assert list(depot.blobs.partial.iterdir()) == []
    assert kept.number == 1


def test_what_a_restore_did_not_bring_is_known_and_can_be_pushed_again(depot: Depot, cast: Cast) -> None:
    """The list says what is lost; pushing the same sends it, and the same commit is whole again."""
    first = push(depot, cast.acme, "m", {"a": b"weights"})
    assert depot.lost() == {}
    depot.blobs.discard(stored("", b"weights").sha256)
    assert depot.lost() == {stored("", b"weights").sha256: 7}
    assert push(depot, cast.acme, "m", {"a": b"weights"}, parent=first.commit) == first
    assert depot.lost() == {}


def test_what_a_suspended_tenant_published_is_shown_to_nobody(depot: Depot, cast: Cast, ids: Ids) -> None:
    """Public or not, it looks as if it were not there, until the suspension is lifted."""
    push(depot, cast.acme, "m", {"a": b"a"})
    depot.make(cast.acme, "acme", "m", Visibility.PUBLIC)
    assert depot.db.read(lambda tx: store.visible(tx, "acme", "m", store.UNASKED)).name == "m"
    depot.db.write_now(lambda tx: tenants.suspend(tx, ids, 1, tenant=cast.acme, reason="abuse"))
    with pytest.raises(Refusal, match="no such model"):
        depot.db.read(lambda tx: store.visible(tx, "acme", "m", cast.globex.id))
    assert depot.db.read(lambda tx: store.listed(tx, cast.globex.id, limit=10)) == []
    depot.db.write_now(lambda tx: tenants.resume(tx, 2, tenant=cast.acme))
    assert len(depot.db.read(lambda tx: store.listed(tx, cast.globex.id, limit=10))) == 1


def test_a_list_shows_what_is_public_and_ones_own(depot: Depot, cast: Cast) -> None:
    """By name, with pulls; a search finds a part of owner or name in any case, and its letters mean themselves."""
    push(depot, cast.acme, "Shop_1", {"a": b"abc"})
    push(depot, cast.acme, "hidden", {"a": b"a"})
    depot.make(cast.acme, "acme", "Shop_1", Visibility.PUBLIC)
    depot.make(cast.acme, "acme", "empty", Visibility.PUBLIC)

    def names(reader: str, search: str = "") -> list[str]:
        return [one.repository.name for one in depot.db.read(lambda tx: store.listed(tx, reader, search=search, limit=10))]

    assert names(cast.acme.id) == ["Shop_1", "empty", "hidden"]
    assert names(cast.globex.id) == names(store.UNASKED) == ["Shop_1"]
    assert names(store.UNASKED, "SHOP_") == ["Shop_1"]
    assert names(store.UNASKED, "Shop%1") == names(store.UNASKED, "op-1") == []


def test_pulls_are_counted_by_day_and_reader(depot: Depot, cast: Cast, clock: FakeClock) -> None:
    """Each adds one, whoever it was."""
    push(depot, cast.acme, "m", {"a": b"a"})
    repository = depot.db.read(lambda tx: store.owned(tx, "acme", "m", cast.acme))
    for reader in (cast.globex.id, cast.globex.id, store.UNASKED):
        depot.db.write_now(lambda tx, reader=reader: store.count_pull(tx, clock.now(), repository, reader))  # type: ignore[misc]
    assert depot.db.read(lambda tx: store.pulls(tx, repository)) == 3
    assert depot.db.read(lambda tx: store.listed(tx, cast.acme.id, limit=1))[0].pulls == 3
