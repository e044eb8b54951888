"""The comparison of a suite's entrants over its tasks, as text; n stands beside every number."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from analysis.aggregates import Estimate
from analysis.comparison import AGGREGATES, Comparison, Field, Race
from analysis.efficiency import RatioInterval
from analysis.scores import Interval
from analysis.tables import MARKDOWN_WIDTH, NOTHING, decimals, number
from analysis.trials import Results

MANY_TASKS, MANY_SEEDS = 6, 5  # from as many on the intervals were measured to hold what they say

READING = {
    "scores": "scores: 0 and 1 are what the suite declares for each task. In brackets the 95 % interval, by a "
    "bootstrap over seeds within each task; n: seeds of a task; below 3 seeds of any task no interval. The optimality "
    "gap is how far scores fall short of 1: less is better.",
    "few": f"over fewer than {MANY_TASKS} tasks, or of fewer than {MANY_SEEDS} seeds, intervals of scores may be too "
    "narrow. Simulated, of 100 of them hold the truth: with 2 to 4 tasks of 3 or 5 seeds 55 to 95; with 6 tasks of 3 "
    "seeds 92 and more of the IQM, but 74 to 94 of median, mean and optimality gap. Of the probability of improvement "
    "92 and more do, where it has an interval.",
    "improvement": "probability of improvement: that a seed of the row's entrant scores above one of the column's, "
    "mean over tasks; 0.5 is no difference. No interval where every seed of one is above every seed of the other on "
    "each task: resampling can't doubt that, but a few seeds more might. Not corrected for the number of pairs.",
    "ratio": "ratio a : b: the steps that b needs to the task's threshold for each that a needs, of the marks at which "
    "the median seeds were first seen to reach it; above 1, a learns in fewer. In brackets the 95 % bootstrap "
    "interval, in which each seed may have arrived at any step since it was last measured short of the threshold; an "
    "end that is 0 or ∞ is no end. With > or <: one median is above the budget, so the ratio is only bounded; neither: "
    "both are. n: seeds of the one that has fewer; of 3 against 3 the interval may hold the truth in 90 of 100 cases "
    "only. Not corrected for the number of pairs.",
    "area": "a less b: of the areas under the evaluations, divided by the budget, in the task's metric (of lengths, "
    "less is better), ± half the width of Welch's 95 % t interval; n: seeds of the one that has fewer.",
    "untrained": "untrained: a seed meets the threshold at step 0, before it has learned, so there is no ratio.",
}


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table as text."""

    title: str
    head: tuple[str, ...]
    labels: tuple[str, ...]
    columns: tuple[tuple[str, ...], ...]

    def pages(self, width: int) -> Iterator[Grid]:
        """As many columns at a time as fit into ``width``."""
        left, first, used = max(map(len, self.labels)) + 3, 0, 0
        for at, column in enumerate(self.columns):
            wide = max(map(len, (self.head[at], *column))) + 3
            if at > first and left + used + wide > width:
                yield self._part(first, at)
                first, used = at, 0
            used += wide
        yield self._part(first, len(self.columns))

    def _part(self, first: int, end: int) -> Grid:
        return Grid(
            title=self.title, head=self.head[first:end], labels=self.labels, columns=self.columns[first:end]
        )  # fmt: skip


def terminal(results: Results, said: Comparison, *, width: int, colour: bool) -> str:
    from rich import box
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    page = Console(file=io.StringIO(), width=width, force_terminal=colour, highlight=False, markup=False)
    page.print(Text(results.title, style="bold"))
    for grid in _grids(results, said):
        page.print()
        page.print(Text(grid.title))
        for part in grid.pages(width - 2):
            table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
            table.add_column("")
            for head in part.head:
                table.add_column(Text(head), justify="right")
            for label, *entries in zip(part.labels, *part.columns, strict=True):
                table.add_row(Text(label), *map(Text, entries))
            page.print(table)
    for title, lines in _below(results, said):
        page.print(Text(title, style="bold"))
        for line in lines:
            page.print(Padding(Text(line), (0, 0, 0, 2)))
    assert isinstance(page.file, io.StringIO)
    return "\n".join(line.rstrip() for line in page.file.getvalue().splitlines()) + "\n"


def markdown(results: Results, said: Comparison) -> str:
    lines = [f"# {_plain(results.title)}", ""]
    for grid in _grids(results, said):
        lines += [_plain(grid.title), ""]
        for part in grid.pages(MARKDOWN_WIDTH):
            rows = zip(part.labels, *part.columns, strict=True)
            lines += [_row(["", *map(_plain, part.head)]), _row([":--", *("--:" for _ in part.head)])]
            lines += [*(_row(map(_plain, row)) for row in rows), ""]
    for title, said_below in _below(results, said):
        lines += [f"**{title}**", "", *(f"- {_plain(line)}" for line in said_below), ""]
    return "\n".join(lines[:-1]) + "\n"


def _row(entries: Iterable[str]) -> str:
    return f"| {' | '.join(entries)} |"


def _plain(text: str) -> str:
    """Text from a suite file or a record, so that markdown takes none of it for layout."""
    for character in "\\`*[]<>|":
        text = text.replace(character, f"\\{character}")
    return text


