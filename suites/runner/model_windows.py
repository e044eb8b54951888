"""Which stretches of the kept episodes a model is asked to predict, so that every horizon is seen from several places.

Most starts are spread evenly over all steps. Few of these reach far where episodes are short, so for each horizon that
fewer than 16 of them last, further ones are spread over the places from which it can be reached. These speak of that
horizon only: what is said of the nearer ones stays a mean over all steps alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.protocol import Sequences
from suites.runner.evaluation import Episode

WINDOWS = 32  # spread evenly over all steps
FAIR = 16  # that a horizon is to have, where the episodes allow it; so there are half as many windows more at most

Array = NDArray[Any]
Place = tuple[int, int]  # number of the episode, step in it


class Windows(NamedTuple):
    """What a model is asked; ``even`` counts the windows of evenly spread starts, which stand before the others."""

    asked: Sequences
    even: int

    def lasting(self, horizon: int) -> Array:
        """Which windows speak of this horizon ``[B]``: the even ones that last so long; all, where these are few."""
        lasts: Array = self.asked.valid[:, self.asked.context + horizon - 1]
        among = lasts & (np.arange(len(lasts)) < self.even)
        return among if np.count_nonzero(among) >= FAIR else lasts


def windows(episodes: Sequence[Episode], context: int, horizons: Sequence[int]) -> Windows | None:
    """Windows of ``context`` and the longest horizon; None if no episode is long enough for any.

    A window may reach beyond its episode, for models must be asked about ends; it has the context and one step at
    least. What lies beyond repeats the last observation and action.
    """
    even, more = _starts([len(episode.reward) for episode in episodes], context, horizons)
    if not even:
        return None
    found = [_window(episodes[number], at, context + max(horizons)) for number, at in (*even, *more)]
    stacked = {name: np.stack([window[name] for window in found]) for name in found[0]}
    return Windows(Sequences(**stacked, context=context), len(even))


def _starts(lengths: Sequence[int], context: int, horizons: Sequence[int]) -> tuple[list[Place], list[Place]]:
    """Those spread evenly over all steps, and those added for horizons that few of them last."""
    places = [(number, at) for number, length in enumerate(lengths) for at in range(length - context)]
    even, more = _evenly(places, WINDOWS), list[Place]()
    for horizon in sorted(horizons, reverse=True):  # what lasts a longer one lasts the shorter ones too
        lasting = [(number, at) for number, at in places if at + context + horizon <= lengths[number]]
        free = sorted(set(lasting).difference(even, more))
        more += _evenly(free, FAIR - (len(lasting) - len(free)))
    return even, more


def _evenly(places: Sequence[Place], count: int) -> list[Place]:
    """At most so many of them, each from the middle of an equal share."""
    count = min(count, len(places))
    return [places[(2 * k + 1) * len(places) // (2 * count)] for k in range(count)]


def _window(episode: Episode, start: int, length: int) -> dict[str, Array]:
    end = min(start + length, len(episode.reward))
    beyond = start + length - end
    terminated = np.zeros(length, dtype=np.bool_)
    terminated[end - start - 1] = episode.terminated and end == len(episode.reward)
    return {
        "obs": np.stack([*episode.obs[start : end + 1], *[episode.obs[end]] * beyond]),
        "action": np.stack([*episode.action[start:end], *[episode.action[end - 1]] * beyond]),
        "reward": np.array([*episode.reward[start:end], *[0.0] * beyond]),
        "terminated": terminated,
        "valid": np.arange(length) < end - start,
    }
