"""Command line of the analysis: records in; tables, figures, verdicts and a report out."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from analysis import drawings, exchange
from analysis.command import (
    PIPE_WIDTH,
    ROOT,
    Folder,
    SuiteName,
    TableOut,
    Tasks,
    load_or_stop,
    stop,
    terminal_width,
    write_or_stop,
)

if TYPE_CHECKING:
    from analysis.tables import Content
    from analysis.trials import Results

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Tables and figures from what the trials of a suite left behind.",
)

Form = Annotated[
    Literal["terminal", "markdown", "csv", "latex"],
    typer.Option("--format", help="terminal also writes table.md beside the records."),
]
ModelForm = Annotated[Literal["terminal", "markdown", "csv", "latex"], typer.Option("--format")]
AggregateForm = Annotated[Literal["terminal", "markdown", "csv"], typer.Option("--format")]


@app.command()
def table(
    suite: SuiteName,
    results: Folder = ROOT / "results",
    form: Form = "terminal",
    out: TableOut = None,
    task: Tasks = None,
) -> None:
    """Compare the entrants of a suite: final scores, sample efficiency, and every hole with its reason."""
    found = load_or_stop(suite, results, task)
    from analysis.cells import tidy_csv
    from analysis.tables import comparison, markdown

    text = _table(found, comparison(found), form, out, tidy_csv)
    if out is not None:
        write_or_stop(out, text)
        return
    typer.echo(text, nl=False)
    if form == "terminal" and not task:  # a part of the suite must not take the place of the whole
        write_or_stop(found.folder / "table.md", markdown(found))


@app.command()
def models(
    suite: SuiteName,
    results: Folder = ROOT / "results",
    form: ModelForm = "terminal",
    out: TableOut = None,
    task: Tasks = None,
) -> None:
    """World models: error by horizon, rewards, ends, calibration; virtual and actual score, who cheats its model."""
    found = load_or_stop(suite, results, task)
    from analysis.model_tables import content, tidy_csv

    told = content(found)
    if told is None:
        raise stop(
            f"expected records of {found.suite} with rows `model` or `virtual`, found none: only trials of agents "
            "that offer a `world_model()` leave them. Run such an agent.",
            2,
        )
    text = _table(found, told, form, out, tidy_csv)
    if out is not None:
        write_or_stop(out, text)
    else:
        typer.echo(text, nl=False)


def _table(found: Results, told: Content, form: str, out: Path | None, csv: Callable[[Results], str]) -> str:
    """The tables in the form that was asked for."""
    from analysis.latex import latex
    from analysis.tables import markdown, terminal

    if form == "csv":
        return csv(found)
    if form == "markdown":
        return markdown(found, told)
    if form == "latex":
        return latex(found, told)
    on_screen = sys.stdout.isatty() and out is None
    return terminal(found, width=terminal_width() if on_screen else PIPE_WIDTH, colour=on_screen, content=told)


app.command()(drawings.curves)
app.command()(drawings.figures)
app.command()(drawings.report)


@app.command()
def aggregate(
    suite: SuiteName,
    results: Folder = ROOT / "results",
    form: AggregateForm = "terminal",
    out: TableOut = None,
    task: Tasks = None,
) -> None:
    """Compare entrants over the tasks of a suite: IQM and kin, probability of improvement, ratios of steps needed."""
    found = load_or_stop(suite, results, task)
    from analysis.comparison import compare, tidy_csv
    from analysis.comparison_tables import markdown, terminal

    said = compare(found)
    if not said.fields and not said.races:
        raise stop(
            f"expected a task of {found.suite} with a `score`, or two entrants on one task, found neither. "
            "Declare `score: { zero: ..., one: ... }` in the suite file.",
            2,
        )
    if form == "csv":
        text = tidy_csv(found, said)
    elif form == "markdown":
        text = markdown(found, said)
    else:
        on_screen = sys.stdout.isatty() and out is None
        text = terminal(found, said, width=terminal_width() if on_screen else PIPE_WIDTH, colour=on_screen)
    if out is not None:
        write_or_stop(out, text)
    else:
        typer.echo(text, nl=False)


@app.command()
def gate(
    suite: SuiteName,
    against: Annotated[Path, typer.Option(help="Results folder with the recorded scores: it holds <suite>/...")],
    results: Folder = ROOT / "results",
    alpha: Annotated[float, typer.Option(help="Probability that anything unchanged is called a regression.")] = 0.05,
    drop: Annotated[float, typer.Option(help="Standard deviations that each test alone must be able to see.")] = 1.5,
    task: Tasks = None,
    entrant: Annotated[list[str] | None, typer.Option(help="Only this entrant; may be given several times.")] = None,
    seeds: Annotated[
        list[str] | None, typer.Option(help="The new seeds that there should be, as `suites run` takes them.")
    ] = None,
    waivers: Annotated[Path | None, typer.Option(help="YAML list of waived cells: cell, reason, expires.")] = None,
    junit: Annotated[Path | None, typer.Option(help="Write the verdicts as JUnit XML into this file.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write them as markdown into this file.")] = None,
) -> None:
    """Have scores dropped? Ends with 0 passed, 3 regression, 5 not tested (too few seeds, missing), 2 can't be read."""
    from analysis import gate_output
    from analysis.gate import gate_from_files
    from analysis.sides import GateError

    try:
        found = gate_from_files(
            suite, results, against, alpha, drop, task or None, entrant or None, waivers, ",".join(seeds or ())
        )
    except GateError as error:
        raise stop(str(error), 2) from None
    typer.echo(gate_output.terminal(found), nl=False)
    if junit is not None:
        write_or_stop(junit, gate_output.junit(found).decode())
    if markdown is not None:
        write_or_stop(markdown, gate_output.markdown(found))
    raise typer.Exit(found.exit_code)


