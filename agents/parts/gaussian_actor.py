"""A `GaussianPolicy` that acts in a bounded environment: of its actions [-1, 1] counts, scaled to the action space."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from agents.parts.actions import ActionVectors
from agents.parts.gaussian_policy import GaussianPolicy


class UnitActions:
    """Actions in [-1, 1] and in the units of a bounded Box, for ``[A]`` and for batches ``[... A]``."""

    def __init__(self, actions: ActionVectors) -> None:
        assert actions.low is not None, "expected a bounded Box, found a Discrete space"
        self.actions, self.low, self.high = actions, actions.low[:, 0], actions.high[:, 0]

    def bounded(self, unit: Float[Tensor, "*B A"]) -> Float[Tensor, "*B A"]:
        """In the environment's units; what lies outside of [-1, 1] is cut."""
        return self.low + (unit.clamp(-1.0, 1.0) + 1.0) / 2.0 * (self.high - self.low)

    def unit(self, action: Float[Tensor, "*B A"]) -> Float[Tensor, "*B A"]:
        """The reverse of `bounded`."""
        return (action - self.low) / (self.high - self.low) * 2.0 - 1.0

    def decode(self, unit: Float[Tensor, "1 A"]) -> Any:
        """One action in the form that the environment takes."""
        return self.actions.decode(self.bounded(unit[0]))


class GaussianActor:
    """`agents.protocol.Policy`: a frozen copy of a policy with a random stream of its own; its mode draws nothing."""

    def __init__(self, policy: GaussianPolicy, scale: UnitActions, sample: bool) -> None:
        self.policy = copy.deepcopy(policy).requires_grad_(False)
        self.scale, self.sample = scale, sample
        self.generator = torch.Generator(policy.log_std.device)

    def reset(self, seed: int) -> None:
        self.generator.manual_seed(seed)

    def act(self, obs: Any) -> Any:
        seen = torch.as_tensor(np.asarray(obs, np.float32), device=self.generator.device)[None]
        unit = self.policy.sample(seen, self.generator)[0] if self.sample else self.policy.forward(seen)
        return self.scale.decode(unit)
