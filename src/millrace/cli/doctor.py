"""`millrace doctor`: what this machine can run, what is missing, and how to get it."""

import os
from collections.abc import Iterator
from typing import Any

import typer

from millrace.base.errors import Refusal
from millrace.cli import doctor_cloud as cloud
from millrace.cli import doctor_machine as machine
from millrace.cli.doctor_findings import Finding, Verdict, fail, ok
from millrace.cli.output import Table, cell
from millrace.cli.shell import Shell, command, refuse
from millrace.settings.parse import Settings, declared, settings_file


def register(app: typer.Typer) -> None:
    command(app, "doctor", example="millrace doctor")(doctor)


def doctor(shell: Shell) -> None:
    """Look at this machine and this cloud: what works, what is missing, and how to get it; exit 1 when something fails.

    Nothing is changed, and it may run beside the server.
    """
    findings = list(examine(shell))
    shell.show(doctor_form(findings), doctor_table(findings))
    failed = [one.name for one in findings if one.verdict is Verdict.FAIL]
    if failed:
        refuse(f"not fit to serve: {', '.join(failed)}")


def examine(shell: Shell) -> Iterator[Finding]:
    """Look by look. Where the settings cannot be read, what they declare is not looked at."""
    yield from machine.programs()
    yield ok("processor", f"{machine.cores()} cores")
    yield machine.gpu()
    yield from cloud.home(shell.home_path)
    file = settings_file(shell.home_path, shell.config)
    try:
        settings = declared(shell.home_path, shell.config)
    except Refusal as refusal:
        yield fail("settings", refusal.sentence, f"mend {file}, or name another file with --config")
        return
    yield ok("settings", str(file) if file.exists() else "the defaults")
    yield from _declared(shell, settings)


def _declared(shell: Shell, settings: Settings) -> Iterator[Finding]:
    place = settings.store.place(shell.home_path.absolute())
    yield cloud.database(place)
    yield cloud.clock(shell.clock.now(), place)
    yield cloud.port(settings.server)
    yield cloud.limits(settings)
    yield from cloud.telemetry(settings)
    yield from cloud.tuning(place, settings)
    for model in settings.models:
        yield from cloud.model(model, os.environ, str(settings_file(shell.home_path, shell.config)))


def doctor_form(findings: list[Finding]) -> dict[str, Any]:
    """The JSON form."""
    return {"ok": all(one.verdict is not Verdict.FAIL for one in findings), "checks": findings}


def doctor_table(findings: list[Finding]) -> Table:
    rows = [(one.verdict.value, one.name, one.detail, cell(one.remedy)) for one in findings]
    return Table(("VERDICT", "CHECK", "FOUND", "REMEDY"), rows)
