"""The routes of tuning, and how a path with an id in its middle is found."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

from millrace.base.errors import Reason, Refusal
from millrace.gateway.exchange import Exchange
from millrace.gateway.files import Files
from millrace.gateway.fine_tuning import FineTuning
from millrace.tenants.values import Caller

Handler = Callable[[Exchange, Caller], Awaitable[None]]


class Route(NamedTuple):
    """A path of the API, or a prefix of paths where it ends with a slash; `{id}` in its middle stands for anything without one.
    The table is also what the reference page shows.
    """

    method: str
    path: str
    summary: str


UPLOAD: Final = Route("POST", "/v1/files", "Send a file to tune with, as multipart/form-data.")
FILES: Final = Route("GET", "/v1/files", "The tenant's files: ?after=ID&limit=20&order=desc.")
FILE: Final = Route("GET", "/v1/files/", "One file.")
DELETE_FILE: Final = Route("DELETE", "/v1/files/", "Delete a file that no unfinished job needs.")
FILE_CONTENT: Final = Route("GET", "/v1/files/{id}/content", "What is in a file.")
TUNE: Final = Route("POST", "/v1/fine_tuning/jobs", "Tune a model with a file of examples.")
TUNINGS: Final = Route("GET", "/v1/fine_tuning/jobs", "The tenant's jobs, newest first: ?after=ID&limit=20.")
TUNING: Final = Route("GET", "/v1/fine_tuning/jobs/", "One job: how far it is, what became of it.")
CANCEL_TUNING: Final = Route("POST", "/v1/fine_tuning/jobs/{id}/cancel", "End a job; nothing of it is billed.")
TUNING_EVENTS: Final = Route("GET", "/v1/fine_tuning/jobs/{id}/events", "A job's story, newest first: ?after=ID&limit=20.")
TUNING_CHECKPOINTS: Final = Route("GET", "/v1/fine_tuning/jobs/{id}/checkpoints", "The points that a job can go on from.")
TUNING_CURVE: Final = Route("GET", "/v1/fine_tuning/jobs/{id}/curve.svg", "The loss of a job as a picture.")
ESTIMATE_TUNING: Final = Route("POST", "/v1/fine_tuning/estimates", "What a job would come to; nothing is started.")

TUNING_ROUTES: Final = (
    UPLOAD, FILES, FILE, DELETE_FILE, FILE_CONTENT, TUNE, TUNINGS, TUNING, CANCEL_TUNING, TUNING_EVENTS, TUNING_CHECKPOINTS,
    TUNING_CURVE, ESTIMATE_TUNING,
)  # fmt: skip


class Tuning:
    """The handlers of these routes."""

    def __init__(self, files: Files, jobs: FineTuning) -> None:
        self._table: Sequence[tuple[Route, Handler]] = (
            (UPLOAD, files.upload), (FILES, files.list), (FILE, files.show), (DELETE_FILE, files.delete),
            (FILE_CONTENT, files.content), (TUNE, jobs.create), (TUNINGS, jobs.list), (TUNING, jobs.show),
            (CANCEL_TUNING, jobs.cancel), (TUNING_EVENTS, jobs.events), (TUNING_CHECKPOINTS, jobs.checkpoints),
            (TUNING_CURVE, jobs.curve), (ESTIMATE_TUNING, jobs.estimate),
        )  # fmt: skip

    def find(self, exchange: Exchange) -> tuple[Route, Handler] | None:
        """None where the path is none of these; METHOD_NOT_ALLOWED where it is and takes another method."""
        matching = [one for one in self._table if _matches(one[0].path, exchange.path)]
        method = "GET" if exchange.method == "HEAD" else exchange.method
        found = next((one for one in matching if one[0].method == method), None)
        if matching and found is None:
            takes = " and ".join(one[0].method for one in matching)
            raise Refusal(Reason.METHOD_NOT_ALLOWED, f"{exchange.path[:200]} takes {takes}, not {exchange.method}")
        return found


def _matches(pattern: str, path: str) -> bool:
    before, middle, after = pattern.partition("{id}")
    if not middle and not pattern.endswith("/"):
        return path == pattern
    inner = path[len(before) : len(path) - len(after)]
    return path.startswith(before) and path.endswith(after) and bool(inner) and "/" not in inner
