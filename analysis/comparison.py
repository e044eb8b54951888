"""Compares the entrants of a suite over its tasks: aggregates of normalised scores, and who learns in fewer steps.

Nothing is compared over different tasks. Entrants are grouped into fields: for each set of scored tasks that an
entrant has runs of, a field holds all entrants that have runs of all of them. Seeds that are missing only make an
interval wider and are named; a task without any run takes its entrant into a smaller field. One task alone is no
field: the table of the suite tells it, with t intervals.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from analysis import aggregates, scores
from analysis.aggregates import Estimate
from analysis.cells import Cell, cells
from analysis.efficiency import RatioInterval, sample_efficiency_ratio, welch
from analysis.scores import Array, Interval
from analysis.trials import Results, TaskFacts, Trial

RESAMPLES = 10_000
AGGREGATES = {
    "IQM": aggregates.iqm,
    "median": aggregates.median,
    "mean": aggregates.mean,
    "optimality gap": aggregates.optimality_gap,
}


@dataclass(frozen=True, kw_only=True)
class Field:
    """Entrants that have runs of all these tasks, compared over them."""

    tasks: tuple[str, ...]
    entrants: tuple[str, ...]
    runs: dict[str, tuple[int, ...]]  # entrant -> runs of each task
    aggregates: dict[tuple[str, str], Estimate]  # entrant, aggregate
    improvement: dict[tuple[str, str], Estimate]  # (a, b): the probability that a run of a scores above one of b


@dataclass(frozen=True, kw_only=True)
class Race:
    """Two entrants on one task: how many steps, and how much of the metric on the way."""

    task: TaskFacts
    a: str
    b: str
    ratio: RatioInterval | str | None  # a word where there is none; None where the task has no threshold
    area: Interval | None  # of a less that of b: mean height of the evaluation curve; None where either has no curve

    def turned(self) -> Race:
        """The same of b and a."""
        ratio = self.ratio.turned() if isinstance(self.ratio, RatioInterval) else self.ratio
        area = self.area and replace(self.area, mean=-self.area.mean)
        return Race(task=self.task, a=self.b, b=self.a, ratio=ratio, area=area)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    fields: list[Field]
    races: list[Race]
    notes: list[str]


def compare(results: Results) -> Comparison:
    """All that can be said of the suite over its tasks. The same records give the same digits."""
    found = {(cell.task.name, cell.entrant): cell for cell in cells(results)}
    normalised: dict[str, dict[str, Array]] = {entrant: {} for entrant in results.entrants}
    for (task, entrant), cell in found.items():
        if cell.task.score and cell.values:
            zero, one = cell.task.score
            normalised[entrant][task] = scores.normalised(cell.values, zero=zero, one=one)
    scored = [name for name, task in results.tasks.items() if task.score]
    fields = [_field(tasks, normalised) for tasks in _task_sets(normalised, scored)]
    areas, gaps = _areas(results)
    races = [_race(task, a, b, found, areas) for task in results.tasks.values() for a, b in _pairs(task, found)]
    notes = [*(_without_a_task(results, normalised, scored, found) if len(scored) > 1 else ()), *gaps]
    if unscored := [name for name in results.tasks if name not in scored]:
        notes.append(f"no `score` is declared, so no aggregate takes them in: {', '.join(unscored)}")
    if len(scored) == 1:
        notes.append(f"only {scored[0]} declares `score`: aggregates need two tasks; the suite's table tells of one")
    return Comparison(fields=fields, races=races, notes=notes)


def _task_sets(normalised: Mapping[str, Mapping[str, Array]], scored: Sequence[str]) -> list[tuple[str, ...]]:
    """The sets of tasks that entrants have runs of, the larger ones first."""
    sets = {tuple(task for task in scored if task in of) for of in normalised.values() if of}
    sets = {tasks for tasks in sets if len(tasks) > 1}
    return sorted(sets, key=lambda tasks: (-len(tasks), [scored.index(task) for task in tasks]))


def _field(tasks: tuple[str, ...], normalised: Mapping[str, Mapping[str, Array]]) -> Field:
    runs = {name: {task: of[task] for task in tasks} for name, of in normalised.items() if of.keys() >= set(tasks)}
    estimates = {
        (entrant, name): aggregates.bootstrap(
            x, statistic, resamples=RESAMPLES, rng=_rng(name, entrant, *tasks)
        )
        for entrant, x in runs.items()
        for name, statistic in AGGREGATES.items()
    }  # fmt: skip
    improvement: dict[tuple[str, str], Estimate] = {}
    for a, b in combinations(runs, 2):
        one = aggregates.bootstrap_pair(
            runs[a], runs[b], aggregates.probability_of_improvement, resamples=RESAMPLES,
            rng=_rng("improvement", a, b, *tasks),
        )  # fmt: skip
        sure = one.low is None or one.high is None or one.low == one.high  # no resample sees a doubt: no interval
        low, high = (None, None) if sure else (one.low, one.high)
        improvement[a, b] = Estimate(point=one.point, low=low, high=high, n=one.n)
        improvement[b, a] = Estimate(point=1 - one.point, low=_less(high), high=_less(low), n=one.n)
    return Field(
        tasks=tasks,
        entrants=tuple(runs),
        runs={entrant: tuple(of.size for of in x.values()) for entrant, x in runs.items()},
        aggregates=estimates,
        improvement=improvement,
    )


def _less(probability: float | None) -> float | None:
    return None if probability is None else 1 - probability


def _pairs(task: TaskFacts, found: Mapping[tuple[str, str], Cell]) -> list[tuple[str, str]]:
    declared = [entrant for (name, entrant), cell in found.items() if name == task.name and cell.expected]
    return list(combinations(declared, 2))


def _race(
    task: TaskFacts,
    a: str,
    b: str,
    found: Mapping[tuple[str, str], Cell],
    areas: Mapping[tuple[str, str], Sequence[float]],
) -> Race:
    both = [found[task.name, entrant] for entrant in (a, b)]
    of_a, of_b = (areas[task.name, entrant] for entrant in (a, b))
    ratio: RatioInterval | str | None = None
    if task.threshold is not None:
        if not all(cell.seeds for cell in both):
            ratio = "no seeds"
        elif any(0 in cell.times for cell in both):
            ratio = "untrained"
        else:
            ratio = sample_efficiency_ratio(
                both[0].times, both[1].times, task.budget, since=(both[0].since, both[1].since),
                resamples=RESAMPLES, rng=_rng("ratio", task.name, a, b),
            )  # fmt: skip
    return Race(task=task, a=a, b=b, ratio=ratio, area=welch(of_a, of_b) if of_a and of_b else None)


def _areas(results: Results) -> tuple[dict[tuple[str, str], list[float]], list[str]]:
    """The area under the evaluations of each seed, and a line for each curve that has none."""
    areas: dict[tuple[str, str], list[float]] = {}
    gaps = []
    for task in results.tasks.values():
        for entrant in results.entrants:
            areas[task.name, entrant] = of = []
            for trial in results.trials.get((task.name, entrant), ()):
                if gap := _gap(task, trial):
                    gaps.append(f"{task.name} / {entrant} / seed {trial.seed}: no area under its curve: {gap}")
                else:
                    of.append(scores.area_under_curve(trial.step, trial.value))
    return areas, gaps


def _gap(task: TaskFacts, trial: Trial) -> str | None:
    """Why the evaluations of a trial make no curve.

    Straight lines join them where they were made, so that an agent that learns in rollouts, and passes marks without
    an evaluation, has a curve, too; but a line over much of the budget would make up most of what it measures.
    """
    if not np.isfinite(trial.value).all():
        return "a value is not finite"
    if trial.step[0] != 0 or trial.step[-1] != task.budget:
        return f"its evaluations reach from step {trial.step[0]:,.0f} to {trial.step[-1]:,.0f} only"
    widest = np.diff(trial.step).max()
    if widest > max(task.budget / 4, 2 * task.every):
        return f"it was not evaluated for {widest:,.0f} of {task.budget:,} steps"
    return None


def _without_a_task(
    results: Results,
    normalised: Mapping[str, Mapping[str, Array]],
    scored: Sequence[str],
    found: Mapping[tuple[str, str], Cell],
) -> list[str]:
    """Which scored tasks an entrant has no run of, and why."""
    lines = []
    for entrant in results.entrants:
        absent = [task for task in scored if task not in normalised[entrant]]
        missing = [task for task in absent if found[task, entrant].expected]
        spared = [task for task in absent if not found[task, entrant].expected]
        left = [task for task in scored if task in normalised[entrant]]
        compared = f"scores are compared over {', '.join(left)}" if len(left) > 1 else "no scores are compared"
        if missing:
            lines.append(f"{entrant}: {compared}; no run has finished of {', '.join(missing)}")
        if spared:
            lines.append(f"{entrant}: {compared}; the suite does not set it {', '.join(spared)}")
    return lines


def _rng(*what: str) -> np.random.Generator:
    """A generator of each number's own, so that an entrant more changes no digit of the others."""
    digest = hashlib.sha256("\0".join(what).encode()).digest()
    return np.random.default_rng(list(digest))


