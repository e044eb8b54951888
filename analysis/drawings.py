"""The commands that draw: learning curves, all figures of a suite, and the report on all suites."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from analysis.command import ROOT, FigureOut, Folder, SuiteName, Tasks, load_or_stop, stop, write_or_stop


def curves(suite: SuiteName, results: Folder = ROOT / "results", out: FigureOut = None, task: Tasks = None) -> None:
    """Draw the learning curves of a suite, as PNG and SVG."""
    found = load_or_stop(suite, results, task)
    from analysis.figures import write

    name = "-".join(["curves", *(task or [])])
    try:
        paths = write(found, (out or found.folder / "figures") / name)
    except OSError as error:
        raise stop(f"expected to write the figures, found: {error}. Choose another folder with --out.", 4) from None
    for path in paths:
        typer.echo(str(path))


def figures(suite: SuiteName, results: Folder = ROOT / "results", out: FigureOut = None, task: Tasks = None) -> None:
    """Draw all figures of a suite, as PNG and SVG: curves, seeds, aggregates, profiles, ratios, world models."""
    found = load_or_stop(suite, results, task)
    from analysis.figures_all import write_all

    try:
        paths, undrawn = write_all(found, out or found.folder / "figures", "".join(f"-{name}" for name in task or ()))
    except OSError as error:
        raise stop(f"expected to write the figures, found: {error}. Choose another folder with --out.", 4) from None
    for path in paths:
        typer.echo(str(path))
    for name, why in undrawn.items():
        typer.echo(f"not drawn: {name}: {why}", err=True)


def report(
    suites: Annotated[
        list[str] | None, typer.Argument(metavar="[SUITE]...", help="If none: all that are shipped or have records.")
    ] = None,
    results: Folder = ROOT / "results",
    out: Annotated[Path, typer.Option(help="Folder for report.html.")] = Path("report"),
) -> None:
    """Write one page on all: claims, tables, graphs, holes, protocols, provenance. It needs no other file."""
    from analysis.load import LoadError
    from analysis.protocols import UnlikeProtocols
    from analysis.report import page
    from suites.spec import SuiteError

    try:
        text = page(suites or (), results)
    except (LoadError, UnlikeProtocols, SuiteError) as error:
        raise stop(str(error), 2) from None
    write_or_stop(out / "report.html", text)
