"""The comparison table of a suite, for the terminal and as markdown; n stands beside every number."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from analysis import scores
from analysis.cells import Cell, cells
from analysis.trials import Results

MARKDOWN_WIDTH = 150  # columns; a suite of more tasks is told in several tables, one below the other
NOTHING = "–"  # where a cell has no seed to show
BOLD = "In bold the best of a column, which is no test."  # left out where nothing can be bold


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column as text: head lines, and an entry and whether it is the best for each entrant."""

    task: str
    head: tuple[str, ...]
    entries: tuple[str, ...]
    best: frozenset[int]
    merits: tuple[float | None, ...]  # by which entrants are ranked here, more is better; None: no number
    legend: str  # what the entries are; said once below the tables

    @property
    def width(self) -> int:
        return max(map(len, (*self.head, *self.entries))) + 3


@dataclass(frozen=True, kw_only=True)
class Content:
    """What is shown of a suite, in whatever form."""

    title: str
    label: str  # by which LaTeX refers to it
    pages: Callable[[int], Iterable[list[Column]]]  # tables that are no wider than so many characters
    below: Sequence[tuple[str, list[str]]]


def comparison(results: Results) -> Content:
    """The entrants' scores, which are shown where nothing else is asked for."""
    return Content(
        title=results.title, label=results.suite, pages=lambda width: pages(results, width),
        below=list(below(results)),
    )  # fmt: skip


def terminal(results: Results, *, width: int, colour: bool, content: Content | None = None) -> str:
    """Tables of as many tasks each as fit into ``width`` columns, then what must be known to read them."""
    from rich import box
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    content = content or comparison(results)
    page = Console(file=io.StringIO(), width=width, force_terminal=colour, highlight=False, markup=False)
    page.print(Text(content.title, style="bold"))
    labels = [results.label(entrant) for entrant in results.entrants]
    for columns in content.pages(width - 2):
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("")
        for column in columns:
            table.add_column(Text("\n".join(column.head)), justify="right")
        for row in met(columns):
            entries = [Text(c.entries[row], style="bold" if row in c.best else "") for c in columns]
            table.add_row(Text(labels[row]), *entries)
        page.print(table)
    for title, lines in content.below:
        page.print(Text(title, style="bold"))
        for line in lines:
            if colour or line != BOLD:
                page.print(Padding(Text(line), (0, 0, 0, 2)))
    assert isinstance(page.file, io.StringIO)
    return "\n".join(line.rstrip() for line in page.file.getvalue().splitlines()) + "\n"


def markdown(results: Results, content: Content | None = None) -> str:
    content = content or comparison(results)
    lines = [f"# {plain(content.title)}", ""]
    labels = [plain(results.label(entrant)) for entrant in results.entrants]
    for columns in content.pages(MARKDOWN_WIDTH):
        lines.append(_row(["", *("<br>".join(map(plain, column.head)) for column in columns)]))
        lines.append(_row([":--", *("--:" for _ in columns)]))
        for row in met(columns):
            entries = [f"**{c.entries[row]}**" if row in c.best else c.entries[row] for c in columns]
            lines.append(_row([labels[row], *entries]))
        lines.append("")
    for title, said in content.below:
        lines += [f"**{title}**", "", *(f"- {plain(line)}" for line in said), ""]
    return "\n".join(lines[:-1]) + "\n"


def _row(entries: Iterable[str]) -> str:
    return f"| {' | '.join(entries)} |"


def plain(text: str) -> str:
    """Text from a suite file or a record, so that markdown takes none of it for layout."""
    for character in "\\`*[]<>|":
        text = text.replace(character, f"\\{character}")
    return text


def pages(results: Results, width: int) -> Iterator[list[Column]]:
    """The columns, divided between tasks into tables no wider than ``width`` (a task alone may be wider)."""
    left = max(len(results.label(entrant)) for entrant in results.entrants) + 3
    page: list[Column] = []
    for _, row in groupby(cells(results), key=lambda cell: cell.task.name):  # they come task by task
        columns = list(_columns(list(row)))
        if page and left + sum(column.width for column in (*page, *columns)) > width:
            yield page
            page = []
        page += columns
    if page:
        yield page


def met(columns: Sequence[Column]) -> list[int]:
    """The rows of a table: those of entrants that meet any of its tasks."""
    return [row for row in range(len(columns[0].entries)) if any(column.entries[row] for column in columns)]