def _grids(results: Results, said: Comparison) -> Iterator[Grid]:
    for field in said.fields:
        yield from _of_field(results, field)
    timed = [race for race in said.races if race.ratio is not None]
    yield from _of_races(results, "Steps to the threshold: ratio a : b", timed, [told_ratio(race) for race in timed])
    curved = [race for race in said.races if race.area]
    heights = [_area(race.area) for race in curved if race.area]
    yield from _of_races(results, "Mean height of the evaluation curve: a less b", curved, heights)


def _of_field(results: Results, field: Field) -> Iterator[Grid]:
    labels = tuple(results.label(entrant) for entrant in field.entrants)
    over = f"{len(field.tasks)} task{'s' if len(field.tasks) > 1 else ''} ({', '.join(field.tasks)})"
    yield Grid(
        title=f"Scores over {over}",
        head=tuple(AGGREGATES),
        labels=labels,
        columns=tuple(
            tuple(told_estimate(field.aggregates[entrant, name], field.runs[entrant]) for entrant in field.entrants)
            for name in AGGREGATES
        ),
    )
    if len(field.entrants) > 1:
        yield Grid(
            title=f"Probability of improvement over {over}",
            head=tuple(f"over {label}" for label in labels),
            labels=labels,
            columns=tuple(
                tuple("" if a == b else told_improvement(field, a, b) for a in field.entrants) for b in field.entrants
            ),
        )


def _of_races(results: Results, title: str, races: Sequence[Race], entries: Sequence[str]) -> Iterator[Grid]:
    if not races:
        return
    text = {(race.task.name, race.a, race.b): entry for race, entry in zip(races, entries, strict=True)}
    pairs = [pair for pair in combinations(results.entrants, 2) if any(pair == of[1:] for of in text)]
    tasks = [name for name in results.tasks if any(name == of[0] for of in text)]
    yield Grid(
        title=title,
        head=tuple(tasks),
        labels=tuple(f"{results.label(a)} : {results.label(b)}" for a, b in pairs),
        columns=tuple(tuple(text.get((name, a, b), "") for a, b in pairs) for name in tasks),
    )


def is_few(field: Field) -> bool:
    """Whether tasks or seeds are too few for the intervals of its scores to be trusted."""
    return len(field.tasks) < MANY_TASKS or min(map(min, field.runs.values())) < MANY_SEEDS


def told_estimate(estimate: Estimate, runs: Sequence[int], places: int | None = None) -> str:
    n = f"(n={estimate.n})" if len(set(runs)) == 1 else f"(n={min(runs)}-{max(runs)})"
    if estimate.low is None or estimate.high is None:
        return f"{number(estimate.point, 2 if places is None else places)} {n}"
    if places is None:
        places = decimals((estimate.high - estimate.low) / 2 or abs(estimate.point) / 20)
    low, point, high = (number(value, places) for value in (estimate.low, estimate.point, estimate.high))
    return f"{point} [{low}, {high}] {n}"


def told_improvement(field: Field, a: str, b: str) -> str:
    return told_estimate(field.improvement[a, b], [*field.runs[a], *field.runs[b]], places=2)


def told_ratio(race: Race) -> str:
    if not isinstance(race.ratio, RatioInterval):
        return NOTHING if race.ratio == "no seeds" else str(race.ratio)
    found, ends = race.ratio, ""
    if found.low is not None and found.high is not None and (found.low or math.isfinite(found.high)):
        ends = f" [{_times(found.low)}, {_times(found.high)}]"
    return f"{shown_ratio(found)}{ends} (n={found.n})"


def shown_ratio(of: RatioInterval) -> str:
    """The ratio, or the bound that is known of it."""
    if of.point is not None:
        return _times(of.point)
    if of.least:
        return f"> {_times(of.least)}"
    return f"< {_times(of.most)}" if math.isfinite(of.most) else "neither"


def _times(ratio: float) -> str:
    if ratio == 0 or math.isinf(ratio):
        return "∞" if ratio else "0"
    return number(ratio, 2 if ratio < 10 else 1 if ratio < 100 else 0)


def _area(area: Interval) -> str:
    places = decimals(area.half or abs(area.mean) / 20)
    half = "" if area.half is None else f" ± {number(area.half, places)}"
    return f"{number(area.mean, places)}{half} (n={area.n})"


def _below(results: Results, said: Comparison) -> Iterator[tuple[str, list[str]]]:
    """What must be known to read the tables; holes are always named."""
    ratios = [race.ratio for race in said.races]
    shown = {
        "scores": bool(said.fields),
        "few": any(map(is_few, said.fields)),
        "improvement": any(field.improvement for field in said.fields),
        "ratio": any(ratios),
        "area": any(race.area for race in said.races),
        "untrained": "untrained" in ratios,
    }
    yield "How to read it", [READING[name] for name, is_shown in shown.items() if is_shown]
    if holes := results.hole_lines():
        yield f"Holes: {len(results.holes)} of {results.total} trials have no number", holes
    if notes := [*said.notes, *results.notes]:
        yield "Notes", notes
