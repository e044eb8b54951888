"""What all figures have in common: their type and size of print, and that the same records give the same bytes."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SMALL = 7.5  # points
LINE = 0.145  # inches between two lines of small text

RC: dict[Any, Any] = {
    "font.size": 9.0, "axes.titlesize": 9.5, "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "grid.alpha": 0.25, "grid.linewidth": 0.6, "legend.frameon": False,
    "svg.hashsalt": "mbrl-bench", "svg.fonttype": "path", "text.parse_math": False,
}  # fmt: skip


def save(draw: Callable[[], Figure], stem: Path) -> list[Path]:
    """Write what ``draw`` draws as ``stem``.png and ``stem``.svg, the same bytes whenever it draws the same."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import style

    stem.parent.mkdir(parents=True, exist_ok=True)
    png, svg = (stem.with_name(f"{stem.name}.{kind}") for kind in ("png", "svg"))
    with style.context("default"), matplotlib.rc_context(RC):
        figure = draw()
        figure.savefig(png, dpi=150, metadata={"Software": None})
        figure.savefig(svg, metadata={"Date": None, "Creator": None})
    return [png, svg]


def heading(title: str, wide: float) -> list[str]:
    """The title in lines of about one length, on a page ``wide`` inches wide."""
    lines = textwrap.wrap(title, int(wide * 9.5))
    return textwrap.wrap(title, -(-len(title) // max(len(lines), 1)) + 6)


def page(title: str, said: list[str], *, wide: float, high: float) -> tuple[Figure, float]:
    """A figure with its title and caption and ``high`` inches of room between them, which ends that high above 0."""
    from matplotlib.figure import Figure

    lines = heading(title, wide)
    below = [line for one in said for line in textwrap.wrap(one, int(wide * 15.5))]
    foot = 0.2 + LINE * len(below)
    whole = high + foot + 0.15 + 0.22 * len(lines)
    figure = Figure(figsize=(wide, whole))
    figure.text(0.5, 1 - 0.12 / whole, "\n".join(lines), ha="center", va="top", weight="bold", size=11)
    figure.text(0.2 / wide, 0.1 / whole, "\n".join(below), va="bottom", size=SMALL, color="0.25", linespacing=1.3)
    return figure, foot + high
