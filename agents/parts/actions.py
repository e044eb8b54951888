"""Actions as vectors for networks and planners, and back into the form that the environment takes."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor


class ActionVectors:
    """A Box action is its own vector; a Discrete action is a one-hot vector."""

    def __init__(self, space: gym.Space[Any], device: str = "cpu") -> None:
        self.device = device
        self.low: Tensor | None = None
        self.start = 0
        if isinstance(space, Discrete):
            self.size, self.start = int(space.n), int(space.start)
        elif isinstance(space, Box) and len(space.shape) == 1 and space.is_bounded("both"):
            self.size = space.shape[0]
            self.shape, self.dtype = space.shape, space.dtype
            self.low = torch.as_tensor(space.low, dtype=torch.float32, device=device)[:, None]
            self.high = torch.as_tensor(space.high, dtype=torch.float32, device=device)[:, None]
        else:
            raise ValueError(
                f"expected a Discrete action space or a bounded one-dimensional Box, found {space}; "
                "wrap the environment so that its actions have one of these forms"
            )

    def encode(self, action: Any) -> np.ndarray:
        """The vector ``[A]`` of an action in the environment's form."""
        if self.low is not None:
            return np.asarray(action, np.float32)
        vector = np.zeros(self.size, np.float32)
        vector[int(action) - self.start] = 1.0
        return vector

    def decode(self, vector: Tensor) -> Any:
        """The action in the environment's form whose vector ``[A]`` this is."""
        if self.low is None:
            return int(vector.argmax()) + self.start
        return vector.cpu().numpy().astype(self.dtype)

    def draw(self, steps: int, count: int, generator: torch.Generator) -> Tensor:
        """Uniform action sequences ``[steps A count]``."""
        if self.low is None:
            chosen = torch.randint(self.size, (steps, 1, count), generator=generator, device=self.device)
            return (chosen == torch.arange(self.size, device=self.device)[:, None]).float()
        share = torch.rand(steps, self.size, count, generator=generator, device=self.device)
        return self.low + share * (self.high - self.low)

    def disturb(self, vector: Tensor, share: float, generator: torch.Generator) -> Tensor:
        """Gaussian noise of ``share`` of half the range on a Box action, kept inside; Discrete as it was."""
        if self.low is None or share == 0.0:
            return vector
        low, high = self.low[:, 0], self.high[:, 0]
        noise = torch.randn(self.size, generator=generator, device=self.device)
        return (vector + noise * share * (high - low) / 2).clamp(low, high)
