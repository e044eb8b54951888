"""The commands `import` and `export`: other projects' runs in, a suite's records out in the forms of other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

ROOT = Path(__file__).resolve().parents[1]

Folder = Annotated[Path, typer.Option("--results", help="Folder that holds all results.")]
Renamed = "A name here or, for those of several that are wanted, OURS=THEIRS; may be given several times."


def import_(
    form: Annotated[Literal["dreamerv3", "tdmpc2", "monitor"], typer.Argument(metavar="dreamerv3|tdmpc2|monitor")],
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH...", help="Files; for monitor also folders, each with the environments of a run."),
    ],
    suite: Annotated[str, typer.Option(help="A declared suite whose tables they enter, or a new name.")],
    results: Folder = ROOT / "results",
    task: Annotated[list[str] | None, typer.Option(help=Renamed)] = None,
    entrant: Annotated[list[str] | None, typer.Option(help=Renamed)] = None,
    action_repeat: Annotated[
        int | None, typer.Option(min=1, help="Frames of a step: the files' steps are frames, and are divided by it.")
    ] = None,
    budget: Annotated[int | None, typer.Option(min=1, help="Steps that count; else the suite's, or all.")] = None,
    last: Annotated[
        int | None,
        typer.Option(min=1, help="Values that make the final number; else the last one, or Monitor's since a mark."),
    ] = None,
    first_seed: Annotated[int, typer.Option(min=0, help="Seed of the first Monitor file: it names none.")] = 0,
) -> None:
    """Enter runs of other projects into a suite's tables and curves, marked as imported, with what is not known."""
    from analysis.adoption import ImportRefused
    from analysis.foreign_values import ForeignError
    from analysis.imports import Told, import_runs
    from suites.spec import SuiteError

    told = Told(
        form=form,
        suite=suite,
        results=results,
        tasks=task or (),
        entrants=entrant or (),
        action_repeat=action_repeat,
        budget=budget,
        last=last,
        first_seed=first_seed,
    )
    try:
        entered = import_runs(paths, told)
    except (ForeignError, ImportRefused, SuiteError) as error:
        raise _stop(str(error), 2) from None
    except OSError as error:
        raise _stop(
            f"expected to write records below {results}, found: {error}. Choose another --results.", 4
        ) from None
    for remark in dict.fromkeys(entered.remarks):
        typer.echo(f"note: {remark}", err=True)
    there = f", {len(entered.already)} were there" if entered.already else ""
    where = "" if results == ROOT / "results" else f" --results {results}"
    typer.echo(f"{len(entered.written)} records imported{there}. Next: python -m analysis table {suite}{where}")


def export(
    form: Annotated[
        Literal["tidy", "parquet", "dreamerv3", "rliable", "tensorboard"],
        typer.Argument(metavar="tidy|parquet|dreamerv3|rliable|tensorboard"),
    ],
    suite: Annotated[str, typer.Argument(metavar="SUITE", help="A shipped suite's name, or a path to your own .yaml.")],
    out: Annotated[Path, typer.Option(help="The file to write; for tensorboard a folder.")],
    results: Folder = ROOT / "results",
    task: Annotated[list[str] | None, typer.Option(help="Only this task; may be given several times.")] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="rliable: values as they are instead of normalised scores.")
    ] = False,
) -> None:
    """Write a suite's evaluations for other tools: CSV, parquet, DreamerV3's JSON, rliable's matrices, TensorBoard."""
    from analysis import exports
    from analysis.load import LoadError, load
    from analysis.protocols import UnlikeProtocols
    from suites.spec import SuiteError

    try:
        remarks = exports.export(form, load(suite, results, task or ()), out, raw=raw)
    except (LoadError, UnlikeProtocols, SuiteError, exports.ExportRefused) as error:
        raise _stop(str(error), 2) from None
    except OSError as error:
        raise _stop(f"expected to write {out}, found: {error}. Choose another --out.", 4) from None
    for remark in remarks:
        typer.echo(f"note: {remark}", err=True)
    typer.echo(str(out))


def _stop(message: str, code: int) -> typer.Exit:
    typer.echo(message, err=True)
    return typer.Exit(code)
