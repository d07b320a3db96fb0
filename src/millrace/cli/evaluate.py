"""`millrace eval`: the command. What it runs is in evaluation/, over the API, as anybody's program would."""

from pathlib import Path
from typing import Annotated, Any

import typer

from millrace.base.errors import Reason, Refusal
from millrace.cli.shell import Shell, command, refuse

SuiteOption = Annotated[Path, typer.Option("--suite", metavar="FILE", help="The cases, one JSON object a line.")]
VersusOption = Annotated[
    str | None, typer.Option("--versus", metavar="MODEL", help="Ask this model the same and compare it with the first.")
]
UrlOption = Annotated[
    str | None, typer.Option("--url", metavar="URL", help="Where the server is; this home's own when left out.")
]
TenantKeyOption = Annotated[
    str | None,
    typer.Option(
        "--tenant", metavar="NAME",
        help="Charge this tenant, by a key of this home that ends with the run; else MILLRACE_API_KEY or OPENAI_API_KEY pays.",
    ),
]  # fmt: skip
ParallelOption = Annotated[int, typer.Option("--parallel", metavar="N", min=1, max=256, help="Questions at a time.")]
SeedOption = Annotated[
    int | None, typer.Option("--seed", metavar="N", min=0, max=2**62, help="Of the drawing; the second answer's is one more.")
]
TemperatureOption = Annotated[
    float | None, typer.Option("--temperature", metavar="T", min=0, max=2, help="The model's own when left out.")
]
RepeatOption = Annotated[int, typer.Option("--repeat", metavar="K", min=1, max=100, help="Answers to each case.")]
OutOption = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="Write each result there; a run that was stopped goes on from it.")
]
LimitOption = Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="Only the first cases.")]
FailOption = Annotated[
    float | None,
    typer.Option("--fail-under", metavar="SHARE", min=0, max=1, help="Exit 1 where MODEL passes less, such as 0.9."),
]
VerboseOption = Annotated[bool, typer.Option("--verbose", help="Show every answer that did not pass, not just five.")]


def register(app: typer.Typer) -> None:
    command(app, "eval", example="millrace eval millrace-tiny --suite shop.jsonl --tenant demo --fail-under 0.9")(evaluate)


def evaluate(
    shell: Shell,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model on offer, from 'millrace model list'.")],
    suite: SuiteOption,
    versus: VersusOption = None,
    url: UrlOption = None,
    tenant: TenantKeyOption = None,
    parallel: ParallelOption = 4,
    seed: SeedOption = None,
    temperature: TemperatureOption = None,
    repeat: RepeatOption = 1,
    out: OutOption = None,
    limit: LimitOption = None,
    fail_under: FailOption = None,
    verbose: VerboseOption = False,
) -> None:
    """Ask a model every case of a suite and say which share passes, and how sure that is; compare two models.

    The questions go through the API of a running server: they are metered and charged like anyone's.
    """
    if versus == model:
        raise Refusal(Reason.INVALID_REQUEST, f"--versus: {model!r} against itself says nothing; name another model")
    # Here, because an HTTP client comes with it, and other commands start in a fraction of that time.
    from millrace.cli.evaluating import Wanted, evaluate_models

    wanted = Wanted(
        models=(model,) if versus is None else (model, versus), suite=suite, url=url, tenant=tenant, parallel=parallel,
        seed=seed, temperature=temperature, repeat=repeat, out=out, limit=limit,
    )  # fmt: skip
    told = evaluate_models(shell, wanted)
    ok = fail_under is None or told.share >= fail_under
    form: dict[str, Any] = {"ok": ok, "fail_under": fail_under, **told.form}
    shell.show(form, *told.views(verbose=verbose))
    if not ok:
        refuse(f"{model} passes {told.share:.1%} of {suite.name}, less than the {fail_under:.1%} that --fail-under asks for")
