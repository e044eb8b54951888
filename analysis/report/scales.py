"""Axes of the report's graphs: values to places in a drawing, and ticks with their labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.figures_forests import log_ticks
from analysis.scores import Array


@dataclass(frozen=True, kw_only=True)
class Scale:
    """A straight or logarithmic axis from ``low`` (drawn at ``start``) to ``high`` (drawn at ``end``)."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, values: Sequence[float] | Array | float) -> Array:
        """Where values lie in the drawing; what is off the axis lies at its end."""
        inside = np.clip(np.asarray(values, dtype=np.float64), self.low, self.high)
        low, high = self.low, self.high
        if self.log:
            inside, low, high = np.log(inside), math.log(low), math.log(high)
        return np.asarray(self.start + (inside - low) / (high - low) * (self.end - self.start))

    def ticks(self, most: int = 6) -> list[tuple[float, str]]:
        """Places and labels of up to about ``most`` round values, in one unit: 2.5k and 20k, never 2500 beside 20k."""
        values = log_ticks(self.low, self.high) if self.log else _round_values(self.low, self.high, most)
        largest = None if self.log else max(map(abs, (self.low, self.high)))
        return [(round(float(self.at(value)), 1), _label(value, largest or abs(value))) for value in values]


def _label(value: float, largest: float) -> str:
    size, letter = next((of for of in ((1e6, "M"), (1e3, "k")) if largest >= 10 * of[0]), (1.0, ""))
    return f"{value / size:,g}{letter}" if value else "0"


def roomy(low: float, high: float, start: float, end: float, *, log: bool = False) -> Scale:
    """An axis that holds both values with some room beside them."""
    if log:
        room = max((high / low) ** 0.06, 1.15)
        return Scale(low=low / room, high=high * room, start=start, end=end, log=True)
    beside = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    return Scale(low=low - beside, high=high + beside, start=start, end=end)


def _round_values(low: float, high: float, most: int) -> list[float]:
    rough = (high - low) / most
    decade = 10.0 ** math.floor(math.log10(rough))
    step = next(decade * of for of in (1, 2, 2.5, 5, 10) if decade * of >= rough)
    return [round(step * n, 12) for n in range(math.ceil(low / step), math.floor(high / step) + 1)]


def simplified(x: Array, y: Array, tolerance: float = 0.3) -> Array:
    """The points that a line needs so as to be nowhere off by more than ``tolerance`` (Douglas and Peucker)."""
    kept = np.zeros(x.size, dtype=bool)
    kept[[0, -1]] = True
    open_ = [(0, x.size - 1)]
    while open_:
        first, last = open_.pop()
        if last - first < 2:
            continue
        inner = slice(first + 1, last)
        straight = np.interp(x[inner], x[[first, last]], y[[first, last]])
        off = np.abs(y[inner] - straight)
        worst = int(off.argmax())
        if off[worst] > tolerance:
            kept[first + 1 + worst] = True
            open_ += [(first, first + 1 + worst), (first + 1 + worst, last)]
    return np.stack([x[kept], y[kept]], axis=1)


def listed(points: Array) -> str:
    """Points as an SVG attribute has them, to a tenth of a pixel."""
    return " ".join(f"{_short(x)},{_short(y)}" for x, y in points)


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
