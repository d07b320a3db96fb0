"""What goes wrong on the way, each kind with a hub that does it: mended where it can be, else refused with the remedy."""

import asyncio
import hashlib
from pathlib import Path

import pytest
from tests.catalog.hub.stand import BIG, PIECE, Stand, at_the_stand, gguf_file

from millrace.base.errors import Reason, Refusal
from millrace.catalog.hub.fake import Fault


async def refusal(stand: Stand, ref: str = "hf:acme/model") -> Refusal:
    with pytest.raises(Refusal) as caught:
        await stand.pull(ref)
    assert stand.hub.token not in caught.value.sentence
    assert "s3cr3t" not in caught.value.sentence
    return caught.value


def test_a_cut_connection_goes_on_where_it_was_cut(tmp_path: Path) -> None:
    """Each cut range is asked again from the byte that is missing; nothing is fetched twice."""

    async def work(stand: Stand) -> None:
        stand.hub.faults = [Fault(at="network", cut_after=10_000, times=5)]
        pulled = await stand.pull(lanes=1)
        assert stand.served(pulled) == BIG
        starts = [int((seen.range or "")[6:].split("-")[0]) for seen in stand.hub.requests("network")]
        assert starts[:6] == [0, 10_000, 20_000, 30_000, 40_000, 50_000]
        assert stand.hub.sent == len(BIG) + len(b"# A model")

    at_the_stand(tmp_path, work)


def test_a_connection_that_is_cut_again_and_again_is_given_up(tmp_path: Path) -> None:
    """After as many attempts without a byte as patience has; what came is kept, and the next pull goes on with it."""

    async def work(stand: Stand) -> None:
        stand.hub.faults = [Fault(at="network", after=2, cut_after=0, times=1000)]
        refused = await refusal(stand)
        assert refused.reason is Reason.STORE_UNAVAILABLE
        assert "what is here is kept" in refused.sentence
        assert stand.partials() != []
        stand.hub.faults = []
        before = stand.hub.sent
        assert stand.served(await stand.pull()) == BIG
        assert stand.hub.sent - before <= len(BIG) - 2 * PIECE + 9

    at_the_stand(tmp_path, work)


def test_wrong_bytes_are_fetched_once_more(tmp_path: Path) -> None:
    """A file with another SHA-256 than the hub says is thrown away; the second time it is right."""

    async def work(stand: Stand) -> None:
        stand.hub.faults = [Fault(at="network", wrong=True)]
        assert stand.served(await stand.pull()) == BIG

    at_the_stand(tmp_path, work)


def test_bytes_that_stay_wrong_are_refused(tmp_path: Path) -> None:
    """With both hashes; nothing of it is kept, and no model appears."""

    async def work(stand: Stand) -> None:
        stand.hub.faults = [Fault(at="network", wrong=True, times=1000)]
        refused = await refusal(stand)
        assert "came with other content than its hub says (SHA-256 " in refused.sentence
        assert stand.weights.list() == ()
        assert not stand.weights.blobs.has(hashlib.sha256(BIG).hexdigest())

    at_the_stand(tmp_path, work)


def test_wrong_bytes_of_a_small_file_are_noticed(tmp_path: Path) -> None:
    """Git's SHA-1 guards what has no SHA-256 at the hub."""

    async def work(stand: Stand) -> None:
        stand.hub.faults = [Fault(at="hub", path="README.md", wrong=True, times=1000)]
        assert "Git's SHA-1" in (await refusal(stand)).sentence

    at_the_stand(tmp_path, work)


def test_429_waits_as_long_as_it_is_asked_to(tmp_path: Path) -> None:
    """Retry-After is heeded, for the list and for files, and said."""

    async def work(stand: Stand) -> None:
        stand.hub.faults = [
            Fault(at="list", status=429, headers={"Retry-After": "30"}),
            Fault(at="network", status=429, headers={"Retry-After": "70"}),
        ]
        before = stand.clock.monotonic()
        assert stand.served(await stand.pull(lanes=1)) == BIG
        assert stand.clock.monotonic() - before == 100 * 10**9
        assert [said for said in stand.told.said if "trying again in 30 s" in said]
        assert [said for said in stand.told.said if "answered 429; trying again in 70 s" in said]

    at_the_stand(tmp_path, work)


