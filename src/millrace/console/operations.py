"""What the reference says of each route beyond its summary: what it takes and answers, and how it can refuse.

The routes themselves are the gateway's table; a test holds the two together.
"""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct, field

from millrace.base.errors import Reason
from millrace.console.examples import REQUEST_ID
from millrace.console.parameters import CHAT, COMPLETION, EMBEDDINGS, FINE_TUNING, Parameter
from millrace.gateway import app, routes
from millrace.gateway.app import Route
from millrace.gateway.rolling import STEP_TOKENS

_TEXT: Final = {"type": "string"}


class Argument(Struct, frozen=True):
    """A parameter of the path or of the query."""

    name: str
    sentence: str
    example: str
    schema: Mapping[str, Any] = field(default_factory=lambda: _TEXT)


class Operation(Struct, frozen=True, kw_only=True):
    """One route. Forms are named by their public names; None for a body or answer that is not JSON."""

    route: Route
    id: str
    answer: str | None
    notes: tuple[str, ...] = ()
    secured: bool = True
    scope: str | None = None
    body: str | None = None
    parameters: Mapping[str, Parameter] = {}
    example: Mapping[str, Any] | None = None
    argument: Argument | None = None
    query: tuple[Argument, ...] = ()
    streams: bool = False
    refusals: tuple[Reason, ...] = ()
    unready: bool = False

    @property
    def path(self) -> str:
        """With the path's parameter in braces: '/v1/receipts/{id}'."""
        if self.argument is None or "{" in self.route.path:
            return self.route.path
        return f"{self.route.path}{{{self.argument.name}}}"

    @property
    def example_path(self) -> str:
        """A path that can be called."""
        if self.argument is None:
            return self.route.path
        before, middle, after = self.route.path.partition(f"{{{self.argument.name}}}")
        return before + self.argument.example + after if middle else before + self.argument.example


_ALWAYS: Final = (Reason.METHOD_NOT_ALLOWED, Reason.HEADERS_TOO_LARGE, Reason.INTERNAL_ERROR)
_CALLER: Final = (Reason.INVALID_API_KEY, Reason.TENANT_SUSPENDED, *_ALWAYS, Reason.STORE_UNAVAILABLE)
_LOOK_UP: Final = (*_CALLER, Reason.UNSUPPORTED_PARAMETER)
_READ: Final = (*_LOOK_UP, Reason.SCOPE_MISSING)
_INFERENCE: Final = (
    *_READ,
    Reason.INVALID_JSON,
    Reason.INVALID_REQUEST,
    Reason.CONTEXT_LENGTH_EXCEEDED,
    Reason.INSUFFICIENT_CREDIT,
    Reason.BUDGET_EXCEEDED,
    Reason.RATE_LIMIT_EXCEEDED,
    Reason.IDEMPOTENCY_CONFLICT,
    Reason.IDEMPOTENCY_RUNNING,
    Reason.IDEMPOTENCY_ANSWER_LOST,
    Reason.MODEL_NOT_ALLOWED,
    Reason.MODEL_NOT_FOUND,
    Reason.REQUEST_TIMEOUT,
    Reason.REQUEST_TOO_LARGE,
    Reason.ENGINE_UNAVAILABLE,
    Reason.ENGINE_FAILED,
)

