"""A frozen actor as the runner evaluates it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from agents.parts.actions import ActionVectors
from agents.parts.deterministic_actor_critic import DDPG
from agents.parts.soft_actor_critic import SAC


class ActorPolicy:
    """`agents.protocol.Policy` with a random stream of its own; its mode draws nothing. ``learner``: a frozen copy."""

    def __init__(self, learner: DDPG | SAC, actions: ActionVectors, sample: bool) -> None:
        self.learner, self.actions, self.sample = learner, actions, sample
        self.generator = torch.Generator(actions.device)

    def reset(self, seed: int) -> None:
        self.generator.manual_seed(seed)

    def act(self, obs: Any) -> Any:
        rows = torch.as_tensor(np.asarray(obs, np.float32), device=self.generator.device)[None]
        return self.actions.decode(self.learner.act(rows, self.sample, self.generator)[0])
