"""What the commands of the analysis share: their arguments, and errors as messages with exit codes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from analysis.trials import Results

ROOT = Path(__file__).resolve().parents[1]
PIPE_WIDTH = 100  # columns where no terminal says how many it has

SuiteName = Annotated[str, typer.Argument(metavar="SUITE", help="A shipped suite's name, or a path to your own .yaml.")]
Folder = Annotated[Path, typer.Option("--results", help="Folder that holds all results.")]
Tasks = Annotated[list[str] | None, typer.Option("--task", help="Only this task; may be given several times.")]
TableOut = Annotated[Path | None, typer.Option("--out", help="Write the table into this file and print its path.")]
FigureOut = Annotated[Path | None, typer.Option("--out", help="Folder for the figures, if not beside the records.")]


def load_or_stop(suite: str, results: Path, tasks: list[str] | None) -> Results:
    from analysis.load import LoadError, load
    from analysis.protocols import UnlikeProtocols
    from suites.spec import SuiteError

    try:
        return load(suite, results, tasks or ())
    except (LoadError, UnlikeProtocols, SuiteError) as error:
        raise stop(str(error), 2) from None


def write_or_stop(path: Path, text: str) -> None:
    from results.record import write_atomically

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode())
    except OSError as error:
        raise stop(f"expected to write {path}, found: {error}. Choose another file with --out.", 4) from None
    typer.echo(f"written: {path}", err=True)


def terminal_width() -> int:
    from shutil import get_terminal_size

    return get_terminal_size((PIPE_WIDTH, 24)).columns


def stop(message: str, code: int) -> typer.Exit:
    typer.echo(message, err=True)
    return typer.Exit(code)
