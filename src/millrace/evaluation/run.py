"""Ask every case, judge every answer, write every result down: so many at a time, in the suite's order."""

import asyncio
import hashlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from msgspec import Struct

from millrace.base.errors import Reason, Refusal
from millrace.client.answers import ChatAnswer
from millrace.client.client import Client
from millrace.evaluation.bounded import TookTooLong, bounded
from millrace.evaluation.results import Header, Result, Results
from millrace.evaluation.scoring import Score, score
from millrace.evaluation.suite import Case
from millrace.wire.models import ModelCard

SCORE_S: Final = 2.0
"""For judging one answer. Patterns and schemas that people write take microseconds; one that takes longer has run away."""

NS_PER_MS: Final = 1_000_000

NOT_ANSWERED: Final = frozenset(
    {
        Reason.INVALID_REQUEST, Reason.UNSUPPORTED_PARAMETER, Reason.CONTEXT_LENGTH_EXCEEDED, Reason.REQUEST_TOO_LARGE,
    }
)  # fmt: skip
"""Refusals that say something of the model and this case, such as a context that is too short: the case fails. Any other one,
such as credit that is used up, says something of the server or the key, and ends the run."""


class Question(NamedTuple):
    """One case for one model; `attempt` counts from 0."""

    model: ModelCard
    case: Case
    attempt: int

    @property
    def name(self) -> tuple[str, str, int]:
        """What its result is found by."""
        return self.model.id, self.case.id, self.attempt


class Progress(Struct):
    """How far a run is, answers of an earlier one included."""

    done: int
    total: int
    passed: int


def questions(cases: Sequence[Case], models: Sequence[ModelCard], repeat: int) -> list[Question]:
    """All that is to be asked: models side by side, so that both meet the server in the same state."""
    return [Question(model, case, attempt) for case in cases for attempt in range(repeat) for model in models]


async def run(
    client: Client, asked: Sequence[Question], results: Results, *, parallel: int, tell: Callable[[Progress], None]
) -> list[Result]:
    """The results of what is asked, in its order; what the file has already is not asked again.

    Raises the first Refusal that is not a case's own; what was judged until then is written down.
    """
    judged = {(result.model, result.case, result.attempt): result for result in results.all}
    left = deque(question for question in asked if question.name not in judged)
    there = [judged[question.name] for question in asked if question.name in judged]
    progress = Progress(len(there), len(asked), sum(result.passed for result in there))

    async def work() -> None:
        while left:
            question = left.popleft()
            result = await _result(client, question, results.header)
            results.add(result)
            judged[question.name] = result
            progress.done += 1
            progress.passed += result.passed
            tell(progress)

    workers = [asyncio.create_task(work()) for _ in range(min(parallel, len(left)))]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return [judged[question.name] for question in asked]


async def _result(client: Client, question: Question, header: Header) -> Result:
    model, case, attempt = question.model.id, question.case, question.attempt
    seed = None if header.seed is None else header.seed + attempt
    name = hashlib.sha256("\n".join((header.run, model, case.id, str(attempt))).encode()).hexdigest()
    body = case.body(
        model, max_output_tokens=question.model.max_output_tokens, temperature=header.temperature, seed=seed
    )
    try:
        answer = await client.chat(body, idempotency_key=name)
    except Refusal as refusal:
        if refusal.reason not in NOT_ANSWERED:
            raise
        return Result(model=model, case=case.id, attempt=attempt, passed=False, why=f"refused: {refusal.sentence}")
    receipt = await client.receipt(answer.request_id)
    judged = judge(case, answer)
    return Result(
        model=model, case=case.id, attempt=attempt, passed=judged.passed, why=judged.why, text=answer.text, calls=answer.calls,
        request_id=receipt.request_id, input_tokens=receipt.tokens.input, output_tokens=receipt.tokens.output,
        amount=receipt.amount, currency=receipt.currency,
        latency_ms=None if answer.latency_ns is None else answer.latency_ns / NS_PER_MS,
    )  # fmt: skip


def judge(case: Case, answer: ChatAnswer, seconds: float = SCORE_S) -> Score:
    """Judge an answer in bounded time; in the main thread only."""
    try:
        with bounded(seconds):
            return score(case, answer)
    except TookTooLong:
        return Score(passed=False, why=f"judging it took longer than {seconds:g} s; mend the case's pattern or schema")