def test_a_wait_of_hours_is_told_instead(tmp_path: Path) -> None:
    """Nobody sits before a command that sleeps for a day."""

    async def work(stand: Stand) -> None:
        stand.hub.faults = [Fault(at="network", status=429, headers={"Retry-After": "86400"}, times=1000)]
        refused = await refusal(stand)
        assert (refused.reason, "for 86400 s" in refused.sentence) == (Reason.RATE_LIMIT_EXCEEDED, True)

    at_the_stand(tmp_path, work)


def test_500_is_tried_again_with_growing_waits(tmp_path: Path) -> None:
    """One second, two, four; then it is given up."""

    async def work(stand: Stand) -> None:
        stand.hub.faults = [Fault(at="network", status=500, times=3)]
        before = stand.clock.monotonic()
        assert stand.served(await stand.pull(lanes=1)) == BIG
        assert stand.clock.monotonic() - before == (1 + 2 + 4) * 10**9
        stand.hub.faults = [Fault(at="list", status=503, times=1000)]
        assert "answered 503" in (await refusal(stand)).sentence

    at_the_stand(tmp_path, work)


def test_a_gated_repository_without_a_token(tmp_path: Path) -> None:
    """Where to ask, and which variable the token goes into."""

    async def work(stand: Stand) -> None:
        stand.hub.repos["acme/model"].gated = True
        refused = await refusal(stand)
        assert refused.reason is Reason.SCOPE_MISSING
        assert f"agree to its terms at {stand.hub.url}/acme/model, then set HF_TOKEN" in refused.sentence

    at_the_stand(tmp_path, work)


def test_a_gated_repository_with_a_token_that_may_not(tmp_path: Path) -> None:
    """The variable is named, the token is not shown."""

    async def work(stand: Stand) -> None:
        stand.hub.repos["acme/model"].gated = True
        stand.environment["HF_TOKEN"] = "hf_another"
        refused = await refusal(stand)
        assert "the token in HF_TOKEN may not read acme/model (403 GatedRepo)" in refused.sentence
        assert "hf_another" not in refused.sentence

    at_the_stand(tmp_path, work)


def test_a_private_repository_looks_like_none(tmp_path: Path) -> None:
    """As hubs do; the sentence says that a token may be what is missing."""

    async def work(stand: Stand) -> None:
        assert "has no acme/none, or does not show it; if it is a private one, set HF_TOKEN" in (
            await refusal(stand, "hf:acme/none")
        ).sentence

    at_the_stand(tmp_path, work)


def test_the_token_stays_with_the_hub(tmp_path: Path) -> None:
    """The hub's own addresses get it, the content network that it redirects to never does."""

    async def work(stand: Stand) -> None:
        stand.hub.repos["acme/model"].gated = True
        for variable in ("HF_TOKEN", "MODELSCOPE_API_TOKEN"):
            stand.environment[variable] = stand.hub.token
        assert stand.served(await stand.pull()) == BIG
        bearer = f"Bearer {stand.hub.token}"
        assert {seen.token for seen in (*stand.hub.requests("list"), *stand.hub.requests("hub"))} == {bearer}
        assert {(seen.token, seen.cookie) for seen in stand.hub.requests("network")} == {(None, None)}
        stand.hub.seen.clear()
        await stand.pull("ms:acme/model", name="again")
        assert {seen.cookie for seen in stand.hub.seen} == {f"m_session_id={stand.hub.token}"}

    at_the_stand(tmp_path, work)


def test_an_address_of_the_network_that_ran_out_is_asked_anew(tmp_path: Path) -> None:
    """Signed addresses live for minutes: the hub gives another one."""

    async def work(stand: Stand) -> None:
        stand.hub.faults = [Fault(at="network", status=403, after=3, times=1)]
        assert stand.served(await stand.pull(lanes=1)) == BIG
        assert len(stand.hub.requests("hub", "model-Q8_0.gguf")) == 2

    at_the_stand(tmp_path, work)