@app.command()
def claims(
    suites: Annotated[list[str] | None, typer.Argument(metavar="[SUITE]...", help="If none: all shipped.")] = None,
    results: Folder = ROOT / "results",
    form: Annotated[Literal["terminal", "markdown"], typer.Option("--format")] = "terminal",
    out: TableOut = None,
) -> None:
    """What the records say to the published claims of suites: ours, theirs, the test, the verdict, what differs."""
    from analysis import claim_tables
    from analysis.claims import judge_recorded
    from analysis.load import LoadError
    from suites.spec import SuiteError, shipped_suites

    try:
        verdicts = judge_recorded(suites or [path.stem for path in shipped_suites()], results)
    except (SuiteError, LoadError) as error:
        raise stop(str(error), 2) from None
    width = terminal_width() if sys.stdout.isatty() and out is None else PIPE_WIDTH
    text = claim_tables.markdown(verdicts) if form == "markdown" else claim_tables.terminal(verdicts, width)
    if out is not None:
        write_or_stop(out, text)
    else:
        typer.echo(text, nl=False)


@app.command()
def published(
    paper: Annotated[str, typer.Option(help="Part of a paper's name, of its arXiv number, or of a row's id.")] = "",
    env: Annotated[str, typer.Option(help="Part of an environment's name, there or in gymnasium.")] = "",
    method: Annotated[str, typer.Option(help="Part of a method's name.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="Rows to print.")] = 20,
    check: Annotated[bool, typer.Option(help="Hold published aggregates against published scores instead.")] = False,
) -> None:
    """Find published scores: each with what its spread means, n, budget, source, and the id that claims name."""
    from analysis import published as scores
    from analysis.published_lines import lines

    try:
        rows = scores.load_published()
    except scores.PublishedError as error:
        raise stop(str(error), 2) from None
    if check:
        from analysis.published_check import checks

        typer.echo("\n".join(map(str, checks(rows))))
        return
    typer.echo("\n".join(lines(found := scores.select(rows, paper=paper, env=env, method=method), limit)))
    for option, near in scores.near_names(rows, paper=paper, env=env, method=method).items() if not found else ():
        typer.echo(f"no --{option} has that in its name" + (f"; did you mean {near}?" if near else ""), err=True)
    if not found:
        raise typer.Exit(1)


app.command("import")(exchange.import_)
app.command("export")(exchange.export)


if __name__ == "__main__":
    app(prog_name="python -m analysis")