_HELD: Final = (
    "The most that the request can cost is held before the engine begins; what it did cost is settled when it ends, and "
    f"the rest is given back. Output is held in steps of {STEP_TOKENS:,} tokens, ahead of what is made: where a later step is "
    "refused, the answer ends with insufficient_credit at the last token that was held for."
)
_STREAM: Final = (
    "With stream: true the answer is text/event-stream: one data: frame for each piece and data: [DONE] at the end. An "
    "engine that breaks in the middle sends an error envelope as the last frame. A client that leaves pays for what was "
    "sent to it and no more."
)
_FILE: Final = Argument("id", "The file's id.", "file-01k8zq4v7me1r9c0q2d5x6y7z8")
_JOB: Final = Argument("id", "The job's id.", "ftjob-01k8zq4v7me1r9c0q2d5x6y7z8")
_PAGE: Final = (
    Argument("after", "The id of the last one that was seen.", "ftjob-01k8zq4v7me1r9c0q2d5x6y7z8"),
    Argument("limit", "How many at most.", "20", {"type": "integer", "minimum": 1, "maximum": 1000}),
)
_TUNING_READ: Final = (*_READ, Reason.NOT_FOUND)
_TUNING_BODY: Final = (
    *_TUNING_READ, Reason.INVALID_JSON, Reason.INVALID_REQUEST, Reason.MODEL_NOT_ALLOWED, Reason.MODEL_NOT_FOUND,
    Reason.REQUEST_TIMEOUT, Reason.REQUEST_TOO_LARGE,
)  # fmt: skip
_TUNING_EXAMPLE: Final = {"model": "{model}", "training_file": _FILE.example, "hyperparameters": {"n_epochs": 3}}
_UPLOADED: Final = (
    "The body is multipart/form-data with the fields purpose, which is fine-tune, and file. The file is taken piece by piece, "
    "up to limits.file_bytes_max, and looked into when a job is made of it."
)
_COUNTED: Final = (
    "The files are counted first: the answer says how many tokens will be trained and what they cost, by the price of "
    "tune:MODEL, exactly. The whole of it is held while the job runs and billed when the model is there; a job that fails or "
    "is cancelled costs nothing. Where the balance is too small there is no job."
)
_BAD_LINES: Final = (
    "A file with bad lines makes a job with the status failed, whose error names the lines. With an Idempotency-Key the same "
    "request again is answered with the same job, for ever."
)

_TUNING: Final = (
    Operation(
        route=routes.UPLOAD, id="createFile", answer="File", scope="inference",
        refusals=(*_READ, Reason.INVALID_REQUEST, Reason.REQUEST_TIMEOUT, Reason.REQUEST_TOO_LARGE),
        notes=(_UPLOADED,),
    ),
    Operation(
        route=routes.FILES, id="listFiles", answer="FileList", scope="read",
        refusals=(*_TUNING_READ, Reason.INVALID_REQUEST),
        query=(
            Argument("after", "The id of the last one that was seen.", _FILE.example), _PAGE[1],
            Argument("order", "By their time.", "desc", {"enum": ["asc", "desc"], "default": "desc"}),
            Argument("purpose", "Only these; there is one.", "fine-tune"),
        ),
    ),
    Operation(route=routes.FILE, id="getFile", answer="File", scope="read", refusals=_TUNING_READ, argument=_FILE),
    Operation(
        route=routes.DELETE_FILE, id="deleteFile", answer="FileDeleted", scope="inference",
        refusals=(*_TUNING_READ, Reason.CONFLICT), argument=_FILE,
        notes=("A file that a job which is not over needs is refused with conflict.",),
    ),
    Operation(
        route=routes.FILE_CONTENT, id="getFileContent", answer=None, scope="read", refusals=_TUNING_READ, argument=_FILE,
        notes=("Byte for byte as it was sent.",),
    ),
    Operation(
        route=routes.TUNE, id="createFineTuningJob", answer="FineTuningJob", scope="inference", body="FineTuningRequest",
        parameters=FINE_TUNING, example=_TUNING_EXAMPLE,
        refusals=(
            *_TUNING_BODY, Reason.INSUFFICIENT_CREDIT, Reason.RATE_LIMIT_EXCEEDED, Reason.IDEMPOTENCY_CONFLICT,
        ),
        notes=(_COUNTED, _BAD_LINES),
    ),
    Operation(
        route=routes.TUNINGS, id="listFineTuningJobs", answer="FineTuningJobList", scope="read",
        refusals=(*_TUNING_READ, Reason.INVALID_REQUEST), query=_PAGE,
    ),
    Operation(
        route=routes.TUNING, id="getFineTuningJob", answer="FineTuningJob", scope="read", refusals=_TUNING_READ, argument=_JOB,
    ),
    Operation(
        route=routes.CANCEL_TUNING, id="cancelFineTuningJob", answer="FineTuningJob", scope="inference",
        refusals=(*_TUNING_READ, Reason.CONFLICT), argument=_JOB,
        notes=("One that runs is cancelled as soon as its trainer has ended, within a minute. One that is over refuses.",),
    ),
    Operation(
        route=routes.TUNING_EVENTS, id="listFineTuningEvents", answer="FineTuningEventList", scope="read",
        refusals=(*_TUNING_READ, Reason.INVALID_REQUEST), argument=_JOB, query=_PAGE,
    ),
    Operation(
        route=routes.TUNING_CHECKPOINTS, id="listFineTuningCheckpoints", answer="FineTuningCheckpointList", scope="read",
        refusals=(*_TUNING_READ, Reason.INVALID_REQUEST), argument=_JOB, query=_PAGE,
        notes=("A checkpoint is where a job goes on that was interrupted. It is no model of its own.",),
    ),
    Operation(
        route=routes.TUNING_CURVE, id="getFineTuningCurve", answer=None, scope="read", refusals=_TUNING_READ, argument=_JOB,
        notes=("SVG: the loss, and the held-out loss, over the tokens trained.",),
    ),
    Operation(
        route=routes.ESTIMATE_TUNING, id="estimateFineTuning", answer="TuningEstimate", scope="read", body="FineTuningRequest",
        parameters=FINE_TUNING, example=_TUNING_EXAMPLE, refusals=(*_TUNING_BODY, Reason.ENGINE_UNAVAILABLE),
        notes=("Bad lines are refused with invalid_request here, since there is no job to fail.",),
    ),
)  # fmt: skip

