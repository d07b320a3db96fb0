"""The steps of the demo, each with the check that makes it one.

It talks to the server as any program would, by the openai package, and runs invoice and audit as the command line does:
on the same database, beside the running server.
"""

from pathlib import Path
from typing import Any, Final

import msgspec
import openai
from openai.types import CompletionUsage
from openai.types.chat import ChatCompletionUserMessageParam

from millrace.base.errors import Refusal
from millrace.cli.demo_books import BooksSide
from millrace.cli.demo_checks import left_is_billed_fairly, receipt_is_usage, wrong
from millrace.cli.demo_child import Child
from millrace.cli.demo_narrator import Narrator
from millrace.cli.output import Facts
from millrace.cli.shell import Shell
from millrace.wire.receipts import BalanceForm, ReceiptForm

TIMEOUT_S: Final = 120.0
"""For one answer of a small model on a slow machine."""

QUESTION: Final = "Hello! What can you help me with?"
STREAM_QUESTION: Final = "Can I return shoes that don't fit?"
LONG_QUESTION: Final = "Please tell me everything about each product of your shop, one after the other."

LEAVE_AFTER: Final = 3
"""Chunks with text after which the client closes the connection."""

LEAVE_TRIES: Final = 4
"""On a busy machine the client may be put aside for longer than the model needs for everything."""

LONG_LIST: Final = {
    "type": "json_schema",
    "json_schema": {
        "name": "numbers",
        "schema": {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 400},
    },
}
"""Makes any model talk for long enough to be left, also one that has little to say."""


