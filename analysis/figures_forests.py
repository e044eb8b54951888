"""Draws rows of dots with intervals: every seed's value, aggregates, probability of improvement, ratios of steps."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from analysis.figures import COLOURS, look, short
from analysis.figures_page import SMALL, page
from analysis.forests import Forest, Row
from analysis.trials import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW = 0.29  # inches
HEAD, FOOT = 0.55, 0.6  # above and below a panel's rows
PLOT = 2.9  # width of a panel without its labels
LETTER = 0.074  # of a label of average letters
GREY = "0.25"
UPPER, LOWER = 0.2, 0.16  # of a row: seeds lie above their interval, so that neither hides the other
SEEDS = (
    "Above: every seed's value; below: mean over n seeds and its 95 % t interval, from 3 seeds on (it may run out of a "
    "panel)."
)
INTERVALS = "Dot: point estimate; line: 95 % bootstrap interval over seeds, from 3 seeds on; arrow: no end is known."


def draw(results: Results, what: str, said: Sequence[str], forests: Sequence[Forest]) -> Figure:
    """Panels below one another, or two beside one another where they are many."""
    across = 1 if len(forests) == 1 else 2
    left = 0.3 + LETTER * max(len(row.label) for forest in forests for row in forest.rows)
    right = 0.3 + LETTER * max(len(row.said) for forest in forests for row in forest.rows)
    room = left + PLOT + right
    lines = [forests[at : at + across] for at in range(0, len(forests), across)]
    heights = [HEAD + ROW * max(len(forest.rows) for forest in line) + FOOT for line in lines]
    wide = room * across
    figure, top = page(f"{results.title}: {what}", [*said, *_holes(results)], wide=wide, high=sum(heights))
    whole = figure.get_figheight()
    for line, height in zip(lines, heights, strict=True):
        for place, forest in enumerate(line):
            tall = ROW * len(forest.rows)
            axes = figure.add_axes(
                ((room * place + left) / wide, (top - HEAD - tall) / whole, PLOT / wide, tall / whole)
            )
            _panel(axes, results, forest, chars=int((PLOT + right) / 0.062))
        top -= height
    return figure


def _holes(results: Results) -> list[str]:
    holes = results.hole_lines()
    return [f"Holes ({len(results.holes)} of {results.total} trials): {'; '.join(holes)}."] if holes else []


def _panel(axes: Axes, results: Results, forest: Forest, chars: int) -> None:
    under = textwrap.wrap(forest.under, chars, max_lines=2, placeholder=" …")
    axes.set_title(forest.name + "\n" * len(under), loc="left", weight="bold")
    axes.text(
        0, 1 + 0.06 / (ROW * len(forest.rows)), "\n".join(under), transform=axes.transAxes, size=SMALL, color=GREY
    )
    axes.set_xlabel(forest.across)
    axes.set_ylim(len(forest.rows) - 0.5, -0.5)
    axes.set_yticks(range(len(forest.rows)), [row.label for row in forest.rows])
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    _limits(axes, forest)
    if forest.even is not None:
        axes.axvline(forest.even, color="0.35", linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    for height, row in enumerate(forest.rows):
        _row(axes, height, row, look(results, row.entrant)[0] if row.entrant else COLOURS[-1])
        axes.text(1.03, height, row.said, transform=axes.get_yaxis_transform(), va="center", size=SMALL, color=GREY)


def _limits(axes: Axes, forest: Forest) -> None:
    if forest.span is None:
        axes.set_xticks([])
        return
    low, high = forest.span
    if forest.log:
        axes.set_xscale("log")
        room = max((high / low) ** 0.08, 1.15)
        axes.set_xlim(low / room, high * room)
        ticks = log_ticks(low / room, high * room)
        axes.set_xticks(ticks, [short(tick) for tick in ticks])
        axes.minorticks_off()
        return
    room = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
    axes.set_xlim(low - room, high + room)
    axes.xaxis.set_major_formatter(lambda value, _: short(value))
    axes.locator_params(axis="x", nbins=5)


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2, 5 of each decade, or where these are many its first number alone; at least two."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
        ticks = [step * 10.0**decade for decade in decades for step in steps if low <= step * 10.0**decade <= high]
        if len(ticks) >= 3:
            break
    return ticks


def _row(axes: Axes, height: int, row: Row, colour: str) -> None:
    least, most = axes.get_xlim()
    at = height + (LOWER if row.dots else 0)
    if row.low is not None and row.high is not None:
        ends = [min(max(end, least), most) for end in (row.low, row.high)]
        axes.plot(ends, [at, at], color=colour, linewidth=1.6, solid_capstyle="butt", zorder=3)
        for end, shown, mark in ((row.low, ends[0], "<"), (row.high, ends[1], ">")):
            if end != shown and (math.isinf(end) or end == 0):  # open: what lies beyond is not known
                axes.plot([shown], [at], marker=mark, color=colour, markersize=4, clip_on=False, zorder=3)
    for _, value in row.dots:
        axes.plot(
            [value], [height - UPPER], marker="o", color=colour, alpha=0.45, markersize=3.6, markeredgewidth=0,
            zorder=2,
        )  # fmt: skip
    if row.point is not None:
        axes.plot([row.point], [at], marker="o", color=colour, markersize=5.5, markeredgecolor="white", zorder=4)
