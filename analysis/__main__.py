"""Command line of the analysis: table, curves."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from analysis.trials import Results

ROOT = Path(__file__).resolve().parents[1]
PIPE_WIDTH = 100  # columns where no terminal says how many it has

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Tables and figures from what the trials of a suite left behind.",
)

SuiteName = Annotated[str, typer.Argument(metavar="SUITE", help="A shipped suite's name, or a path to your own .yaml.")]
Folder = Annotated[Path, typer.Option("--results", help="Folder that holds all results.")]
Tasks = Annotated[list[str] | None, typer.Option("--task", help="Only this task; may be given several times.")]
Form = Annotated[
    Literal["terminal", "markdown", "csv"],
    typer.Option("--format", help="terminal also writes table.md beside the records."),
]
TableOut = Annotated[Path | None, typer.Option("--out", help="Write the table into this file and print its path.")]
FigureOut = Annotated[Path | None, typer.Option("--out", help="Folder for the figures, if not beside the records.")]


@app.command()
def table(
    suite: SuiteName,
    results: Folder = ROOT / "results",
    form: Form = "terminal",
    out: TableOut = None,
    task: Tasks = None,
) -> None:
    """Compare the entrants of a suite: final scores, sample efficiency, and every hole with its reason."""
    found = _load(suite, results, task)
    from analysis.cells import tidy_csv
    from analysis.tables import markdown, terminal

    if form == "csv":
        text = tidy_csv(found)
    elif form == "markdown":
        text = markdown(found)
    else:
        on_screen = sys.stdout.isatty() and out is None
        text = terminal(found, width=_width() if on_screen else PIPE_WIDTH, colour=on_screen)
    if out is not None:
        _write(out, text)
        return
    typer.echo(text, nl=False)
    if form == "terminal" and not task:  # a part of the suite must not take the place of the whole
        _write(found.folder / "table.md", markdown(found))


@app.command()
def curves(suite: SuiteName, results: Folder = ROOT / "results", out: FigureOut = None, task: Tasks = None) -> None:
    """Draw the learning curves of a suite, as PNG and SVG."""
    found = _load(suite, results, task)
    from analysis.figures import write

    name = "-".join(["curves", *(task or [])])
    try:
        paths = write(found, (out or found.folder / "figures") / name)
    except OSError as error:
        raise _stop(f"expected to write the figures, found: {error}. Choose another folder with --out.", 4) from None
    for path in paths:
        typer.echo(str(path))


def _load(suite: str, results: Path, tasks: list[str] | None) -> Results:
    from analysis.load import LoadError, load
    from analysis.protocols import UnlikeProtocols
    from suites.spec import SuiteError

    try:
        return load(suite, results, tasks or ())
    except (LoadError, UnlikeProtocols, SuiteError) as error:
        raise _stop(str(error), 2) from None


def _write(path: Path, text: str) -> None:
    from results.record import write_atomically

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode())
    except OSError as error:
        raise _stop(f"expected to write {path}, found: {error}. Choose another file with --out.", 4) from None
    typer.echo(f"written: {path}", err=True)


def _width() -> int:
    from shutil import get_terminal_size

    return get_terminal_size((PIPE_WIDTH, 24)).columns


def _stop(message: str, code: int) -> typer.Exit:
    typer.echo(message, err=True)
    return typer.Exit(code)


if __name__ == "__main__":
    app(prog_name="python -m analysis")
