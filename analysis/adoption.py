"""Under which names imported runs enter a suite: what the reader says, or what the files say, made fit for a folder."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from analysis.foreign import Run
from suites.declared import NAME
from suites.faults import nearest
from suites.spec import Suite, load_suite, shipped_suites

LENGTH = 64  # of a name, as in a suite file


class ImportRefused(Exception):
    """Nothing was written; the message says what was expected, what was found, and the remedy."""


def declared_suite(name: str) -> Suite | None:
    """The suite if it is declared; None for a name under which there will only be imported records."""
    path = Path(name)
    if path.suffix in (".yaml", ".yml") or path.name != name or name in [file.stem for file in shipped_suites()]:
        return load_suite(name)
    if not _fit(name):
        raise ImportRefused(
            f"--suite: expected a suite's name or file, or a new name of small letters, digits, - and _, found {name!r}"
        )
    return None


def adopted(
    runs: Sequence[Run], told_tasks: Sequence[str], told_entrants: Sequence[str], suite: Suite | None
) -> list[Run]:
    """The runs under the names that they have here.

    What is told is OURS, if the files have one task (entrant), or OURS=THEIRS for those of several that are wanted.
    """
    named = _named(_named(runs, "task", told_tasks), "entrant", told_entrants)
    if suite is None:
        return named
    for run in named:
        if run.task not in suite.tasks:
            raise ImportRefused(
                f"{run.file}: expected a task of {suite.name} ({', '.join(suite.tasks)}), found {run.task!r}."
                f"{_hint(str(run.task), suite.tasks)} Say which one it is: --task OURS={run.task}"
            )
        if run.entrant in suite.entrants:
            raise ImportRefused(
                f"{run.file}: expected a name that no entrant of {suite.name} has, found {run.entrant!r}, whose "
                "records are for `run` to make. Choose another with --entrant."
            )
    return named


def _named(runs: Sequence[Run], what: Literal["task", "entrant"], told: Sequence[str]) -> list[Run]:
    theirs = {_of(run, what): plain(_of(run, what)) for run in runs}
    listed = ", ".join(name or "(none)" for name in theirs)
    wanted: dict[str, str] = {}
    for one in told:
        ours, _, their = one.partition("=")
        if not their and len(theirs) == len(told) == 1:
            their = next(iter(theirs))
        elif not their:
            raise ImportRefused(f"--{what} {one}: the files have {listed}; say which is which: --{what} OURS=THEIRS")
        their = next((name for name in theirs if their in (name, plain(name))), their)
        if their not in theirs:
            hint = _hint(their, theirs)
            raise ImportRefused(f"--{what} {one}: expected a {what} of the files ({listed}), found {their!r}.{hint}")
        wanted[their] = ours
    names = wanted or theirs
    for their, ours in names.items():
        if not _fit(ours):
            found = f"found {ours!r}" if their else "found none in the files"
            raise ImportRefused(f"expected a {what} of small letters, digits, - and _, {found}. Say it with --{what}.")
    kept = [run for run in runs if _of(run, what) in names]
    if what == "task":
        return [replace(run, task=names[_of(run, what)]) for run in kept]
    return [replace(run, entrant=names[_of(run, what)]) for run in kept]


def _of(run: Run, what: Literal["task", "entrant"]) -> str:
    return (run.task if what == "task" else run.entrant) or ""


def plain(name: str) -> str:
    """The name as a folder may have it."""
    return re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-_")


def _fit(name: str) -> bool:
    return bool(re.fullmatch(NAME, name)) and len(name) <= LENGTH


def _hint(name: str, known: Iterable[str]) -> str:
    near = nearest(name, known)
    return f" Did you mean {near!r}?" if near else ""
