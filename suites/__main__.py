"""Command line of the suites: list, check, run, status, work, dream."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from suites.spec import Suite, TrialSpec

ROOT = Path(__file__).resolve().parents[1]
T = TypeVar("T")

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="Declare, run and resume suites."
)

SuiteName = Annotated[str, typer.Argument(metavar="SUITE", help="A shipped suite's name, or a path to your own .yaml.")]
Results = Annotated[Path, typer.Option(help="Folder that holds all results.")]
Tasks = Annotated[list[str] | None, typer.Option("--task", help="Only this task; may be given several times.")]
Entrants = Annotated[list[str] | None, typer.Option("--entrant", help="Only this entrant; may be given several times.")]
OnlySeeds = "Only these seeds: 0,2 or 0-4, several times if you like; or +5: five fresh ones, for a gate."
Seeds = Annotated[list[str] | None, typer.Option("--seeds", help=OnlySeeds)]
Device = Annotated[str, typer.Option(help="Where agents that use torch compute: cpu, cuda, cuda:1.")]
CheckpointEvery = Annotated[float, typer.Option(help="Seconds between two saves of a trial, at least.")]
Patience = Annotated[float, typer.Option(help="Seconds without a sign of life after which a trial counts as hung.")]
Simulators = Annotated[
    int, typer.Option(help="Processes over which each trial spreads parallel environments; 0: none beside its own.")
]
Retries = Annotated[int, typer.Option(help="Attempts in a row that may end without the trial having got further.")]


@app.command("list")
def list_() -> None:
    """The shipped suites, each with its title and its size."""
    from suites.listing import lines

    for line in _or_faults(lines):
        typer.echo(f"{line.name:<28}{line.trials:>5} trials  {line.title}")


@app.command()
def check(
    suites: Annotated[list[str], typer.Argument(metavar="SUITE...")],
    make: Annotated[bool, typer.Option("--make", help="Also open each environment and make each agent once.")] = False,
) -> None:
    """Read suite files and show every fault in them; nothing is run."""
    for name in suites:
        suite = _load(name)
        if make:
            _refuse_what_cannot_run(suite.trials(), ROOT / "results", make=True)
        typer.echo(
            f"{suite.name}: {len(suite.tasks)} tasks, {len(suite.entrants)} entrants, {len(suite.trials())} trials"
        )


@app.command()
def run(
    suite: SuiteName,
    task: Tasks = None,
    entrant: Entrants = None,
    seeds: Seeds = None,
    workers: Annotated[int | None, typer.Option(help="Trials at a time; all cores if left out.")] = None,
    device: Device = "cpu",
    results: Results = ROOT / "results",
    checkpoint_every: CheckpointEvery = 60.0,
    patience: Patience = 1800.0,
    retries: Retries = 3,
    simulators: Simulators = 0,
    ray: Annotated[str | None, typer.Option(help="Spread over a Ray cluster: auto, local, or its address.")] = None,
    gpus: Annotated[float, typer.Option(help="With --ray: the share of a GPU that each trial gets.")] = 0.0,
) -> None:
    """Run every trial that has no record yet; what was interrupted goes on from its last save."""
    loaded, trials = _trials(suite, task, entrant, seeds, device)
    count = os.cpu_count() or 1 if workers is None else workers
    if ray is not None:
        given = [("--task", task), ("--entrant", entrant), ("--seeds", seeds)]
        chosen = [word for option, values in given for value in values or [] for word in (option, value)]
        settings = [f"--checkpoint-every={checkpoint_every}", f"--patience={patience}", f"--retries={retries}"]
        settings.append(f"--simulators={simulators}")
        arguments = [str(loaded.path), f"--results={results.resolve()}", f"--device={device}", *chosen, *settings]
        raise typer.Exit(_on_ray(trials, results, arguments, ray, count, gpus))
    _sweep(loaded, trials, results, count, checkpoint_every, patience, retries, simulators, wait_for_others=True)


@app.command()
def work(
    suite: SuiteName,
    task: Tasks = None,
    entrant: Entrants = None,
    seeds: Seeds = None,
    device: Device = "cpu",
    results: Results = ROOT / "results",
    checkpoint_every: CheckpointEvery = 60.0,
    patience: Patience = 1800.0,
    retries: Retries = 3,
    simulators: Simulators = 0,
) -> None:
    """One more worker on the same results folder, from any machine that sees it; ends when nothing is left to take."""
    loaded, trials = _trials(suite, task, entrant, seeds, device)
    _sweep(loaded, trials, results, 1, checkpoint_every, patience, retries, simulators, wait_for_others=False)


@app.command()
def status(
    suite: SuiteName,
    task: Tasks = None,
    entrant: Entrants = None,
    seeds: Seeds = None,
    results: Results = ROOT / "results",
) -> None:
    """What is finished, running, interrupted, failed, waiting."""
    from suites.runner.status import print_status

    print_status(_trials(suite, task, entrant, seeds, "cpu")[1], results)


@app.command()
def dream(
    trial: Annotated[str, typer.Argument(metavar="TRIAL", help="suite/task/entrant/seed, or the path of its record.")],
    temperature: Annotated[list[float] | None, typer.Option(help="Of a dream; may be given several times.")] = None,
    mp4: Annotated[bool, typer.Option(help="Films in place of GIFs; needs the extra `video`.")] = False,
    results: Results = ROOT / "results",
) -> None:
    """What a finished trial's world model sees: real frames beside their reconstructions, and dreams."""
    from suites.runner.kept import NotKept, pictures_of

    try:
        for path in pictures_of(trial, results, temperature or [0.1, 1.0, 1.3], ".mp4" if mp4 else ".gif"):
            typer.echo(f"wrote {path}")
    except NotKept as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None


