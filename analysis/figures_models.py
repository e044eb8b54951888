"""Draws world models: their error by horizon, and virtual beside actual scores over the entrants of a suite."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from analysis import scores
from analysis.curves import BAND, CROWDED
from analysis.figures import COLOURS, look, short
from analysis.figures_page import LINE, SMALL, page
from analysis.model_quality import DREAM, Gap, Quality, over_seeds
from analysis.model_tables import READING
from analysis.scores import Array
from analysis.trials import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Line = tuple[Quality, Array, str]  # whose, the values by seed and horizon, and the legend
PANEL = (5.6, 3.0)  # inches
BOLD = f"Bold: mean over n seeds; band: {BAND}; faint: every seed. What is 0 or diverged has no place on these axes."
SCORES = (
    "Large: mean over n seeds with its 95 % t interval, from 3 seeds on; small: every seed; virtual and actual scores "
    "from the same first observations."
)
GRADIENTS = (
    "Norm of the gradient of the state so many steps ahead by the state at the beginning, through the model and the "
    "policy's mode, states in standard deviations: 1 at the beginning, above where gradients explode, below where they "
    "vanish. Root mean square over windows of each entrant's own evaluation episodes."
)
VIRTUAL, ACTUAL = COLOURS[1], COLOURS[0]


def draw_errors(results: Results, found: Sequence[Quality]) -> Figure:
    """One panel for each task, both axes logarithmic, with the growth exponent of each entrant in the legend."""
    few = [_sentence(READING["few"])] if any(one.few(h).any() for one in found for h in one.ahead) else []
    said = [BOLD, _sentence(READING["error"]), *few, _sentence(READING["growth"])]
    lines = [(one, one.errors, f"{results.label(one.entrant)} {growth(results, one)}") for one in found]
    return _by_horizon(results, "error by horizon", said, lines)


def draw_gradients(results: Results, found: Sequence[Quality]) -> Figure:
    """The same of the gradients through the model, which explode above 1 and vanish below."""
    said = [BOLD, GRADIENTS]
    lines = [(one, one.gradients, f"{results.label(one.entrant)} (n={len(one.seeds)})") for one in found]
    return _by_horizon(results, "gradients by horizon", said, lines, told="norm of the gradient", level=1.0)


def _by_horizon(
    results: Results, what: str, said: list[str], lines: Sequence[Line], *, told: str = "", level: float | None = None
) -> Figure:
    """``told``: what the lines show, if not errors; ``level``: where a line of no change is drawn."""
    tasks = [list(of) for _, of in groupby(lines, key=lambda line: line[0].task.name)]
    heights = [PANEL[1] + 1.15 + 0.2 * len(of) for of in tasks]
    title = f"{results.title}: {what}"
    figure, top = page(title, [*said, *_holes(results)], wide=PANEL[0] + 1.3, high=sum(heights))
    for of, high in zip(tasks, heights, strict=True):
        axes, one = _axes(figure, top, PANEL[0] + 1.3), of[0][0]
        axes.set_title(one.task.name, loc="left", weight="bold")
        for line in of:
            _line(axes, results, *line, band=len(of) <= CROWDED)
        axes.set_xscale("log")
        drawn = np.concatenate([values[values > 0] for _, values, _ in of])
        if level is not None:
            axes.axhline(level, color="0.5", linewidth=0.8, zorder=1)
            drawn = np.append(drawn, level)
        if drawn.size:
            axes.set(yscale="log", ylim=(drawn.min() / 1.3, drawn.max() * 1.3))
        ahead = sorted({h for line in of for h in line[0].ahead})
        axes.set_xticks(ahead, [str(h) for h in ahead])
        axes.xaxis.minorticks_off()
        axes.yaxis.set_major_formatter(lambda value, _: short(value) if value < 1e5 else f"{value:.0e}")
        axes.set_xlabel("steps ahead, from the actions alone" if not told else "steps ahead")
        axes.set_ylabel(told or ("error in brightness (0-1)" if one.pixel else "error in standard deviations"))
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.16), borderaxespad=0.0, fontsize=8)
        top -= high
    return figure


def _axes(figure: Figure, top: float, wide: float) -> Axes:
    whole = figure.get_figheight()
    return figure.add_axes((0.85 / wide, (top - 0.4 - PANEL[1]) / whole, PANEL[0] / wide, PANEL[1] / whole))


def _line(axes: Axes, results: Results, one: Quality, values: Array, label: str, *, band: bool) -> None:
    colour, dash = look(results, one.entrant)
    x, values = np.asarray(one.ahead, dtype=np.float64), np.where(values > 0, values, np.nan)
    mean, half = scores.t_band(values)
    for seed in values if len(values) > 1 else ():
        axes.plot(x, seed, color=colour, alpha=0.45 / len(values) ** 0.4, linewidth=0.7, zorder=2)
    axes.plot(x, mean, color=colour, linestyle=dash, linewidth=1.8, marker="o", markersize=3, zorder=4, label=label)
    if band and np.isfinite(half).any():
        low = np.maximum(mean - half, 1e-3 * mean)  # an end below 0 lies beyond the panel
        axes.fill_between(x, low, mean + half, color=colour, alpha=0.15, linewidth=0, zorder=1)


def growth(results: Results, one: Quality) -> str:
    """`grows as h^0.93 ± 0.05 (n=3)`, and of how many seeds the model diverged."""
    diverged = int(np.count_nonzero((np.nan_to_num(one.columns["diverged"]) > 0).any(axis=1)))
    lost = f", {diverged} diverged" if diverged else ""
    grown = over_seeds(one.growth)
    if grown is None:
        return f"no growth fitted (n={len(one.seeds)}{lost})"
    half = "" if grown.half is None else f" ± {grown.half:.2f}"
    return f"grows as h^{grown.mean:.2f}{half} (n={grown.n}{lost})"


def draw_scores(results: Results, found: Sequence[Gap]) -> Figure:
    """One panel for each task and place: entrants along the axis in the suite's order, virtual and actual scores."""
    panels = [list(of) for _, of in groupby(sorted_by_panel(found), key=lambda one: (one.task.name, one.where))]
    wide = max(PANEL[0], 1.25 * max(map(len, panels))) + 1.3
    high = PANEL[1] + 1.2 + LINE * max(_ticks(results, gap).count("\n") for gap in found)
    unlike = [_sentence(READING["unlike"])] if any(one.unlike for one in found) else []
    said = [SCORES, _sentence(READING["gap"]), *unlike, *_holes(results)]
    figure, top = page(f"{results.title}: virtual and actual scores", said, wide=wide, high=high * len(panels))
    for of in panels:
        whole, one = figure.get_figheight(), of[0]
        axes = figure.add_axes((0.85 / wide, (top - 0.5 - PANEL[1]) / whole, (wide - 1.3) / wide, PANEL[1] / whole))
        place = "in its dream" if one.where == DREAM else f"in {one.where}"
        axes.set_title(f"{one.task.name}: {place} and in evaluation", loc="left", weight="bold")
        for shift, side, colour, mark in ((-0.1, "virtual", VIRTUAL, "s"), (0.1, "actual", ACTUAL, "o")):
            _scores(axes, [getattr(gap, side).mean for gap in of], shift, colour, mark, f"{side} score")
        axes.set_xticks(range(len(of)), [_ticks(results, gap) for gap in of], size=SMALL)
        axes.set_xlim(-0.5, len(of) - 0.5)
        axes.set_ylabel(one.task.metric + (" (lower is better)" if one.task.lower_is_better else ""))
        axes.grid(axis="x", visible=False)
        axes.legend(loc="upper right", bbox_to_anchor=(1, 1.13), ncols=2, borderaxespad=0.0, fontsize=8)
        top -= high
    return figure


