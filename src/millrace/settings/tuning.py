"""`[tuning]` of millrace.toml: where models are tuned."""

import re
from typing import Final, Literal, get_args

from msgspec import Struct

from millrace.settings.table import Table

Device = Literal["auto", "cpu", "cuda"]
DEVICES: Final[tuple[Device, ...]] = get_args(Device)

_ADDRESS: Final = re.compile(r"auto|[^\s:/]+:\d{1,5}")


class Tuning(Struct, frozen=True, kw_only=True):
    """`[tuning]`."""

    device: Device = "auto"
    """auto: the GPU of the machine that tunes, when it has one."""
    ray: str | None = None
    """The Ray cluster that trains, as `ray start` says it: `host:6379`, or `auto` on one of its machines."""


def parse_tuning(table: Table) -> Tuning:
    """Raises BAD_SETTING."""
    said = table.text("device", Tuning().device)
    device = next((one for one in DEVICES if one == said), None)
    if device is None:
        raise table.refusal("device", f"one of {', '.join(DEVICES)}", said)
    ray = table.optional_text("ray")
    if ray is not None and not _ADDRESS.fullmatch(ray):
        raise table.refusal("ray", "the address of a cluster, such as 10.0.0.1:6379, or auto", ray)
    if ray is not None and device == "auto":
        raise table.refusal("device", "cpu or cuda where ray is set, since Ray must be asked for a GPU or for none", said)
    table.finish()
    return Tuning(device=device, ray=ray)
