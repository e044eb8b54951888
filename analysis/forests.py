"""What is drawn as rows of dots with intervals: every seed's value, aggregates, improvement, ratios of steps."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby

from analysis.aggregates import Estimate
from analysis.cells import Cell, cells
from analysis.comparison import AGGREGATES, Comparison, Field, Race
from analysis.comparison_tables import READING, is_few, told_estimate, told_improvement, told_ratio
from analysis.efficiency import RatioInterval
from analysis.tables import decimals, number
from analysis.trials import Results

MANY = 6  # entrants; the pairs of more fill pages as rows and are drawn as squares (`analysis.squares`)
WIDE = 30.0  # lengths that differ by more than this factor are drawn on a log scale


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of dots; what does not exist is None, what is open is infinite (or 0, of a ratio)."""

    label: str
    entrant: str | None = None  # whose colour it has; None: a pair's
    point: float | None = None
    low: float | None = None
    high: float | None = None
    dots: tuple[tuple[int, float], ...] = ()  # seed, value
    said: str  # the same as text, with n


@dataclass(frozen=True, kw_only=True)
class Forest:
    """Rows that share an axis."""

    name: str
    under: str  # what it is over
    across: str  # what the axis is
    rows: tuple[Row, ...]
    even: float | None = None  # where there is no difference
    log: bool = False

    @property
    def span(self) -> tuple[float, float] | None:
        """What the axis must hold: of seeds their values, for their intervals may be very wide; else all ends."""
        values = [value for row in self.rows for _, value in row.dots]
        if not values:
            values = [end for row in self.rows for end in (row.point, row.low, row.high) if end is not None]
            values = [value for value in values if math.isfinite(value) and (value > 0 or not self.log)]
        if self.even is not None:
            values.append(self.even)
        return (min(values), max(values)) if values else None


def of_seeds(results: Results) -> list[Forest]:
    """Each task with every seed's final value, the mean and its t interval."""
    met = [cell for cell in cells(results) if cell.expected]  # they come task by task
    return [_of_task(results, list(row)) for _, row in groupby(met, key=lambda cell: cell.task.name)]


def _of_task(results: Results, row: list[Cell]) -> Forest:
    task = row[0].task
    values = [value for cell in row for value in cell.values]
    log = task.lower_is_better and bool(values) and min(values) > 0 and max(values) > WIDE * min(values)
    better = " (lower is better)" if task.lower_is_better else ""
    return Forest(
        name=task.name,
        under=f"{task.length}; {task.final_episodes} episodes of the last checkpoint",
        across=f"{task.metric}{better}",
        rows=tuple(_seeds(results, cell) for cell in row),
        log=log,
    )


def _seeds(results: Results, cell: Cell) -> Row:
    label, final = results.label(cell.entrant), cell.final
    n = f"(n={len(cell.seeds)}{'' if len(cell.seeds) == cell.expected else f' of {cell.expected}'})"
    if final is None:
        return Row(label=label, entrant=cell.entrant, said=n)
    places = decimals(final.half or abs(final.mean) / 20)
    half = f" ± {number(final.half, places)}" if final.half is not None else ""
    return Row(
        label=label, entrant=cell.entrant, point=final.mean, low=final.low, high=final.high,
        dots=tuple(zip(cell.seeds, cell.values, strict=True)), said=f"{number(final.mean, places)}{half} {n}",
    )  # fmt: skip


def of_aggregates(results: Results, said: Comparison) -> list[Forest]:
    """Each aggregate of normalised scores, over each set of tasks that entrants have runs of."""
    return [
        Forest(
            name=name,
            under=over(field),
            across="normalised score" + (" short of 1 (lower is better)" if name == "optimality gap" else ""),
            rows=tuple(
                _row(results, entrant, field.aggregates[entrant, name], field.runs[entrant])
                for entrant in field.entrants
            ),
        )
        for field in said.fields
        for name in AGGREGATES
    ]


def _row(results: Results, entrant: str, of: Estimate, runs: tuple[int, ...]) -> Row:
    return Row(
        label=results.label(entrant), entrant=entrant, point=of.point, low=of.low, high=of.high,
        said=told_estimate(of, runs),
    )  # fmt: skip


