"""Real transitions in the order in which they were lived, the oldest given up when full."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


class Replay:
    """Arrays of fixed capacity. ``terminated`` is a true end; a time limit is not one."""

    def __init__(
        self, capacity: int, obs_shape: tuple[int, ...], action_size: int, obs_dtype: Any = np.float32
    ) -> None:
        self.capacity = capacity
        self.added = 0  # transitions ever added
        self.arrays = {
            "obs": np.zeros((capacity, *obs_shape), obs_dtype),
            "action": np.zeros((capacity, action_size), np.float32),
            "reward": np.zeros(capacity, np.float32),
            "next_obs": np.zeros((capacity, *obs_shape), obs_dtype),
            "terminated": np.zeros(capacity, np.bool_),
        }

    def __len__(self) -> int:
        return min(self.added, self.capacity)

    def add(self, obs: Any, action: Any, reward: float, next_obs: Any, terminated: bool) -> None:
        at = self.added % self.capacity
        arrays = self.arrays
        arrays["obs"][at] = obs
        arrays["action"][at] = action
        arrays["reward"][at] = reward
        arrays["next_obs"][at] = next_obs
        arrays["terminated"][at] = terminated
        self.added += 1

    def tensors(self) -> dict[str, Tensor]:
        """All that is held, by name, without copying; oldest first until the capacity is reached."""
        return {name: torch.from_numpy(array[: len(self)]) for name, array in self.arrays.items()}

    def state(self) -> dict[str, Any]:
        return {"added": self.added, **self.tensors()}

    def restore(self, state: dict[str, Any]) -> None:
        self.added = state["added"]
        for name, array in self.arrays.items():
            array[: len(self)] = state[name].numpy()
