"""Draws performance profiles: the share of runs above each score, one line for each entrant, with its band."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from analysis.curves import CROWDED
from analysis.figures import look, short
from analysis.figures_page import SMALL, page
from analysis.profiles import Profiles
from analysis.trials import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANEL = (5.6, 3.0)  # inches
SAID = (
    "Share of all runs (each task weighs the same) that score above the level; the higher line is the better one. "
    "Band: 95 % bootstrap interval over seeds at each level by itself, from 3 seeds on, where at most "
    f"{CROWDED} entrants share the panel. n: seeds of the task that has the fewest."
)


def draw(results: Results, panels: Sequence[Profiles]) -> Figure:
    wide, each = PANEL[0] + 1.2, PANEL[1] + 1.15
    keys = [len(of.bands) for of in panels]
    figure, top = page(
        f"{results.title}: performance profiles", [SAID], wide=wide, high=sum(each + 0.2 * -(-n // 3) for n in keys)
    )
    whole = figure.get_figheight()
    for of, keys_of in zip(panels, keys, strict=True):
        under = textwrap.wrap(of.under, int(PANEL[0] / 0.062), max_lines=2, placeholder=" …")
        axes = figure.add_axes((0.75 / wide, (top - 0.4 - PANEL[1]) / whole, PANEL[0] / wide, PANEL[1] / whole))
        axes.text(0, 1.03, "\n".join(under), transform=axes.transAxes, size=SMALL, color="0.25")
        for entrant, band in of.bands.items():
            colour, dash = look(results, entrant)
            label = f"{results.label(entrant)} (n={band.n})"
            axes.step(of.taus, band.point, where="post", color=colour, linestyle=dash, linewidth=1.8, label=label)
            if len(of.bands) <= CROWDED and band.low is not None and band.high is not None:
                axes.fill_between(of.taus, band.low, band.high, step="post", color=colour, alpha=0.15, linewidth=0)
        axes.set_ylim(-0.02, 1.02)
        axes.set_xlim(float(of.taus[0]), float(of.taus[-1]))
        axes.xaxis.set_major_formatter(lambda value, _: short(value))
        axes.set_xlabel("normalised score")
        axes.set_ylabel("share of runs above it")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3, borderaxespad=0.0, fontsize=8)
        top -= each + 0.2 * -(-keys_of // 3)
    return figure
