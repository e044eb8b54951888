"""Whole episodes of image observations: frames in a file of their own, the rest in memory, latents once encoded."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

FIRST_ROOM = 1024  # frames that the file has room for at first; doubled when full


class Recording:
    """Frames in the order in which they were seen; each knows its episode, and what was done there, if anything.

    The frames are too large to be written with every save: they lie in a file that only grows. What is beyond the
    saved number of frames was written by an attempt that was killed, and is written again. A recording that was taken
    over from another trial has no frames, and needs none once they are encoded.
    """

    def __init__(self, folder: Path | None, frame_shape: tuple[int, ...], action_size: int) -> None:
        """``folder`` outlives kills; None: a temporary one that goes with this object."""
        self._temporary = tempfile.TemporaryDirectory() if folder is None else None
        self._file = Path(self._temporary.name if self._temporary else str(folder)) / "frames.u8"
        self._shape = frame_shape
        self._frames: np.memmap[Any, Any] | None = None
        self.count = 0  # frames
        self.episodes = 0  # begun
        self.columns: dict[str, np.ndarray] = {
            "episode": np.zeros(0, np.int64),
            "action": np.zeros((0, action_size), np.float32),
            "acted": np.zeros(0, np.bool_),  # False: an episode's last frame, or one at which it was broken off
            "reward": np.zeros(0, np.float32),
            "terminated": np.zeros(0, np.bool_),
        }
        self.mean = self.logvar = torch.zeros(0, 0)  # [frames Z], what V makes of the first ``len(mean)`` frames

    # -- recording ---------------------------------------------------------------------------------------------------

    def begin_episode(self) -> int:
        self.episodes += 1
        return self.episodes - 1

    def add(self, episode: int, frame: np.ndarray) -> int:
        """A frame of ``episode``; its row, for `act`."""
        row = self.count
        if row >= len(self.columns["episode"]):
            self._make_room(row + 1)
        assert self._frames is not None
        self._frames[row] = frame
        self.columns["episode"][row] = episode
        self.columns["acted"][row] = False
        self.count = row + 1
        return row

    def act(self, row: int, action: np.ndarray, reward: float, terminated: bool) -> None:
        """What was done at the frame in ``row`` and what came of it."""
        columns = self.columns
        columns["action"][row], columns["reward"][row] = action, reward
        columns["terminated"][row], columns["acted"][row] = terminated, True

    def _make_room(self, count: int) -> None:
        """For ``count`` frames or more; how many more depends on nothing else."""
        room = FIRST_ROOM
        while room < count:
            room *= 2
        for name, column in self.columns.items():
            wider = np.zeros((room, *column.shape[1:]), column.dtype)
            wider[: self.count] = column[: self.count]
            self.columns[name] = wider
        self._file.touch()
        with self._file.open("r+b") as file:
            file.truncate(room * int(np.prod(self._shape)))
        self._frames = np.memmap(self._file, np.uint8, "r+", shape=(room, *self._shape))

    def frames(self, rows: Any) -> np.ndarray:
        """Frames ``[rows, height, width, channels]``, copied."""
        assert self._frames is not None
        found: np.ndarray = np.ascontiguousarray(self._frames[rows])
        return found

    # -- what M is trained on ----------------------------------------------------------------------------------------

    def stream(self) -> dict[str, np.ndarray]:
        """All transitions, episode after episode; ``[S]`` each.

        ``row``, ``next_row`` of the frames before and after, ``first`` of its episode. Where something was done the
        frame after it is there, too: `agents.parts.recorder` adds it also where an episode ends or is broken off.
        """
        columns = {name: column[: self.count] for name, column in self.columns.items()}
        order = np.argsort(columns["episode"], kind="stable")  # games that were played side by side, one by one
        episode = columns["episode"][order]
        first = np.ones(self.count, np.bool_)
        first[1:] = episode[1:] != episode[:-1]
        acted = columns["acted"][order]
        return {"row": order[acted], "next_row": np.append(order[1:], 0)[acted], "first": first[acted]}

    def reward_spread(self) -> float:
        """The standard deviation of all rewards; 1 where they are all the same."""
        rewards = self.columns["reward"][: self.count][self.columns["acted"][: self.count]]
        return float(rewards.std(dtype=np.float64)) if len(rewards) and np.ptp(rewards) else 1.0

    def batch(
        self, stream: dict[str, np.ndarray], starts: np.ndarray, length: int, across: bool
    ) -> dict[str, Float[Tensor, "B T ..."] | Int[Tensor, "B T"] | Bool[Tensor, "B T"]]:
        """Sequences of ``length`` transitions from ``starts [B]`` on, places in the stream.

        ``across``: a sequence runs on into the next episode, which ``restart`` marks, as M with a done head has it;
        else the mask ends with the episode.
        """
        places = starts[:, None] + np.arange(length)
        mask = places < len(stream["row"])
        places = np.minimum(places, len(stream["row"]) - 1)
        rows, restart = stream["row"][places], stream["first"][places]
        if not across:
            later = restart.copy()
            later[:, 0] = False
            mask &= ~np.logical_or.accumulate(later, axis=1)
        columns = self.columns
        return {
            "row": torch.from_numpy(rows),
            "next_row": torch.from_numpy(stream["next_row"][places]),
            "action": torch.from_numpy(columns["action"][rows]),
            "restart": torch.from_numpy(restart.astype(np.float32)),
            "reward": torch.from_numpy(columns["reward"][rows]),
            "done": torch.from_numpy(columns["terminated"][rows].astype(np.float32)),
            "mask": torch.from_numpy(mask),
        }

    @staticmethod
    def starts(
        stream: dict[str, np.ndarray], count: int, length: int, across: bool, rng: np.random.Generator
    ) -> np.ndarray:
        """Where ``count`` sequences begin, for `batch`.

        ``across``: anywhere, but moved back where the last end would cut them short. Else each lies inside an episode,
        and many begin where it does, since there every episode that is played or dreamt begins, with h = 0: a start is
        drawn from ``length`` - 1 steps before the episode to its end, then moved to where the sequence has room. So no
        step of the episode is seen less often than its first or last. An episode n > 1 sequences long is drawn n times
        as often as one that is no longer than a sequence: so all rows have about the same chance.
        """
        total = len(stream["row"])
        if across:
            return np.minimum(rng.integers(total, size=count), max(0, total - length))
        firsts = np.flatnonzero(stream["first"])
        ends = np.append(firsts[1:], total)
        share = np.maximum(ends - firsts, length)
        episode = rng.choice(len(firsts), count, p=share / share.sum())
        first, end = firsts[episode], ends[episode]
        found: np.ndarray = np.clip(rng.integers(first - length + 1, end), first, np.maximum(first, end - length))
        return found

    def first_rows(self) -> np.ndarray:
        """The first frame of every episode: where dreams begin."""
        stream = self.stream()
        rows: np.ndarray = stream["row"][stream["first"]]
        return rows

    # -- saving ------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """All but the frames, which are handed to the operating system."""
        if self._frames is not None:
            self._frames.flush()
        columns = {name: torch.from_numpy(column[: self.count].copy()) for name, column in self.columns.items()}
        return {
            "count": self.count,
            "episodes": self.episodes,
            "columns": columns,
            "mean": self.mean,
            "logvar": self.logvar,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.count, self.episodes = state["count"], state["episodes"]
        self.columns = {name: column.numpy() for name, column in state["columns"].items()}
        self.mean, self.logvar = state["mean"], state["logvar"]
        if self.count:
            self._make_room(self.count)
