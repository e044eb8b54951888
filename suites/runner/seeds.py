"""The reset seed of every episode: a function of task, trial seed and place, the same for all entrants of a cell."""

from __future__ import annotations

import zlib

import numpy as np

_TRAIN, _EVALUATE, _COMMON, _POLICY = 0, 1, 2, 3
_HALF = 2**30  # training seeds lie below it, evaluation seeds from it on: no episode is ever in both


def training_seed(task: str, seed: int, env_index: int, episode: int) -> int:
    """The reset seed of one training episode, the same for all entrants of a cell."""
    return _draw(task, seed, _TRAIN, env_index, episode)


def common_seed(task: str, seed: int, episode: int) -> int:
    """The reset seed of a training episode that belongs to no environment: candidates are compared on it."""
    return _draw(task, seed, _COMMON, episode)


def evaluation_seed(task: str, seed: int, episode: int) -> int:
    """The reset seed of one evaluation episode: depends on task and seed alone."""
    return _HALF + _draw(task, seed, _EVALUATE, 0, episode)


def policy_seed(task: str, seed: int, episode: int) -> int:
    """What a policy draws from in one evaluation episode. Seeded as the environment is, a policy that makes its
    generator as the environment makes its own would draw the environment's very stream, and know what comes."""
    return _draw(task, seed, _POLICY, episode)


def _draw(task: str, seed: int, *place: int) -> int:
    sequence = np.random.SeedSequence(seed, spawn_key=(zlib.crc32(task.encode()), *place))
    return int(sequence.generate_state(1)[0]) % _HALF
