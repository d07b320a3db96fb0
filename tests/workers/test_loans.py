"""Engines of tuned models that a parent lends to its workers, on both ends."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

import pytest
from tests.engines.clocks import HeldClock
from tests.workers.test_crew import READY, FakeWorker, SlowClock, settle

from millrace.base.errors import Refusal
from millrace.catalog.tuned.values import TunedModel
from millrace.engines.embedded.engine import EmbeddedEngine
from millrace.engines.embedded.follower import Standing
from millrace.engines.embedded.links import Place
from millrace.engines.embedded.settings import EmbeddedSettings
from millrace.engines.protocol import EngineState
from millrace.gateway.accepting import Tally
from millrace.gateway.lending import Lending
from millrace.settings.limits import Limits
from millrace.settings.parse import load
from millrace.workers.borrowing import Borrowing
from millrace.workers.crew import Crew
from millrace.workers.member import Member
from millrace.workers.messages import Ask, Borrow, Channel, Down, Drop, EngineNews, Return, Task, Up, loan_name
from millrace.workers.worker import Worker, tally_file

LIMITS = Limits(tuned_models_max=1, tuned_idle_s=1e6)
SERVES = Standing(state=EngineState.READY, place=Place(url="http://127.0.0.1:1", embeddings_url=None, api_key="k"))


def model(name: str) -> TunedModel:
    return TunedModel(name=name, tenant_id="ten_1", base="tiny", job_id=name, sha256="a" * 64, created_at=0)


class House:
    """A crew of two whose engines launch nothing: they stand as the test says."""

    def __init__(self) -> None:
        self.workers: list[FakeWorker] = []
        self.engines: dict[str, EmbeddedEngine] = {}
        self.says: dict[str, asyncio.Queue[Standing]] = {}
        clock = SlowClock()

        async def launch(number: int) -> Worker:
            self.workers.append(FakeWorker(number, READY))
            return self.workers[-1]

        def make(tuned: TunedModel) -> EmbeddedEngine:
            says = self.says[tuned.name] = asyncio.Queue()
            says.put_nowait(SERVES)

            async def feed() -> AsyncGenerator[Standing, None]:
                while True:
                    yield await says.get()

            settings = EmbeddedSettings(model=tuned.name, path="none", context_tokens=8)
            self.engines[tuned.name] = EmbeddedEngine(settings, clock, feed)
            return self.engines[tuned.name]

        self.lending = Lending(make, LIMITS, clock)
        self.crew = Crew(2, launch, {}, clock, patience_s=60, tuned=self.lending)

    def news(self, worker: int) -> list[tuple[str, EngineState]]:
        told = self.workers[worker].told
        return [(said.model, said.standing.state) for said in told if isinstance(said, EngineNews)]


def play(scene: Callable[[House], Awaitable[None]]) -> House:
    async def played() -> House:
        house = House()
        serving = asyncio.create_task(house.crew.serve(lambda _: None))
        await settle()
        await scene(house)
        house.crew.stop()
        await serving
        return house

    return asyncio.run(played())


def test_workers_share_the_parent_s_engine() -> None:
    """Both borrow one model: one engine, and each hears where it serves, under its own loan."""

    async def scene(house: House) -> None:
        house.workers[0].say(Borrow(1, model("ft:a")))
        house.workers[1].say(Borrow(7, model("ft:a")))
        await settle()
        assert list(house.engines) == ["ft:a"]
        assert house.news(0) == [(loan_name(1), EngineState.READY)]
        assert house.news(1) == [(loan_name(7), EngineState.READY)]

    assert play(scene).engines["ft:a"].state is EngineState.STOPPED


def test_what_every_place_is_used_for_is_refused() -> None:
    """A worker is told why there is no engine for it; once the other has returned its loan there is."""

    async def scene(house: House) -> None:
        house.workers[0].say(Borrow(1, model("ft:a")))
        await settle()
        house.workers[1].say(Borrow(1, model("ft:b")))
        await settle()
        (refused,) = [said for said in house.workers[1].told if isinstance(said, EngineNews)]
        assert refused.standing.state is EngineState.STOPPED
        assert "(1) are answering" in (refused.standing.failure or "")
        house.workers[0].say(Return(1))
        await settle()
        house.workers[1].say(Borrow(2, model("ft:b")))
        await settle(300)
        assert house.news(1)[-1] == (loan_name(2), EngineState.READY)
        assert house.lending.pool.names == ["ft:b"]

    play(scene)


def test_the_loans_of_a_dead_worker_end() -> None:
    """What it had borrowed is free for others."""

    async def scene(house: House) -> None:
        house.workers[0].say(Borrow(1, model("ft:a")))
        await settle()
        house.workers[0].die()
        await settle()
        house.lending.drop("ft:a")
        assert house.lending.pool.names == []

    play(scene)


def test_a_removed_model_ends_with_its_last_loan() -> None:
    """The first worker's list of removals ends what is idle, and what is lent when it comes back."""

    async def scene(house: House) -> None:
        house.workers[0].say(Borrow(1, model("ft:a")))
        await settle()
        house.workers[0].say(Drop(("ft:a", "ft:none")))
        await settle()
        assert house.lending.pool.names == ["ft:a"]
        house.workers[0].say(Return(1))
        await settle()
        assert house.lending.pool.names == []

    play(scene)


