"""Pairs of many entrants as squares: who stands in a row is compared with who stands in a column."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from analysis.comparison import Comparison, Field, Race
from analysis.comparison_tables import shown_ratio, told_improvement, told_ratio
from analysis.efficiency import RatioInterval
from analysis.forests import MANY, drawn_races, over, under_race
from analysis.tables import number
from analysis.trials import Results

STEPS = 4  # of a tint to either side
READING = (
    "Row against column. Blue: the row is the better one, orange: the column; bold: the 95 % bootstrap interval over "
    "seeds excludes that they are even, not corrected for the number of pairs. Where every seed of one is above every "
    "seed of the other on each task, resampling can't doubt it: then a probability of improvement has no interval, so "
    "no bold. A time to a threshold is known only to lie between two evaluations, and so is a ratio of times: its "
    "interval counts the earliest and the latest that they can be, and its tint is of the end nearest to even."
)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One field of a square."""

    shown: str
    said: str  # both names, the number, its interval and n
    tint: int  # from -STEPS, the column is far better, to STEPS, the row is
    sure: bool  # the interval excludes that they are even


@dataclass(frozen=True, kw_only=True)
class Square:
    name: str
    under: str  # what it is over
    across: str  # what is written in it
    labels: tuple[str, ...]
    rows: tuple[tuple[Pair | None, ...], ...]  # None: the same entrant, or nothing is known


def of_improvement(results: Results, said: Comparison) -> list[Square]:
    """The probability that a seed of the row scores above a seed of the column."""
    return [
        _square(
            results, field.entrants, lambda a, b, of=field: _improvement(of, a, b), "Probability of improvement",
            over(field), "P(row above column)",
        )
        for field in said.fields
        if len(field.entrants) > MANY
    ]  # fmt: skip


def _improvement(field: Field, a: str, b: str) -> Pair:
    of = field.improvement[a, b]
    return Pair(
        shown=number(of.point, 2), said=told_improvement(field, a, b), tint=round(2 * STEPS * (of.point - 0.5)),
        sure=of.low is not None and of.high is not None and not of.low <= 0.5 <= of.high,
    )  # fmt: skip


def of_ratios(results: Results, said: Comparison) -> list[Square]:
    """How many steps to the threshold the column needs for each that the row needs."""
    squares = []
    for races in drawn_races(results, said).values():
        met = {name for race in races for name in (race.a, race.b)}
        entrants = [name for name in results.entrants if name in met]
        if len(entrants) <= MANY:
            continue
        found = {(race.a, race.b): race for race in races} | {(race.b, race.a): race.turned() for race in races}
        name, under = races[0].task.name, under_race(races[0])
        across = "steps of column for each of row"
        squares.append(
            _square(results, entrants, lambda a, b, of=found: _race(of.get((a, b))), name, under, across)
        )  # fmt: skip
    return squares


def _race(race: Race | None) -> Pair | None:
    if race is None or not isinstance(race.ratio, RatioInterval):
        return None
    of = race.ratio
    least_far = min(max(of.least, 1.0), of.most)  # it is only bounded: the end that is nearest to even
    return Pair(
        shown=shown_ratio(of), said=told_ratio(race), tint=max(-STEPS, min(STEPS, round(2 * math.log2(least_far)))),
        sure=(of.low is not None and of.low > 1) or (of.high is not None and of.high < 1),
    )  # fmt: skip


def _square(
    results: Results,
    entrants: Sequence[str],
    pair: Callable[[str, str], Pair | None],
    name: str,
    under: str,
    across: str,
) -> Square:
    def named(a: str, b: str) -> Pair | None:
        found = None if a == b else pair(a, b)
        return found and replace(found, said=f"{results.label(a)}, {results.label(b)}: {found.said}")

    rows = tuple(tuple(named(a, b) for b in entrants) for a in entrants)
    return Square(name=name, under=under, across=across, labels=tuple(map(results.label, entrants)), rows=rows)
