"""Learning curves of a suite: one panel for each task, every seed's line faint, mean and t interval bold."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from analysis import scores
from analysis.curves import BAND, CROWDED, Curves, curves, reference_lines
from analysis.figures_page import LINE, SMALL, heading, save
from analysis.trials import Results, TaskFacts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

# Okabe and Ito's colours for all kinds of colour vision, without their yellow, which white paper swallows.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
# A suite of more than seven entrants goes through the colours again, dashed.
DASHES: tuple[Literal["-", "--", ":", "-."], ...] = (
    "-",
    "--",
    ":",
    "-.",
)
PANEL = (5.0, 3.1)  # inches, what stands beside it included in the width


def write(results: Results, stem: Path) -> list[Path]:
    """Write ``stem``.png and ``stem``.svg."""
    return save(lambda: draw(results), stem)


def draw(results: Results) -> Figure:
    """The whole page: title, panels, legend, and what must be known to read them. Sizes are in inches."""
    from matplotlib.figure import Figure

    tasks = list(results.tasks.values())
    across = 1 if len(tasks) == 1 else 2 if len(tasks) in (2, 4) else 3
    down = -(-len(tasks) // across)
    wide = max(PANEL[0] * across, 6.4)
    title = heading(results.title, wide)
    said = [line for one in caption(results) for line in textwrap.wrap(one, int(wide * 15.5))]
    names = [name for name in results.entrants if any(results.expected(task.name, name) for task in tasks)]
    sizes = [0.75 + 0.085 * len(results.label(name)) for name in names]
    columns = len(names) if sum(sizes) <= wide else max(1, int(wide / max(sizes)))
    top = 0.25 + 0.22 * len(title)
    foot = 0.15 + 0.22 * -(-len(names) // columns) + 0.1 + LINE * len(said) + 0.1
    high = top + down * (PANEL[1] + 0.95) + foot
    figure = Figure(figsize=(wide, high))
    figure.text(0.5, 1 - 0.12 / high, "\n".join(title), ha="center", va="top", weight="bold", size=11)
    grid = figure.add_gridspec(
        down, across, left=0.8 / wide, right=1 - 1.0 / wide, top=1 - (top + 0.4) / high, bottom=(foot + 0.5) / high,
        wspace=1.7 / (wide / across - 1.8), hspace=0.95 / PANEL[1],
    )  # fmt: skip
    for index, task in enumerate(tasks):
        _panel(figure.add_subplot(grid[divmod(index, across)]), results, task)
    figure.legend(
        handles=[_handle(results, name) for name in names], ncols=columns, loc="lower center",
        bbox_to_anchor=(0.5, (0.15 + LINE * len(said)) / high), borderaxespad=0.0,
    )  # fmt: skip
    figure.text(0.2 / wide, 0.1 / high, "\n".join(said), va="bottom", size=SMALL, color="0.25", linespacing=1.3)
    return figure


def caption(results: Results) -> list[str]:
    """What the lines are, then every hole and every note."""
    lines = [f"Bold: mean over n seeds; band: {BAND}; faint: every seed."]
    if holes := results.hole_lines():
        lines.append(f"Holes ({len(results.holes)} of {results.total} trials): " + "; ".join(holes) + ".")
    return lines + [f"Note: {note}." for note in results.notes]


def look(results: Results, entrant: str) -> tuple[str, Literal["-", "--", ":", "-."]]:
    """Colour and dash of an entrant: by its place in the suite, whoever else is drawn."""
    place = list(results.entrants).index(entrant)
    return COLOURS[place % len(COLOURS)], DASHES[place // len(COLOURS) % len(DASHES)]


def _handle(results: Results, entrant: str) -> object:
    from matplotlib.lines import Line2D

    colour, dash = look(results, entrant)
    return Line2D([], [], color=colour, linestyle=dash, linewidth=1.8, label=results.label(entrant))


def _panel(axes: Axes, results: Results, task: TaskFacts) -> None:
    found = {
        name: curves(task, trials) for name in results.entrants if (trials := results.trials.get((task.name, name)))
    }
    drawn = {name: of for name, of in found.items() if np.isfinite(of.seeds).any()}
    under = f"{task.length}; {seed_counts(results, task)}"
    if bare := [name for name in found if name not in drawn]:
        under += f"; no curve: {', '.join(bare)}"
    axes.set_title(f"{task.name}\n", loc="left", weight="bold")
    axes.text(0, 1.03, under, transform=axes.transAxes, size=SMALL, color="0.25")
    if not drawn:
        why = "nothing to draw" if found else "no finished trial"
        axes.text(0.5, 0.5, why, transform=axes.transAxes, ha="center", color="0.4")
        axes.set(xticks=[], yticks=[])
        return
    for name, of in drawn.items():
        _lines(axes, of, *look(results, name), band=len(drawn) <= CROWDED)
    one = next(iter(drawn.values()))
    axes.set_xlabel(one.across)
    axes.set_ylabel(one.up)
    _limits(axes, list(drawn.values()))
    _references(axes, reference_lines(task) if one.comparable else {})
    _ticks(axes.xaxis)
    _ticks(axes.yaxis)


def seed_counts(results: Results, task: TaskFacts) -> str:
    """`n=5 (ppo 4 of 5)`; where more are short of seeds, the range."""
    counts = {
        name: (len(results.trials.get((task.name, name), ())), expected)
        for name in results.entrants
        if (expected := results.expected(task.name, name))
    }
    if len(set(counts.values())) == 1:
        n, expected = next(iter(counts.values()))
        return f"n={n}" if n == expected else f"n={n} of {expected}"
    numbers = {n for n, _ in counts.values()}
    fewer = [f"{name} {n} of {expected}" for name, (n, expected) in counts.items() if n < expected]
    most = max(numbers, default=0)
    if len(fewer) > 2 or len(numbers - {most}) > len(fewer):  # the caption tells which
        return f"n from {min(numbers)} to {most}"
    return f"n={most}" + (f" ({', '.join(fewer)})" if fewer else "")


def _lines(axes: Axes, of: Curves, colour: str, dash: str, *, band: bool) -> None:
    n = len(of.seeds)
    for seed in of.seeds if n > 1 else ():
        there = np.isfinite(seed)
        axes.plot(of.x[there], seed[there], color=colour, alpha=0.45 / n**0.4, linewidth=0.7, zorder=2)
    there = np.isfinite(of.mean)
    mark = "o" if np.count_nonzero(there) <= 25 and of.measured else None
    axes.plot(
        of.x[there], of.mean[there], color=colour, linestyle=dash, linewidth=1.8, marker=mark, markersize=3, zorder=4
    )
    if band and n >= scores.FEWEST_SEEDS:
        low, high = (of.mean + sign * of.half for sign in (-1, 1))
        axes.fill_between(of.x[there], low[there], high[there], color=colour, alpha=0.15, linewidth=0, zorder=1)


def _limits(axes: Axes, drawn: Sequence[Curves]) -> None:
    """The panel shows all that was measured; a band may run out of it, for three seeds' can be very wide."""
    values = np.concatenate([seed[np.isfinite(seed)] for of in drawn for seed in of.seeds])
    low, high = float(values.min()), float(values.max())
    if drawn[0].log:
        axes.set_yscale("log")
        axes.set_ylim(max(low, 1) / 1.3, high * 1.3)
    else:
        room = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
        axes.set_ylim(low - room, high + room)
    last = max(float(of.x[-1]) for of in drawn)
    axes.set_xlim(float(drawn[0].x[0]), last + 0.01 * (last - float(drawn[0].x[0])))


