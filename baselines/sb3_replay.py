"""Replay buffers of stable-baselines3: one that stores each frame of a stack once, and both written to disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples

Frames = tuple[np.ndarray, ...]  # the channels of one observation, each [height, width]


class FrameReplay(ReplayBuffer):
    """A replay buffer for pixels that gives out what `ReplayBuffer` does, from an eighth of its memory.

    The original keeps each stack of four frames twice, as an observation and as the next one: 100,000
    transitions of Atari are 5.6 GB. Here a frame equal to one of the neighbouring observation is that frame,
    whatever the environment stacks and pads with, so 0.7 GB remain. One environment only.
    """

    def __init__(
        self, buffer_size: int, observation_space: gym.Space, action_space: gym.Space, *args: Any, **kwargs: Any
    ) -> None:
        pixel = Box(0, 255, (1, 1, 1), np.uint8)  # keeps the original from allocating its own arrays
        super().__init__(buffer_size, pixel, action_space, *args, **kwargs)
        if self.n_envs != 1:
            raise ValueError(f"expected one environment, found {self.n_envs}; use ReplayBuffer for several")
        self.observation_space = observation_space
        self.obs_shape = observation_space.shape  # type: ignore[assignment]
        self.stacks: list[tuple[Frames, Frames]] = []  # observation and next one, by row
        self._last: Frames = ()  # the next observation of the row written last

    def add(self, obs: Any, next_obs: Any, *rest: Any) -> None:
        row = self.pos
        super().add(_PIXEL, _PIXEL, *rest)
        before = _shared(obs[0], self._last)
        self._last = _shared(next_obs[0], before)
        if row == len(self.stacks):
            self.stacks.append((before, self._last))
        else:
            self.stacks[row] = before, self._last

    def _get_samples(self, batch_inds: np.ndarray, env: Any = None) -> ReplayBufferSamples:
        rest = super()._get_samples(batch_inds, env)
        obs, next_obs = (
            np.stack([frame for row in batch_inds for frame in self.stacks[row][which]]).reshape(-1, *self.obs_shape)
            for which in (0, 1)
        )
        return rest._replace(observations=self.to_torch(obs, False), next_observations=self.to_torch(next_obs, False))

    def save(self, folder: Path) -> None:
        """Every distinct frame once, and which of them make up which observation."""
        numbers: dict[int, int] = {}
        frames: list[np.ndarray] = []

        def number(frame: np.ndarray) -> int:
            if (found := numbers.setdefault(id(frame), len(frames))) == len(frames):
                frames.append(frame)
            return found

        pairs = [*self.stacks, (self._last, self._last)] if self.stacks else []
        index = np.array([[[number(frame) for frame in stack] for stack in pair] for pair in pairs], np.int32)
        np.save(folder / "replay_index.npy", index, allow_pickle=False)
        if frames:
            shape = (len(frames), *self.obs_shape[1:])
            file = np.lib.format.open_memmap(folder / "replay_frames.npy", "w+", np.uint8, shape=shape)
            for place, frame in enumerate(frames):
                file[place] = frame  # one by one: a second copy of them all may not fit into memory
            file.flush()

    def load(self, folder: Path) -> None:
        index = np.load(folder / "replay_index.npy", allow_pickle=False)
        self.stacks, self._last = [], ()
        if len(index):
            frames = [
                frame.copy() for frame in np.load(folder / "replay_frames.npy", mmap_mode="r", allow_pickle=False)
            ]
            pairs = [tuple(tuple(frames[n] for n in stack) for stack in pair) for pair in index.tolist()]
            self.stacks = pairs[:-1]  # type: ignore[assignment]
            self._last = pairs[-1][0]


_PIXEL = np.zeros((1, 1, 1, 1), np.uint8)


def _shared(obs: np.ndarray, near: Frames) -> Frames:
    """The channels of ``obs``, each the very array of ``near``, or of an earlier channel, that equals it."""
    frames: Frames = ()
    for channel in obs:
        equal = (frame for frame in (*near, *frames) if np.array_equal(frame, channel))
        known = next(equal, None)
        frames += (channel.copy() if known is None else known,)
    return frames


def save_replay(replay: ReplayBuffer, folder: Path) -> None:
    """The rows that are filled, each array straight to its own file."""
    if isinstance(replay, FrameReplay):
        replay.save(folder)
    for name in _arrays(replay):
        np.save(folder / f"replay_{name}.npy", getattr(replay, name)[: replay.size()], allow_pickle=False)
    np.save(folder / "replay_place.npy", np.array([replay.pos, replay.full]), allow_pickle=False)


def load_replay(replay: ReplayBuffer, folder: Path) -> None:
    if isinstance(replay, FrameReplay):
        replay.load(folder)
    for name in _arrays(replay):
        rows = np.load(folder / f"replay_{name}.npy", mmap_mode="r", allow_pickle=False)
        getattr(replay, name)[: len(rows)] = rows
    pos, full = np.load(folder / "replay_place.npy", allow_pickle=False)
    replay.pos, replay.full = int(pos), bool(full)


def _arrays(replay: ReplayBuffer) -> tuple[str, ...]:
    numbers = ("actions", "rewards", "dones", "timeouts")
    return numbers if isinstance(replay, FrameReplay) else ("observations", "next_observations", *numbers)
