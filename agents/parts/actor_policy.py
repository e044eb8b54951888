"""An actor as the runner evaluates it, frozen."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch

from agents.parts.actions import ActionVectors
from agents.parts.deterministic_actor_critic import DDPG
from agents.parts.soft_actor_critic import SAC


class ActorPolicy:
    """`agents.protocol.Policy` with a random stream of its own; its mode draws nothing.

    The actor is copied as it is now; the rest of the learner is shared.
    """

    def __init__(self, learner: DDPG | SAC, actions: ActionVectors, sample: bool) -> None:
        self.learner, self.actions, self.sample = copy.copy(learner), actions, sample
        self.learner.actor = learner.actor.copy()
        self.generator = torch.Generator(actions.device)

    def reset(self, seed: int) -> None:
        self.generator.manual_seed(seed)

    def act(self, obs: Any) -> Any:
        rows = torch.as_tensor(np.asarray(obs, np.float32), device=self.generator.device)[None]
        return self.actions.decode(self.learner.act(rows, self.sample, self.generator)[0])