OPERATIONS: Final = (
    Operation(
        route=app.CHAT, id="createChatCompletion", answer="ChatCompletion", scope="inference", body="ChatRequest",
        parameters=CHAT, streams=True, refusals=_INFERENCE,
        notes=(_HELD, _STREAM, "A parameter that the model's engine cannot honour is refused with 422 and its name."),
        example={"model": "{model}", "messages": [{"role": "user", "content": "Where is my parcel?"}]},
    ),
    Operation(
        route=app.COMPLETIONS, id="createCompletion", answer="Completion", scope="inference", body="CompletionRequest",
        parameters=COMPLETION, streams=True, refusals=_INFERENCE, notes=(_HELD, _STREAM),
        example={"model": "{model}", "prompt": "Once upon a time", "max_tokens": 32},
    ),
    Operation(
        route=app.EMBEDDINGS, id="createEmbeddings", answer="EmbeddingList", scope="inference", body="EmbeddingsRequest",
        parameters=EMBEDDINGS, refusals=_INFERENCE,
        notes=("A model that makes no embeddings refuses with 422 and the parameter model.",),
        example={"model": "{model}", "input": ["red shoes", "blue shoes"]},
    ),
    Operation(
        route=app.MODELS, id="listModels", answer="ModelList", refusals=_LOOK_UP,
        notes=(
            "Only models that the key may use, with the price in the tenant's currency.",
            "Models that the tenant tuned are at the end, with what they were tuned on as parent; nobody else sees them.",
        ),
    ),
    Operation(
        route=app.MODEL, id="getModel", answer="Model",
        refusals=(*_LOOK_UP, Reason.MODEL_NOT_ALLOWED, Reason.MODEL_NOT_FOUND),
        argument=Argument("model", "The model's name; it may contain slashes.", "{model}"),
    ),
    Operation(
        route=app.DELETE_MODEL, id="deleteModel", answer="ModelDeleted", scope="inference",
        refusals=(*_READ, Reason.MODEL_NOT_ALLOWED, Reason.MODEL_NOT_FOUND),
        argument=Argument("model", "The model's name.", "ft:millrace-tiny:acme:shop:0f1e2d3c"),
        notes=(
            "For good. What runs on it ends as it would; within a second no server has such a model any more.",
            "Its usage and receipts stay. A model of the service refuses with model_not_allowed.",
        ),
    ),
    *_TUNING,
    Operation(
        route=app.RECEIPT, id="getReceipt", answer="Receipt", scope="read",
        refusals=(*_READ, Reason.NOT_FOUND, Reason.CONFLICT),
        argument=Argument("id", "The x-request-id of the answer, or the id in its body.", REQUEST_ID),
        notes=("While the request is being settled this waits for it; of one that still runs it answers 409 conflict.",),
    ),
    Operation(
        route=app.BALANCE, id="getBalance", answer="Balance", scope="read", refusals=_READ,
        notes=("Amounts are decimal strings with nine places in the tenant's currency.",),
    ),
    Operation(
        route=app.USAGE, id="getUsage", answer="UsageReport", scope="read", refusals=(*_READ, Reason.INVALID_REQUEST),
        notes=("The span is half-open. Without from and to it is the running month, UTC.",),
        query=(
            Argument("from", "The first instant: a day, or a time with its zone.", "2026-11-01"),
            Argument("to", "The instant after the last.", "2026-12-01"),
            Argument(
                "by", "What each row sums up.", "day", {"enum": ["model", "day", "key"], "default": "model"}
            ),
        ),
    ),
    Operation(route=app.HEALTH, id="getHealth", answer="Health", secured=False, refusals=_ALWAYS),
    Operation(
        route=app.READY, id="getReadiness", answer="Readiness", secured=False, refusals=_ALWAYS, unready=True,
        notes=("503 with the same form while a model is not ready or the server is stopping.",),
    ),
    Operation(
        route=app.METRICS, id="getMetrics", answer=None, secured=False, refusals=_ALWAYS,
        notes=("The Prometheus text format, version 0.0.4.",),
    ),
)  # fmt: skip