def test_a_file_that_changes_between_ranges_begins_anew(tmp_path: Path) -> None:
    """Of an address without a hash: If-Range and the ETag notice, and the newer file comes whole."""
    newer = gguf_file(100_000, seed=1)

    async def work(stand: Stand) -> None:
        stand.hub.faults = [Fault(at="network", after=4, becomes=newer)]
        address = f"{stand.hub.network_url}/acme/model/model-Q8_0.gguf?Signature=s3cr3t"
        with pytest.raises(Refusal, match="changes at its source while it is fetched"):
            await stand.pull(address)
        assert stand.served(await stand.pull(address)) == newer

    at_the_stand(tmp_path, work)


def test_copies_with_several_tags_are_one_file_where_its_hash_is_known(tmp_path: Path) -> None:
    """A content network's nodes need not agree on an ETag; what is here is kept, and the SHA-256 decides."""

    async def work(stand: Stand) -> None:
        stand.hub.faults = [Fault(at="network", after=2, tag='"another-node"', times=2)]
        assert stand.served(await stand.pull(lanes=1)) == BIG
        starts = [int((seen.range or "")[6:].split("-")[0]) for seen in stand.hub.requests("network")]
        assert starts == [0, PIECE, 2 * PIECE, *range(2 * PIECE, len(BIG), PIECE)]

    at_the_stand(tmp_path, work)


def test_a_file_that_the_hub_replaces_is_refused(tmp_path: Path) -> None:
    """Its list said another SHA-256 than its redirect does now: pull again, with a new list."""

    async def work(stand: Stand) -> None:
        stand.hub.faults = [Fault(at="hub", path="model-Q8_0.gguf", becomes=gguf_file(100_000, seed=1))]
        refused = await refusal(stand)
        assert (refused.reason, "was replaced at its hub" in refused.sentence) == (Reason.CONFLICT, True)

    at_the_stand(tmp_path, work)


def test_a_source_without_ranges_gives_the_whole(tmp_path: Path) -> None:
    """Then the file comes in one piece, on one lane."""

    async def work(stand: Stand) -> None:
        stand.hub.faults = [Fault(at="network", whole=True, times=1000)]
        assert stand.served(await stand.pull()) == BIG

    at_the_stand(tmp_path, work)


def test_a_source_without_ranges_that_is_cut_begins_anew(tmp_path: Path) -> None:
    """There is no other way; it is tried a few times."""

    async def work(stand: Stand) -> None:
        stand.hub.faults = [
            Fault(at="network", whole=True, times=1), Fault(at="network", whole=True, cut_after=100_000, times=1),
            Fault(at="network", whole=True, times=1000),
        ]  # fmt: skip
        assert stand.served(await stand.pull(lanes=1)) == BIG

    at_the_stand(tmp_path, work)


def test_offline_says_what_to_do(tmp_path: Path) -> None:
    """A mirror by its variable, a copy of the folder, a proxy."""

    async def work(stand: Stand) -> None:
        await stand.hub.__aexit__(None, None, None)
        refused = await refusal(stand)
        assert refused.reason is Reason.STORE_UNAVAILABLE
        for remedy in ("cannot be reached", "HF_ENDPOINT to a mirror", "millrace model pull ./FOLDER", "HTTPS_PROXY"):
            assert remedy in refused.sentence

    at_the_stand(tmp_path, work)


def test_what_answers_and_is_no_hub_is_told(tmp_path: Path) -> None:
    """A portal page instead of a list."""

    async def work(stand: Stand) -> None:
        stand.environment["HF_ENDPOINT"] = f"{stand.hub.url}/api/models/acme"
        assert "acme/model" in (await refusal(stand)).sentence

    at_the_stand(tmp_path, work)


def test_a_pull_that_is_cancelled_goes_on_later(tmp_path: Path) -> None:
    """Control-C at any moment keeps what came; the next pull fetches the rest."""

    async def work(stand: Stand) -> None:
        stand.hub.faults = [Fault(at="network", after=3, hold_after=1, times=1000)]
        task = asyncio.create_task(stand.pull())
        await stand.hub.held.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        stand.hub.faults = []
        stand.hub.release()
        before = stand.hub.sent
        pulled = await stand.pull()
        assert stand.served(pulled) == BIG
        assert 0 < pulled.fetched < len(BIG)
        assert stand.hub.sent - before < len(BIG)

    at_the_stand(tmp_path, work)