def test_why_an_engine_failed_is_not_told() -> None:
    """A failure names files, and what a worker hears it may tell to a caller."""

    async def scene(house: House) -> None:
        house.workers[0].say(Borrow(1, model("ft:a")))
        await settle()
        house.says["ft:a"].put_nowait(Standing(state=EngineState.FAILED, failure="/secret is damaged"))
        await settle()
        said = [said for said in house.workers[0].told if isinstance(said, EngineNews)]
        assert [news.standing.failure for news in said if news.standing.state is EngineState.FAILED] == [None]

    play(scene)


class Counter:
    """A worker's end of a real channel, and a parent at the other that answers each loan with `answer`."""

    def __init__(self, folder: Path, answer: Standing) -> None:
        self.heard: list[Up] = []
        self._folder = folder
        self._answer = answer

    async def visit(self, scene: Callable[[Borrowing], Awaitable[None]]) -> None:
        ours, theirs = socket.socketpair()
        parent: Channel[Up] = await Channel.over(ours, Up)
        channel: Channel[Down] = await Channel.over(theirs, Down)
        task = Task(number=0, workers=2, home=self._folder, settings=load(self._folder))
        with tally_file(2) as tally:
            member = Member(task, channel, Tally(tally.fileno(), 2, 0))
        clock = HeldClock()

        def follow(tuned: TunedModel, loan: str) -> EmbeddedEngine:
            settings = EmbeddedSettings(model=tuned.name, path="none", context_tokens=8)
            return EmbeddedEngine(settings, clock, member.feed(loan), 2)

        tasks = [asyncio.create_task(self._serve(parent)), asyncio.create_task(member.listen(bytes))]
        await scene(Borrowing(member, follow, clock, 20.0))
        channel.send(Ask())
        await tasks[0]
        tasks[1].cancel()
        parent.close()
        channel.close()

    async def _serve(self, parent: Channel[Up]) -> None:
        """Until the worker asks for something else."""
        while not isinstance(said := await parent.receive(), Ask):
            assert said is not None
            self.heard.append(said)
            if isinstance(said, Borrow):
                parent.send(EngineNews(model=loan_name(said.number), standing=self._answer))


def test_a_refused_loan_is_refused_with_the_parent_s_sentence(tmp_path: Path) -> None:
    """A worker tells its caller what the parent said, and gives the loan back."""
    counter = Counter(tmp_path, Standing(state=EngineState.STOPPED, failure="no place is free; try again in 5 s"))

    async def scene(borrowing: Borrowing) -> None:
        with pytest.raises(Refusal, match="no place is free"):
            async with borrowing.lend(model("ft:a")):
                pass

    asyncio.run(counter.visit(scene))
    assert counter.heard == [Borrow(1, model("ft:a")), Return(1)]


def test_one_loan_serves_all_requests_of_a_worker(tmp_path: Path) -> None:
    """Two at once share it; it goes back with the last of them, and the next request makes a new one."""
    counter = Counter(tmp_path, SERVES)

    async def scene(borrowing: Borrowing) -> None:
        async with borrowing.lend(model("ft:a")) as one, borrowing.lend(model("ft:a")) as other:
            assert one is other
            assert one.state is EngineState.READY
        async with borrowing.lend(model("ft:a")):
            pass

    asyncio.run(counter.visit(scene))
    assert [type(said) for said in counter.heard] == [Borrow, Return, Borrow, Return]
    assert [said.number for said in counter.heard if isinstance(said, Borrow)] == [1, 2]