FIELDS = ("suite", "tasks", "entrant", "against", "number", "point", "least", "most", "low", "high", "n")


def tidy_csv(results: Results, said: Comparison) -> str:
    """One row for each number; an empty field is a number that does not exist (no interval, only bounded)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(FIELDS)
    for field in said.fields:
        tasks = ";".join(field.tasks)
        for (entrant, name), of in field.aggregates.items():
            writer.writerow(
                [results.suite, tasks, entrant, "", name, *_csv(of.point, None, None, of.low, of.high), of.n]
            )
        for (a, b), of in field.improvement.items():
            numbers = _csv(of.point, None, None, of.low, of.high)
            writer.writerow([results.suite, tasks, a, b, "probability of improvement", *numbers, of.n])
    for race in said.races:
        who = [results.suite, race.task.name, race.a, race.b]
        if isinstance(race.ratio, RatioInterval):
            ratio = race.ratio
            numbers = _csv(ratio.point, ratio.least, ratio.most, ratio.low, ratio.high)
            writer.writerow([*who, "step ratio", *numbers, ratio.n])
        if race.area:
            numbers = _csv(race.area.mean, None, None, race.area.low, race.area.high)
            writer.writerow([*who, "curve difference", *numbers, race.area.n])
    return text.getvalue()


def _csv(*values: float | None) -> list[str]:
    return ["" if value is None else f"{value:.8g}" for value in values]