def sorted_by_panel(found: Sequence[Gap]) -> list[Gap]:
    """All of one task and place together, entrants in the suite's order."""
    places = list(dict.fromkeys((one.task.name, one.where) for one in found))
    return sorted(found, key=lambda one: places.index((one.task.name, one.where)))


def _scores(axes: Axes, values: Sequence[Array], shift: float, colour: str, mark: str, label: str) -> None:
    means = [over_seeds(of) for of in values]
    at = np.arange(len(values)) + shift
    points = [math.nan if of is None else of.mean for of in means]
    axes.plot(at, points, color=colour, marker=mark, markersize=6, linewidth=1.0, alpha=0.9, zorder=4, label=label)
    for x, of, seeds in zip(at, means, values, strict=True):
        axes.plot(np.full(len(seeds), x), seeds, ".", color=colour, alpha=0.45, markersize=5, zorder=2)
        if of is not None and of.low is not None and of.high is not None:
            axes.plot([x, x], [of.low, of.high], color=colour, linewidth=1.6, solid_capstyle="butt", zorder=3)


def _ticks(results: Results, gap: Gap) -> str:
    """Whose scores these are, of how many seeds, and the verdict."""
    n, expected = int(np.isfinite(gap.gaps).sum()), results.expected(gap.task.name, gap.entrant)
    told = (results.label(gap.entrant), f"n={n}" + (f" of {expected}" if n < expected else ""), gap.verdict)
    return "\n".join(line for one in told for line in textwrap.wrap(one, 19))


def _holes(results: Results) -> list[str]:
    lines = results.hole_lines()
    return [f"Holes ({len(results.holes)} of {results.total} trials): {'; '.join(lines)}."] if lines else []


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]
