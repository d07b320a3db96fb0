"""The child process: `python -m millrace.engines.embedded.child`. Reads ChildSettings, serves until its parent is gone.

Theory of operation. Whatever llama.cpp prints goes to a bounded file, since its parent may have no terminal and no time to
read a pipe. The child ends with its parent in two ways: the kernel sends SIGKILL (Linux), and a thread waits for the end
of standard input, which comes when the parent's end of the pipe closes for any reason (everywhere). SIGTERM ends it at
once: there is nothing here to be saved.
"""

import ctypes
import os
import select
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import Final

import msgspec
import xllamacpp

from millrace.engines.embedded.settings import HTTP_THREADS, ChildSettings, EmbeddedSettings, Report

_VERBOSITY: Final = 2  # errors and warnings
_LOG_LOOK_S: Final = 5.0
_TAIL_BYTES: Final = 8192
_PR_SET_PDEATHSIG: Final = 1
_POOLING: Final = {"mean": 1, "cls": 2, "last": 3, "model": -1}


def main() -> None:
    """Serve until ended from outside, or end with a report of the failure."""
    settings = msgspec.json.decode(sys.stdin.buffer.readline(), type=ChildSettings)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    report_to = os.dup(1)
    log = _redirect_output(settings.engine.log)
    _die_with_parent(settings.parent)
    threading.Thread(target=_watch, args=(log, settings.engine.log_bytes_max), daemon=True).start()
    try:
        servers, report = _serve(settings)
    except RuntimeError as error:
        servers, report = [], Report(failure=_failure(settings.engine, first_error(log) or str(error)))
    os.write(report_to, msgspec.json.encode(report) + b"\n")
    os.close(report_to)
    if servers:
        threading.Event().wait()  # the servers run in threads of their own


def _serve(settings: ChildSettings) -> tuple[list[xllamacpp.Server], Report]:
    """Load the file. Raises RuntimeError where llama.cpp cannot."""
    engine = settings.engine
    if not Path(engine.path).is_file():
        failure = f"model {engine.model!r}: there is no file {engine.path}; pull the model or correct its path"
        return [], Report(failure=failure)
    if engine.adapter is not None and not Path(engine.adapter).is_file():
        return [], Report(failure=f"model {engine.model!r}: its adapter {engine.adapter} is gone; restore it from a backup")
    answers = xllamacpp.Server(_for_answers(settings))
    if not engine.embeddings:
        return [answers], Report(url=answers.listening_address)
    vectors = xllamacpp.Server(_for_embeddings(settings))
    return [answers, vectors], Report(url=answers.listening_address, embeddings_url=vectors.listening_address)


def _for_answers(settings: ChildSettings) -> xllamacpp.CommonParams:
    engine = settings.engine
    params = _params(settings)
    params.n_ctx = engine.context_tokens * engine.slots
    params.n_parallel = engine.slots
    params.cache_ram_mib = engine.cache_mib
    return params


def _for_embeddings(settings: ChildSettings) -> xllamacpp.CommonParams:
    """One slot, whose physical batch takes the longest text: llama.cpp does not embed a text in parts."""
    tokens = settings.engine.embedding_tokens_max
    params = _params(settings)
    params.embedding = True
    params.pooling_type = _POOLING[settings.engine.pooling]
    params.n_ctx = params.n_batch = params.n_ubatch = tokens
    params.n_parallel = 1
    params.cache_ram_mib = 0
    return params


def _params(settings: ChildSettings) -> xllamacpp.CommonParams:
    engine = settings.engine
    params = xllamacpp.CommonParams()
    params.model.path = engine.path
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [settings.api_key]
    params.ui = False
    params.n_threads_http = HTTP_THREADS
    params.cont_batching = True
    params.ctx_shift = False  # a request over its context is refused, never truncated
    params.use_jinja = True
    params.verbosity = _VERBOSITY
    if engine.adapter is not None:
        adapter = xllamacpp.CommonAdapterLoraInfo()
        adapter.path = engine.adapter
        adapter.scale = 1.0
        params.lora_adapters = [adapter]
    if engine.threads is not None:
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = engine.threads
    if engine.gpu_layers is not None:
        params.n_gpu_layers = engine.gpu_layers
    return params


def _failure(engine: EmbeddedSettings, said: str) -> str:
    files = engine.path if engine.adapter is None else f"{engine.path} with the adapter {engine.adapter}"
    return (
        f"model {engine.model!r}: llama.cpp cannot serve {files} ({said}); check that the file is a whole GGUF "
        f"and that {engine.slots} slots of {engine.context_tokens} tokens fit the memory, or pull it again"
    )


def _redirect_output(log: str | None) -> int:
    """Standard output and error into the log file, or into one without a name. Says its descriptor."""
    if log is None:
        unnamed, path = tempfile.mkstemp(prefix="millrace-llama-")
        os.close(unnamed)
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
        Path(path).unlink()
    else:
        descriptor = os.open(log, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    return descriptor


def first_error(log: int) -> str:
    """The first error among the last lines of the log, without its time and level."""
    size = os.fstat(log).st_size
    lines = os.pread(log, _TAIL_BYTES, max(0, size - _TAIL_BYTES)).decode("utf-8", "replace").splitlines()
    errors = [line.partition(" E ")[2].strip() for line in lines if " E " in line]
    return errors[0] if errors else ""


def _die_with_parent(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _watch(log: int, log_bytes_max: int) -> None:
    """Until standard input ends, keep the log within its bound; then end the process."""
    while True:
        readable, _, _ = select.select([0], [], [], _LOG_LOOK_S)
        if readable and not os.read(0, 4096):
            os._exit(0)
        bound_log(log, log_bytes_max)


def bound_log(log: int, bytes_max: int) -> None:
    if os.fstat(log).st_size > bytes_max:
        os.ftruncate(log, 0)


if __name__ == "__main__":
    main()