def _references(axes: Axes, lines: Mapping[float, str]) -> None:
    """Thin lines, labelled right of the panel; one that would squeeze the curves into a corner is only told of."""
    low, high = axes.get_ylim()
    log = axes.get_yscale() == "log"
    least, most = (low / 4, high * 4) if log else (1.6 * low - 0.6 * high, 1.6 * high - 0.6 * low)
    shown = [at for at in sorted(lines) if least <= at <= most]
    for at in shown:
        low = min(low, at / 1.2 if log else at - 0.05 * (high - low))
        high = max(high, at * 1.2 if log else at + 0.05 * (high - low))
    axes.set_ylim(low, high)
    heights = [float(axes.transAxes.inverted().transform(axes.transData.transform((0, at)))[1]) for at in shown]
    for place, at in enumerate(shown):
        axes.axhline(at, color="0.35", linewidth=0.8, linestyle=(0, (4, 3)), zorder=3)
        if place:  # labels of lines close together stand apart
            heights[place] = max(heights[place], heights[place - 1] + 0.05)
        axes.text(
            1.015,
            heights[place],
            f"{lines[at]} {short(at)}",
            transform=axes.transAxes,
            va="center",
            size=6.5,
            color="0.25",
        )
    if far := [f"{what} {short(at)}" for at, what in lines.items() if at not in shown]:
        told = f"off the panel: {', '.join(far)}"
        axes.text(1, 1.1, told, transform=axes.transAxes, ha="right", size=6.5, color="0.25")


def _ticks(axis: Axis) -> None:
    """Numbers of one axis in one unit: 2.5k and 20k, never 2500 beside 20k."""
    most = max(map(abs, axis.get_view_interval()))
    size, letter = next((of for of in ((1e6, "M"), (1e3, "k")) if most >= 10 * of[0]), (1.0, ""))
    axis.set_major_formatter(lambda value, _: f"{value / size:g}{letter}" if value else "0")


def short(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) else f"{value:g}"
