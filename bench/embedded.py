"""Tokens a second through Millrace over tokens a second straight from llama.cpp: `python -m bench.embedded`.

Both are the same running llama.cpp: Millrace starts it with the bundled model and its books on, and the other callers go to
its own port with its secret, as Millrace does. They take turns (A B A B …), with one caller and with eight; a ratio is the
median of the rounds' ratios. The gateway is not pinned: engine and gateway share the machine as they would at home.
"""

import argparse
import asyncio
import os
import re
import secrets
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

import aiohttp
import msgspec
import uvloop

from bench.processes import Child, end_on_signal, free_port, running
from bench.report import Conditions, Table, append, median, show, spread
from bench.systems import audit, run_cli
from millrace.base.sse import EventReader
from millrace.catalog import bundled
from millrace.engines.embedded import EmbeddedSettings
from millrace.engines.embedded.served import LlamaServer

GOAL: Final = 0.98
CALLERS: Final = (1, 8)
TOKENS: Final = 128
_ANSWERS: Final = "answers"