def of_improvement(results: Results, said: Comparison) -> list[Forest]:
    """Each pair: the probability that a seed of the one scores above a seed of the other."""
    return [
        Forest(
            name="Probability of improvement",
            under=over(field),
            across="P(a above b)",
            rows=tuple(_pair(results, field, a, b) for a, b in combinations(field.entrants, 2)),
            even=0.5,
        )
        for field in said.fields
        if 1 < len(field.entrants) <= MANY
    ]


def _pair(results: Results, field: Field, a: str, b: str) -> Row:
    of = field.improvement[a, b]
    return Row(
        label=f"{results.label(a)} above {results.label(b)}", point=of.point, low=of.low, high=of.high,
        said=told_improvement(field, a, b),
    )  # fmt: skip


def of_ratios(results: Results, said: Comparison) -> list[Forest]:
    """Each task with a threshold: how many steps the one needs for each that the other needs."""
    told = drawn_races(results, said).values()
    return [
        _of_races(results, races) for races in told if len({who for one in races for who in (one.a, one.b)}) <= MANY
    ]


def drawn_races(results: Results, said: Comparison) -> dict[str, list[Race]]:
    """Task by task the pairs of which something is known; a task without any is left out."""
    timed = {name: [race for race in said.races if race.task.name == name] for name in results.tasks}
    told = {name: [race for race in races if race.ratio and not _why_open(race)] for name, races in timed.items()}
    return {name: races for name, races in told.items() if races}


def untold(said: Comparison) -> list[str]:
    """One line for each task with pairs of which no ratio is drawn."""
    left = Counter((race.task.name, why) for race in said.races if (why := _why_open(race)))
    return [f"{task}: {n} pair{'s' if n > 1 else ''} not drawn: {why}" for (task, why), n in left.items()]


def _why_open(race: Race) -> str | None:
    """Why nothing is known of a ratio; None if something is, or none was asked for."""
    if race.ratio == "no seeds":
        return "no seed of the one or the other has finished"
    of = race.ratio
    if isinstance(of, RatioInterval) and of.point is None and of.least == 0 and math.isinf(of.most):
        return "of neither did half of the seeds reach the threshold"
    return None


def _of_races(results: Results, races: Sequence[Race]) -> Forest:
    task = races[0].task
    return Forest(
        name=task.name,
        under=under_race(races[0]),
        across="steps of b for each of a; right of 1, a learns in fewer",
        rows=tuple(_race(results, race) for race in races),
        even=1.0,
        log=True,
    )


def under_race(race: Race) -> str:
    sign = "≤" if race.task.lower_is_better else "≥"
    return f"steps to {race.task.metric} {sign} {race.task.threshold:,g}, of {race.task.length}"


def _race(results: Results, race: Race) -> Row:
    label = f"{results.label(race.a)} : {results.label(race.b)}"
    if not isinstance(race.ratio, RatioInterval):
        return Row(label=label, said=str(race.ratio))
    low, high = race.ratio.low, race.ratio.high
    if low == 0 and high == math.inf:
        low = high = None  # an interval that is open to both sides says nothing
    return Row(label=label, point=race.ratio.point, low=low, high=high, said=told_ratio(race))


def over(field: Field) -> str:
    return f"over {len(field.tasks)} tasks: {', '.join(field.tasks)}"


def caution(said: Comparison) -> list[str]:
    """What must be said beside intervals of scores over few tasks or of few seeds."""
    few = READING["few"][0].upper() + READING["few"][1:]
    return [few] if any(map(is_few, said.fields)) else []


def nothing(results: Results, said: Comparison) -> Iterator[tuple[str, str]]:
    """Which figures are not drawn, and why."""
    if not said.fields:
        why = "; ".join(n for n in said.notes if "score" in n) or "no two tasks with a `score` have runs"
        yield from ((name, why) for name in ("aggregates", "profiles", "improvement"))
    elif all(len(field.entrants) < 2 for field in said.fields):
        yield "improvement", "no two entrants have runs of the same tasks with a `score`"
    if not drawn_races(results, said):
        timed = any(task.threshold is not None for task in results.tasks.values())
        why = "; ".join(untold(said)) or "no task with a `threshold` has two entrants"
        yield "ratios", why if timed else "no task declares a `threshold`"