@app.command(hidden=True)
def schema() -> None:
    """Write suite.schema.json, by which editors complete suite files, from the declared types."""
    from suites.spec import schema_text

    path = ROOT / "suites" / "suite.schema.json"
    path.write_text(schema_text())
    typer.echo(f"wrote {path}")


def _load(name: str) -> Suite:
    from suites.spec import load_suite

    return _or_faults(lambda: load_suite(name))


def _or_faults(read: Callable[[], T]) -> T:
    """What is read of suite files, or all their faults and the end."""
    from suites.faults import SuiteError

    try:
        return read()
    except SuiteError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None


def _trials(
    name: str,
    tasks: Sequence[str] | None,
    entrants: Sequence[str] | None,
    seeds: Sequence[str] | None,
    device: str,
) -> tuple[Suite, list[TrialSpec]]:
    from suites.selection import asked_seeds

    loaded = suite = _load(name)
    try:
        suite, wanted = asked_seeds(suite, ",".join(seeds or ()))
        if suite is not loaded:
            told = "`python -m analysis gate` compares them, tables leave them out"
            typer.echo(f"fresh seeds from {suite.seeds[0]} on: {told}", err=True)
        trials = suite.trials(tasks or None, entrants or None, wanted, device)
    except ValueError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    if not trials:
        typer.echo(f"no trial of {suite.name} is of that task, entrant and seed; `check` shows what there is", err=True)
        raise typer.Exit(2)
    return suite, trials


def _refuse_what_cannot_run(trials: list[TrialSpec], results: Path, *, make: bool = False) -> None:
    from suites.runner.preflight import problems
    from suites.runner.rehearsal import refusals

    if faults := problems(trials, results) or (refusals(trials) if make else []):
        typer.echo("\n\n".join(faults) + "\n\nnothing was run", err=True)
        raise typer.Exit(2)


def _on_ray(
    trials: list[TrialSpec], results: Path, arguments: list[str], address: str, workers: int, gpus: float
) -> int:
    from suites.runner.ray_workers import run_on_ray

    _refuse_what_cannot_run(trials, results)
    try:
        return run_on_ray(trials, results, arguments, address=address, workers=workers, gpus=gpus)
    except ImportError:
        typer.echo("--ray needs the extra `ray`: pip install -c constraints.txt -e '.[ray]'", err=True)
        raise typer.Exit(2) from None


def _sweep(
    suite: Suite,
    trials: list[TrialSpec],
    results: Path,
    workers: int,
    checkpoint_every: float,
    patience: float,
    retries: int,
    simulators: int,
    wait_for_others: bool,
) -> None:
    from suites.runner.display import display
    from suites.runner.sweep import Settings, Sweep

    _refuse_what_cannot_run(trials, results)
    settings = Settings(
        results=results,
        workers=workers,
        checkpoint_every=checkpoint_every,
        patience=patience,
        retries=retries,
        simulators=simulators,
        wait_for_others=wait_for_others,
    )
    sweep = Sweep(trials, settings, display())
    typer.echo(f"{suite.title}\n{len(trials)} trials, {len(sweep.done)} done before, {workers} at a time")
    code = sweep.run()
    if code in (130, 143):
        typer.echo("stopped; give the same command again to go on")
    elif code == 0:
        where = "" if results == ROOT / "results" else f" --results {results}"
        typer.echo(f"all done. Next: python -m analysis table {suite.name}{where}")
    raise typer.Exit(code)


if __name__ == "__main__":
    app(prog_name="python -m suites")