class Story:
    """One telling. `tell` returns what --json prints and raises a Refusal that names the step that failed."""

    def __init__(self, shell: Shell, narrator: Narrator, home: Path, child: Child) -> None:
        self._narrator = narrator
        self._model = child.model
        self._books = BooksSide(shell, narrator, home, child.tenant)
        self._client = openai.OpenAI(base_url=child.base_url, api_key=child.key, max_retries=0, timeout=TIMEOUT_S)
        self._receipts: list[ReceiptForm] = []
        self._told: dict[str, Any] = {"base_url": child.base_url, "model": child.model}
        self._output_max = 0

    def tell(self) -> dict[str, Any]:
        steps = (
            ("List the models", self._list_models),
            ("Ask a question", self._chat),
            ("Ask for the answer as a stream", self._stream),
            ("Leave a stream in the middle", self._leave),
            ("Ask for more than the balance can pay", self._overdraw),
            ("Compare the balance with the receipts", self._compare),
            ("Run the invoice of the month", self._invoice),
            ("Print the trial balance", self._trial_balance),
            ("Audit the books", self._audit),
        )
        with self._client, self._books:
            for title, step in steps:
                self._narrator.step(title)
                try:
                    step()
                except openai.OpenAIError as error:
                    raise self._narrator.failed(str(error)) from error
                except Refusal as refusal:
                    raise self._narrator.failed(refusal.sentence) from refusal
        return self._told

    def _list_models(self) -> None:
        models = self._client.models.list().data
        mine = next((model.to_dict() for model in models if model.id == self._model), None)
        if mine is None:
            raise wrong(f"{self._model} is ready, and is not in the list of models")
        limit = mine["max_output_tokens"]
        assert isinstance(limit, int)
        self._output_max = limit
        self._told["models"] = [model.id for model in models]
        self._narrator.show(Facts([(model.id, f"up to {model.to_dict()['context_tokens']} tokens") for model in models]))

    def _chat(self) -> None:
        raw = self._client.chat.completions.with_raw_response.create(model=self._model, messages=_ask(QUESTION))
        answer = raw.parse()
        self._narrator.say(f"You: {QUESTION}")
        self._narrator.quote(answer.choices[0].message.content or "")
        receipt = self._take_receipt(raw.headers["x-request-id"])
        self._check(receipt_is_usage(receipt, answer.usage))
        self._narrator.say("The usage in the answer and the receipt are the same.")

    def _stream(self) -> None:
        self._narrator.say(f"You: {STREAM_QUESTION}")
        usage: CompletionUsage | None = None
        stream = self._client.chat.completions.create(
            model=self._model, messages=_ask(STREAM_QUESTION), stream=True, stream_options={"include_usage": True}
        )
        with stream:
            self._narrator.stream("", first=True)
            for chunk in stream:
                self._narrator.stream("".join(choice.delta.content or "" for choice in chunk.choices))
                usage = chunk.usage or usage
        self._narrator.end_stream()
        receipt = self._take_receipt(stream.response.headers["x-request-id"])
        self._check(receipt_is_usage(receipt, usage))
        self._narrator.say("The usage in the last frame and the receipt are the same.")

    def _leave(self) -> None:
        """Ask for as much as there can be and go after a few words; a model that was done before is asked for more."""
        for form in (None, *[LONG_LIST] * LEAVE_TRIES):
            request_id, received = self._begin_and_leave(form)
            receipt = self._take_receipt(request_id)
            if receipt.status != "completed":
                break
            self._narrator.say("It had said all it had to say before we left; again, with something longer.")
        self._check(left_is_billed_fairly(receipt, received, self._output_max))
        self._narrator.say(
            f"{received} tokens had arrived when we left, {receipt.tokens.output} are charged: what was on its way to us "
            f"is charged, the other {self._output_max - receipt.tokens.output} that we had asked for are not."
        )

    def _begin_and_leave(self, form: dict[str, Any] | None) -> tuple[str, int]:
        """The request's id, and how many output tokens had arrived when the connection was closed."""
        self._narrator.say(f"You: {LONG_QUESTION}  (at most {self._output_max} tokens; we close the connection early)")
        extra: dict[str, Any] = {"stream_options": {"include_usage": True, "continuous_usage_stats": True}}
        if form is not None:
            extra["response_format"] = form
        received = texts = 0
        stream = self._client.chat.completions.create(
            model=self._model, messages=_ask(LONG_QUESTION), max_tokens=self._output_max, stream=True, extra_body=extra
        )
        with stream:
            self._narrator.stream("", first=True)
            for chunk in stream:
                text = "".join(choice.delta.content or "" for choice in chunk.choices)
                self._narrator.stream(text)
                received = chunk.usage.completion_tokens if chunk.usage else received
                texts += bool(text)
                if texts == LEAVE_AFTER:
                    break
        self._narrator.stream(" …")
        self._narrator.end_stream()
        return stream.response.headers["x-request-id"], received

    def _overdraw(self) -> None:
        key, balance = self._books.make_pauper()
        self._narrator.say(f"The tenant {balance.tenant} has {balance.balance} {balance.currency} and asks the same question.")
        try:
            self._client.with_options(api_key=key).chat.completions.create(model=self._model, messages=_ask(QUESTION))
        except openai.APIStatusError as error:
            if error.status_code != 402:
                raise
            self._narrator.say(f"Refused with {error.status_code} {error.code}: {_message(error)}")
            self._told["refusal"] = {"status": error.status_code, "code": error.code, "message": _message(error)}
        else:
            raise wrong("it was served, and cannot pay")
        self._check(self._books.pauper_lost_something(balance))

    def _compare(self) -> None:
        balance = msgspec.convert(self._client.get("/balance", cast_to=object), BalanceForm)
        self._told["balance"], self._told["receipts"] = balance, self._receipts
        self._check(self._books.compare(balance, self._receipts))

    def _invoice(self) -> None:
        self._told["invoices"] = self._books.invoice(self._receipts)

    def _trial_balance(self) -> None:
        self._told["trial_balance"] = self._books.trial_balance()

    def _audit(self) -> None:
        self._told["audit"] = self._books.audit()

    def _take_receipt(self, request_id: str) -> ReceiptForm:
        receipt = msgspec.convert(self._client.get(f"/receipts/{request_id}", cast_to=object), ReceiptForm)
        self._receipts.append(receipt)
        self._narrator.show(
            Facts(
                (
                    ("receipt", receipt.request_id),
                    ("status", f"{receipt.status}, counted by {receipt.counted_by}"),
                    ("tokens", _tokens(receipt)),
                    ("charged", f"{receipt.amount} {receipt.currency} at {receipt.price}"),
                )
            )
        )  # fmt: skip
        self._check(self._books.is_rated(receipt))
        return receipt

    def _check(self, disagreement: str | None) -> None:
        if disagreement is not None:
            raise wrong(disagreement)


def _ask(question: str) -> list[ChatCompletionUserMessageParam]:
    return [{"role": "user", "content": question}]


def _tokens(receipt: ReceiptForm) -> str:
    tokens = receipt.tokens
    return (
        f"input {tokens.input} (cached {tokens.cached_input}), "
        f"output {tokens.output} (reasoning {tokens.reasoning}), waived {tokens.waived}"
    )


def _message(error: openai.APIStatusError) -> str:
    body = error.body
    return str(body["message"]) if isinstance(body, dict) and "message" in body else error.message
