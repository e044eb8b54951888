"""Writes every figure that a suite's records allow, and says of each other one why it is not drawn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from analysis import figures, figures_forests, figures_models, figures_profiles, figures_squares, forests, squares
from analysis.comparison import compare
from analysis.figures_forests import INTERVALS, SEEDS
from analysis.figures_page import save
from analysis.model_quality import gaps, qualities
from analysis.profiles import profiles
from analysis.trials import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_all(results: Results, folder: Path, suffix: str = "") -> tuple[list[Path], dict[str, str]]:
    """The files written into ``folder``; and which figures are not drawn, with the reason."""
    said = compare(results)
    undrawn = dict(forests.nothing(results, said))
    few = forests.caution(said)
    rows: dict[str, tuple[str, list[str], list[forests.Forest]]] = {
        "seeds": ("every seed", [SEEDS], forests.of_seeds(results)),
        "aggregates": ("scores over tasks", [INTERVALS, *few], forests.of_aggregates(results, said)),
        "improvement": ("who is likely to score higher", [INTERVALS, *few], forests.of_improvement(results, said)),
        "ratios": ("sample efficiency", [INTERVALS, *forests.untold(said)], forests.of_ratios(results, said)),
    }
    many: dict[str, tuple[str, list[str], list[squares.Square]]] = {
        "improvement": (rows["improvement"][0], [squares.READING, *few], squares.of_improvement(results, said)),
        "ratios": (rows["ratios"][0], [squares.READING, *forests.untold(said)], squares.of_ratios(results, said)),
    }
    drawn: dict[str, Callable[[], Figure]] = {"curves": lambda: figures.draw(results)}
    for name, (what, told, of) in rows.items():
        if of:
            drawn[name] = lambda what=what, told=told, of=of: figures_forests.draw(results, what, told, of)
    for name, (what, told, pairs) in many.items():
        if pairs:
            drawn[f"{name}-squares"] = lambda what=what, told=told, of=pairs: figures_squares.draw(
                results, what, told, of
            )
    if found := profiles(results, said):
        drawn["profiles"] = lambda: figures_profiles.draw(results, found)
    if models := [one for one in qualities(results) if one.ahead]:
        drawn["models"] = lambda: figures_models.draw_errors(results, models)
    if climbed := [one for one in models if np.isfinite(one.gradients).any()]:
        drawn["gradients"] = lambda: figures_models.draw_gradients(results, climbed)
    if played := gaps(results):
        drawn["virtual"] = lambda: figures_models.draw_scores(results, played)
    paths = [path for name, draw in drawn.items() for path in save(draw, folder / f"{name}{suffix}")]
    return paths, undrawn
