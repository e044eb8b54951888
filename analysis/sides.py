"""What two results folders hold of the same cells: the scores of each side, its holes, and in what the two differ."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from analysis.load import trial_or_reason
from analysis.protocols import parted, spoken
from analysis.trials import Trial, spans
from results.record import RecordError, read
from suites.spec import Suite

Pair = tuple[str, str]  # task, entrant
CONDITIONS = {"protocol": ("protocol", "known"), "config": ("config",)}  # of a header
COLUMNS = ("step", "value", "episode_step", "episode_return", "episode_length")


class GateError(Exception):
    """Nothing can be judged; the message says what was expected, what was found, and the remedy."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """What one folder holds of a cell."""

    trials: tuple[Trial, ...] = ()
    holes: tuple[str, ...] = ()  # seeds without a score, with the reason
    seeds: tuple[int, ...] = ()  # all that left anything behind

    @property
    def values(self) -> tuple[float, ...]:
        return tuple(trial.final for trial in self.trials)

    @property
    def n(self) -> int:
        return len(self.trials)

    @property
    def mean(self) -> float | None:
        return float(np.mean(self.values)) if self.trials else None


def read_side(folder: Path, pairs: Sequence[Pair], metrics: Mapping[str, str]) -> dict[Pair, Side]:
    """What the suite's ``folder`` holds of each cell, whichever seeds these are; ``metrics`` is by task.

    Raises:
        GateError: no record at all, or some that can't be read.
    """
    found: dict[Pair, Side] = {}
    faults: list[str] = []
    for task, entrant in pairs:
        trials: list[Trial] = []
        holes: list[str] = []
        seeds = sorted(_seeds(folder / task / entrant))
        for seed, path in seeds:
            key = (task, entrant, seed)
            if path.suffix == ".jsonl" and (fault := _fault(path, key)):
                faults.append(fault)
                continue
            outcome = trial_or_reason(key, path, folder, metrics[task], "evaluation")
            if isinstance(outcome, str):
                holes.append(f"seed {seed}: {outcome}")
            else:
                trials.append(outcome)
        found[task, entrant] = Side(trials=tuple(trials), holes=tuple(holes), seeds=tuple(seed for seed, _ in seeds))
    if faults:
        raise GateError("\n".join(faults))
    if not any(side.trials or side.holes for side in found.values()):
        raise GateError(
            f"expected records of these cells below {folder}, found none. Make them with "
            f"`python -m suites run {folder.name} --results {folder.parent}`, or name the folder that holds them."
        )
    return found


def with_absent(suite: Suite, sides: Mapping[Pair, Side], asked: Collection[int] | None = None) -> dict[Pair, Side]:
    """The cells, with a hole for each seed that is known to have been run and left nothing behind.

    ``asked``: the seeds that were asked for. Where that isn't known, a cell of which there is anything should have each
    seed that another cell has, if it is the entrant's own or beyond all of the suite's.
    """
    known = {seed for side in sides.values() for seed in side.seeds} if asked is None else set(asked)
    last, found = max(suite.all_seeds), dict(sides)
    for (task, entrant), side in sides.items():
        due = {seed for seed in known if seed > last or seed in suite.seeds_of(entrant, task)}
        if side.seeds and (absent := sorted(due.difference(side.seeds))):
            why = "nothing was left behind" + (", though other cells have it" if asked is None else "")
            hole = f"seed{'s' if len(absent) > 1 else ''} {spans(absent)}: {why}"
            found[task, entrant] = replace(side, holes=(*side.holes, hole))
    return found


def _seeds(folder: Path) -> Iterator[tuple[int, Path]]:
    """Each seed with its record or, where there is none, the folder that it runs in."""
    for path in folder.glob("*.*"):
        unfinished = path.suffix == ".work" and not path.with_suffix(".jsonl").exists()
        if path.stem.isdigit() and (path.suffix == ".jsonl" or unfinished):
            yield int(path.stem), path


def _fault(path: Path, key: tuple[str, str, int]) -> str | None:
    try:
        record = read(path)
    except (RecordError, OSError) as error:
        return str(error)
    if not record.finished:
        return f"{path}: expected a last row `end`, found none. Delete the file and run the trial again."
    header = record.header
    if (found := (header["task"], header["entrant"], header["seed"])) != key:
        return f"{path}: expected the record of {key}, found that of {found}. Put it back where it belongs."
    return None


def comparable(new: Side, old: Side) -> bool:
    """Whether all was measured under one protocol and with the same functions granted."""
    trials = (*new.trials, *old.trials)
    return len({(trial.header["protocol_hash"], tuple(trial.header["known"])) for trial in trials}) < 2


def remarks(new: Side, old: Side) -> Iterator[str]:
    """What a reader must know of a cell beside its numbers."""
    for name, side in (("new", new), ("recorded", old)):
        yield from (f"{name} {hole}" for hole in side.holes)
        if not side.trials and not side.holes:
            yield f"no {name} seed was found"
        for what, fields in CONDITIONS.items():
            for one, other, unlike in parted(side.trials, *fields):
                yield f"another {what}, {name} seeds {one} / {other}: {spoken(unlike)}"
    for what, fields in CONDITIONS.items():
        for _, _, unlike in parted([*old.trials[:1], *new.trials[:1]], *fields):
            yield f"another {what}, recorded / new: {spoken(unlike)}"
    recorded = {trial.seed: trial for trial in old.trials}
    shared = [trial for trial in new.trials if trial.seed in recorded]
    if shared:
        same = sum(_repeats(trial, recorded[trial.seed]) for trial in shared)
        yield (
            f"seed{'s' if len(shared) > 1 else ''} {spans([trial.seed for trial in shared])} on both sides: "
            f"{same} of {len(shared)} repeat the recorded trial, episode for episode"
        )


def _repeats(one: Trial, other: Trial) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True) for name in COLUMNS)


def commits(sides: Mapping[Pair, Side]) -> str:
    """Which code made the records of a side."""
    headers = [trial.header for side in sides.values() for trial in side.trials]
    names = {f"{header['commit'][:10]}{' and changes' if header['dirty'] else ''}" for header in headers}
    return ", ".join(sorted(names)) or "none"