def _columns(row: Sequence[Cell]) -> Iterator[Column]:
    """What is told of one task: its final metric, then what it declares beyond."""
    task = row[0].task
    sign = -1 if task.lower_is_better else 1
    over = f"over {task.final_episodes} episode{'s' if task.final_episodes > 1 else ''}"
    yield _column(
        row,
        (task.name, task.length, f"{task.metric} {over}"),
        [_interval(cell.values, cell.expected) for cell in row],
        lambda cell: sign * cell.final.mean if cell.final else None,
        "return or length: mean over n seeds ± half width of its 95 % t interval, last checkpoint; below 3 seeds "
        "every seed's value and no interval. Higher returns and shorter lengths are better.",
    )
    if task.threshold is not None:
        bound = f"{task.metric} {'≤' if task.lower_is_better else '≥'} {_bound(task.threshold)}"
        yield _column(
            row,
            (task.name, "steps to", bound),
            [_time(cell) for cell in row],
            lambda cell: -cell.median_time if cell.times and cell.median_time is not None else None,
            "steps to a bound: the first evaluation mark at which it is reached (an evaluation late by up to a "
            "twentieth of the interval still counts for its mark), median over seeds (how many of them reached it); "
            "with > before the budget: fewer than half did; with ≤: marks before it were not measured.",
        )
    if task.curve == "cumulative":
        yield _column(
            row,
            (task.name, "reward over", "the budget"),
            [_interval(cell.rewards, cell.expected) for cell in row],
            lambda cell: cell.reward.mean if cell.reward else None,
            "reward over the budget: summed over the training episodes that ended; mean, interval and n as above.",
        )
    if task.curve == "episodes" and task.threshold is not None:
        yield _column(
            row,
            (task.name, "episodes to", f"mean length ≤ {_bound(task.threshold)}"),
            [_episodes(cell) for cell in row],
            lambda cell: -cell.near[0] if cell.near else None,
            "episodes to a length: the first training episode whose length, as mean over the n seeds, is no more; "
            "and that mean.",
        )


def _column(
    row: Sequence[Cell],
    head: tuple[str, ...],
    entries: Sequence[str],
    merit: Callable[[Cell], float | None],
    legend: str,
) -> Column:
    merits = {index: value for index, cell in enumerate(row) if (value := merit(cell)) is not None}
    top = max(merits.values(), default=None)
    best = frozenset(index for index, value in merits.items() if value == top)
    shown = best if sum(bool(cell.seeds) for cell in row) > 1 else frozenset[int]()
    return Column(
        task=row[0].task.name, head=head, entries=tuple(entries), best=shown,
        merits=tuple(map(merits.get, range(len(row)))), legend=legend,
    )  # fmt: skip


def _interval(values: Sequence[float], expected: int) -> str:
    """`612 ± 30 (n=5)`; below three seeds every seed's value and no interval."""
    if not values:
        return NOTHING if expected else ""
    interval, n = scores.t_interval(values), _n(len(values), expected)
    if interval.half is None:
        places = decimals(max(map(abs, values)) / 20)
        return f"{', '.join(number(value, places) for value in values)} {n}"
    places = decimals(interval.half or abs(interval.mean) / 20)
    return f"{number(interval.mean, places)} ± {number(interval.half, places)} {n}"


def _time(cell: Cell) -> str:
    if not cell.times:
        return NOTHING if cell.expected else ""
    time = cell.median_time
    shown = f"> {cell.task.budget:,}" if time is None else f"{'≤ ' if cell.median_is_bound else ''}{time:,.0f}"
    return f"{shown} ({cell.reached} of {len(cell.times)})"


def _episodes(cell: Cell) -> str:
    if not cell.seeds:
        return NOTHING if cell.expected else ""
    n = _n(len(cell.seeds), cell.expected)
    return f"{cell.near[0]:,} at {number(cell.near[1], 1)} {n}" if cell.near else f"> {cell.played:,} {n}"


def _bound(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) else f"{value:g}"


def _n(n: int, expected: int) -> str:
    return f"(n={n})" if n == expected else f"(n={n} of {expected})"


def decimals(uncertainty: float) -> int:
    """How many decimals show two figures of what a number may be off by: more would only pretend."""
    return 0 if uncertainty == 0 else min(max(1 - math.floor(math.log10(uncertainty)), 0), 4)


def number(value: float, places: int) -> str:
    text = f"{value:,.{places}f}"
    return text.removeprefix("-") if not text.strip("-0.") else text  # never "-0.00"


def below(results: Results) -> Iterator[tuple[str, list[str]]]:
    """What must be known to read the tables; holes are always named."""
    columns = [column for page in pages(results, 0) for column in page]
    legends = dict.fromkeys(column.legend for column in columns)
    yield "How to read it", [*legends, *([BOLD] if any(column.best for column in columns) else [])]
    if holes := results.hole_lines():
        yield f"Holes: {len(results.holes)} of {results.total} trials have no number", holes
    if results.notes:
        yield "Notes", results.notes
    yield "Protocols", ["; ".join(f"{task.name} {task.protocol or '(no record)'}" for task in results.tasks.values())]
