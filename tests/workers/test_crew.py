"""The parent of workers, with workers that are made of nothing: starts, deaths, scrapes, the end."""

import asyncio
import signal
from collections.abc import Awaitable, Callable

import pytest

from millrace.base.clock import FakeClock
from millrace.base.errors import Refusal
from millrace.workers.crew import START_TRIES, Crew, worst
from millrace.workers.messages import Ask, Collect, Collected, Down, ModelState, Ready, Refused, Sample, Up
from millrace.workers.worker import Worker

READY = Ready((ModelState("m", "ready", None),))


async def settle(turns: int = 100) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


class FakeWorker:
    """Says what it is given, answers scrapes unless it is `silent`, and ends at a signal or by `die`."""

    def __init__(self, number: int, *says: Up) -> None:
        self.pid = 1000 + number
        self.number = number
        self.told: list[Down] = []
        self.signals: list[signal.Signals] = []
        self.silent = False
        self._says: asyncio.Queue[Up | None] = asyncio.Queue()
        for message in says:
            self.say(message)

    def say(self, message: Up | None) -> None:
        self._says.put_nowait(message)

    def die(self) -> None:
        self.say(None)

    def tell(self, message: Down) -> None:
        self.told.append(message)
        if isinstance(message, Collect) and not self.silent:
            self.say(Sample(f"# TYPE requests gauge\nrequests {self.number}\n"))

    async def heard(self) -> Up | None:
        return await self._says.get()

    def send_signal(self, number: signal.Signals) -> None:
        self.signals.append(number)
        self.die()

    async def gone(self) -> str:
        return "it is gone"


class SlowClock(FakeClock):
    """Lets everybody else do what they can do now before time passes."""

    async def sleep(self, seconds: float) -> None:
        await settle(20)
        await super().sleep(seconds)


class Stage:
    """A crew of two on a fake clock, and every worker that it launched."""

    def __init__(self, make: Callable[[int], FakeWorker]) -> None:
        self.launched: list[FakeWorker] = []
        self.announced: list[tuple[ModelState, ...]] = []

        async def launch(number: int) -> Worker:
            self.launched.append(make(number))
            return self.launched[-1]

        self.crew = Crew(2, launch, {}, SlowClock(), patience_s=60)

    async def serve(self, scene: Callable[["Stage"], Awaitable[None]]) -> None:
        serving = asyncio.create_task(self.crew.serve(self.announced.append))
        await settle()
        await scene(self)
        self.crew.stop()
        await serving


def play(make: Callable[[int], FakeWorker], scene: Callable[[Stage], Awaitable[None]]) -> Stage:
    async def staged() -> Stage:
        stage = Stage(make)
        await stage.serve(scene)
        return stage

    return asyncio.run(staged())


def serving(number: int) -> FakeWorker:
    return FakeWorker(number, READY)


def test_it_is_ready_when_all_are() -> None:
    """The announcement waits for the last worker, comes once, and the end is asked of each worker."""

    async def scene(stage: Stage) -> None:
        assert stage.announced == []
        stage.launched[1].say(READY)
        await settle()
        assert stage.announced == [READY.models]

    stage = play(lambda number: serving(0) if number == 0 else FakeWorker(number), scene)
    assert [worker.number for worker in stage.launched] == [0, 1]
    assert all(worker.signals[0] is signal.SIGTERM for worker in stage.launched)


def test_one_that_dies_is_launched_again() -> None:
    """The other is left alone, the restart is counted, and nothing is announced twice."""

    async def scene(stage: Stage) -> None:
        stage.launched[0].die()
        await settle()
        assert [worker.number for worker in stage.launched] == [0, 1, 0]
        assert stage.launched[1].signals == []
        assert 'millrace_worker_restarts_total{worker="0"} 1\n' in await stage.crew.collect()

    assert len(play(serving, scene).announced) == 1


def test_pauses_grow_while_it_goes_on_dying() -> None:
    """Each death costs twice the pause of the one before, up to a bound: ten of them take seconds, not milliseconds."""

    async def scene(stage: Stage) -> None:
        clock = stage.crew._clock
        assert isinstance(clock, FakeClock)
        began = clock.monotonic()
        for _ in range(10):
            next(worker for worker in reversed(stage.launched) if worker.number == 0).die()
            await settle()
        assert 30e9 < clock.monotonic() - began < 60e9

    play(serving, scene)


def test_a_start_that_fails_again_and_again_is_refused() -> None:
    """A worker that ends before it ever served is tried a few times; then the start is over, and the others are ended."""

    def make(number: int) -> FakeWorker:
        worker = FakeWorker(number) if number == 1 else serving(number)
        if number == 1:
            worker.die()
        return worker

    async def start() -> None:
        stage = Stage(make)
        with pytest.raises(Refusal, match="worker 1 could not be started: it is gone"):
            await stage.crew.serve(stage.announced.append)
        assert [worker.number for worker in stage.launched].count(1) == START_TRIES
        assert signal.SIGTERM in stage.launched[0].signals
        assert stage.announced == []

    asyncio.run(start())


def test_what_a_worker_refuses_is_told_in_its_own_words() -> None:
    """At once: a second try would say the same."""

    def make(number: int) -> FakeWorker:
        worker = FakeWorker(number, Refused("there is no key"))
        worker.die()
        return worker

    async def start() -> None:
        stage = Stage(make)
        with pytest.raises(Refusal, match="there is no key"):
            await stage.crew.serve(stage.announced.append)
        assert len(stage.launched) == 2

    asyncio.run(start())


def test_a_second_stop_is_handed_on() -> None:
    """It hastens the workers, as it hastens a server that is one process."""

    class Slow(FakeWorker):
        def send_signal(self, number: signal.Signals) -> None:
            self.signals.append(number)
            if len(self.signals) == 2:
                self.die()

    async def scene(stage: Stage) -> None:
        stage.crew.stop()
        await settle()
        assert [worker.signals for worker in stage.launched] == [[signal.SIGTERM]] * 2

    stage = play(lambda number: Slow(number, READY), scene)
    assert [worker.signals[:2] for worker in stage.launched] == [[signal.SIGTERM] * 2] * 2


def test_a_scrape_shows_all_and_waits_for_no_silent_one() -> None:
    """A worker that asks gets everybody's samples; one that does not answer is left out and not asked again meanwhile."""

    async def scene(stage: Stage) -> None:
        asking, other = stage.launched
        asking.say(Ask())
        await settle()
        answers = [message.text for message in asking.told if isinstance(message, Collected)]
        assert len(answers) == 1
        assert 'requests{worker="0"} 0\nrequests{worker="1"} 1\n' in answers[0]
        other.silent = True
        for _ in range(2):
            text = await stage.crew.collect()
            assert 'requests{worker="0"} 0\n' in text
            assert 'requests{worker="1"}' not in text
        assert sum(isinstance(message, Collect) for message in other.told) == 2

    play(serving, scene)


def test_a_model_is_as_ready_as_its_worst_worker() -> None:
    """One that is ready here and loading there is loading."""
    loading = ModelState("m", "loading", None)
    assert worst([READY.models, (loading,)]) == (loading,)
    assert worst([READY.models, READY.models]) == READY.models
