"""Draws squares of pairs: who is likely to score higher, and ratios of steps, where entrants are many."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from analysis.figures import COLOURS
from analysis.figures_page import SMALL, page
from analysis.squares import STEPS, Square
from analysis.trials import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIELD = (0.5, 0.27)  # inches, of one pair
LETTER = 0.074  # of a label of average letters
HEAD = 0.6  # above a square, its labels not counted


def draw(results: Results, what: str, said: Sequence[str], squares: Sequence[Square]) -> Figure:
    """The squares below one another."""
    label = LETTER * max(len(label) for square in squares for label in square.labels)
    most = max(len(square.labels) for square in squares)
    left, wide = 0.3 + label, 0.6 + label + FIELD[0] * most + 0.7 * label
    heights = [HEAD + 0.7 * label + FIELD[1] * len(square.labels) + 0.3 for square in squares]
    figure, top = page(f"{results.title}: {what}", list(said), wide=wide, high=sum(heights))
    whole = figure.get_figheight()
    for square, height in zip(squares, heights, strict=True):
        size = FIELD[0] * len(square.labels) / wide, FIELD[1] * len(square.labels) / whole
        axes = figure.add_axes((left / wide, (top - height + 0.3) / whole, *size))
        under = textwrap.shorten(f"{square.across}; {square.under}", int(wide / 0.058), placeholder=" …")
        figure.text(0.2 / wide, (top - 0.1) / whole, square.name, va="top", weight="bold")
        figure.text(0.2 / wide, (top - 0.3) / whole, under, va="top", size=SMALL, color="0.25")
        _fill(axes, square)
        top -= height
    return figure


def _fill(axes: Axes, square: Square) -> None:
    import seaborn
    from matplotlib.colors import LinearSegmentedColormap

    tints = np.array([[np.nan if pair is None else pair.tint for pair in row] for row in square.rows])
    sides = LinearSegmentedColormap.from_list("sides", [COLOURS[1], "white", COLOURS[0]])
    seaborn.heatmap(
        tints, mask=np.isnan(tints), vmin=-1.6 * STEPS, vmax=1.6 * STEPS, cmap=sides, cbar=False, linewidths=0.5,
        xticklabels=square.labels, yticklabels=square.labels, ax=axes,
    )  # fmt: skip
    axes.grid(visible=False)
    axes.tick_params(length=0, top=False, labeltop=True, labelbottom=False)
    for label in axes.get_xticklabels():
        label.set(rotation=45, ha="left", rotation_mode="anchor")
    for down, row in enumerate(square.rows):
        for along, pair in enumerate(row):
            if pair is not None:
                weight = "bold" if pair.sure else "normal"
                axes.text(along + 0.5, down + 0.5, pair.shown, ha="center", va="center", size=SMALL, weight=weight)
