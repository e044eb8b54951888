"""Score matrices made of a seed by exact arithmetic alone, the same ones on every machine and with every numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ATARI_100K = ((5, 26), (100, 26), (10, 55))  # shapes of published tables, runs x tasks
MATRICES = 200


def _uniform(bits: np.random.PCG64, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Multiples of 2^-53 from raw bits, which numpy promises never to change; it does not of its distributions."""
    raw = np.asarray(bits.random_raw(int(np.prod(shape))), dtype=np.uint64)
    return (raw >> np.uint64(11)).astype(np.float64).reshape(shape) * 2.0**-53


def _scores(bits: np.random.PCG64, kind: int, runs: int, tasks: int) -> NDArray[np.float64]:
    drawn = _uniform(bits, (runs, tasks))
    level = _uniform(bits, (tasks,)) * 1.5 - 0.25
    if kind == 0:  # around a level of each task, some below a random player
        return level + (drawn - 0.5) * 0.75
    if kind == 1:  # many ties
        return np.floor(drawn * 8) / 4 - 0.25
    if kind == 2:  # a few tasks are solved many times over
        return level / (drawn + 0.03125)
    return np.where(drawn < 0.25, 0.0, level + drawn)  # a quarter of the runs never learn


def pair(number: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores of two entrants [runs tasks] on the same tasks, the second one not always with as many runs."""
    bits = np.random.PCG64(number)
    runs, other, tasks = (1 + int(value) for value in np.floor(_uniform(bits, (3,)) * [20, 12, 30]))
    if number < len(ATARI_100K):
        runs, tasks = ATARI_100K[number]
    x = _scores(bits, number % 4, runs, tasks)
    return x, _scores(bits, number % 4, other, tasks)


def taus(number: int) -> NDArray[np.float64]:
    """Where the profiles of a matrix are read; one of them is a score that occurs among ties."""
    return np.append(_uniform(np.random.PCG64(1000 + number), (3,)) * 1.5, 0.5)