MEANINGS: Final = {
    Reason.INVALID_REQUEST: "A parameter has a value that it cannot have; param names it.",
    Reason.INVALID_JSON: "The body is not JSON; the message says at which byte, line and column.",
    Reason.INVALID_HTTP: "What came is not an HTTP/1.1 request; the connection is closed.",
    Reason.INVALID_API_KEY: "There is no key, or it is wrong or revoked.",
    Reason.TENANT_SUSPENDED: "The tenant has been suspended by the operator.",
    Reason.SCOPE_MISSING: "The key does not open this: inference for answers, read for receipts, balance and usage.",
    Reason.INSUFFICIENT_CREDIT: "The most that the request can cost is more than is available; the message says how much.",
    Reason.MODEL_NOT_ALLOWED: "The key is limited to other models.",
    Reason.MODEL_NOT_FOUND: "There is no such model, or it has no price in the tenant's currency.",
    Reason.NOT_FOUND: "There is no such path or receipt. Another tenant's is answered just like none.",
    Reason.METHOD_NOT_ALLOWED: "The path takes another method.",
    Reason.REQUEST_TIMEOUT: "The headers or the body did not come in time. The connection is closed.",
    Reason.CONFLICT: "The state of the thing does not allow it now, such as the receipt of a running request.",
    Reason.IDEMPOTENCY_CONFLICT: "The same Idempotency-Key came with another body or to another route; use a new key.",
    Reason.IDEMPOTENCY_RUNNING: "The first request with this Idempotency-Key still runs; ask again with the same key.",
    Reason.IDEMPOTENCY_ANSWER_LOST: "The first request with this Idempotency-Key was billed; its answer is cut or lost.",
    Reason.REQUEST_TOO_LARGE: "The body is over limits.body_bytes_max. The connection is closed.",
    Reason.HEADERS_TOO_LARGE: "The headers are over limits.header_bytes_max. The connection is closed.",
    Reason.UNSUPPORTED_PARAMETER: "A parameter would change the answer and cannot be honoured; param names it.",
    Reason.CONTEXT_LENGTH_EXCEEDED: "The prompt and what is asked for do not fit the model. Nothing is ever cut off.",
    Reason.RATE_LIMIT_EXCEEDED: "A limit of requests or tokens was met: limit says which, retry-after when to come back.",
    Reason.BUDGET_EXCEEDED: "The key's budget of this month would be overspent; retry-after is the month's end.",
    Reason.ENGINE_UNAVAILABLE: "The model is not ready, or the server is stopping; retry-after says when to come back.",
    Reason.ENGINE_FAILED: "The engine broke or took too long while it answered; what was sent is billed, nothing else.",
    Reason.STORE_UNAVAILABLE: "The books cannot be written now, so nothing is sold; retry-after says when to come back.",
    Reason.BAD_SETTING: "A setting of the server is wrong. It stops a start and is not met by callers.",
    Reason.INTERNAL_ERROR: "An error of the server; its log has it under the x-request-id.",
}
"""What each reason tells a caller."""
