"""PPO in place of, or after, the evolution of a linear controller: in dreams, and in reality seen through V and M."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from jaxtyping import Float
from torch import Generator, Tensor

from agents.parts import ppo
from agents.parts.controllers import ActionMap
from agents.parts.dream import DreamVector
from agents.parts.dream_games import DreamGames
from agents.parts.games import SeenThrough
from agents.parts.mind import Mind

DREAMS = 64  # stepped together
GAMES = 8  # real ones, stepped together

# A policy of C's own form, the tanh of a linear map. gamma, as dreams last up to 2,100 steps; the value is fitted
# alone at first, so that a C that was evolved is not unlearnt while the value knows nothing. Others: PPOConfig.
CONFIG = ppo.PPOConfig(
    hidden=(), tanh_mean=True, log_std=-1.0, rollout_steps=256, batch_size=512, value_first=4, gamma=0.999
)


class Practice:
    """A learner that sees what C sees and puts out what C puts out."""

    def __init__(self, inputs: int, actions: ActionMap, generator: Generator) -> None:
        self.inputs, self.actions = inputs, actions
        self.ppo = ppo.PPO(inputs, actions.size, CONFIG, generator)
        self.begun = False
        self._stage: Any = None  # where it practises: what has a state of its own
        self._restored: dict[str, Any] | None = None

    def take_over(self, parameters: Float[Tensor, " n"], bias: bool) -> None:
        """Begin as the linear controller with these parameters (`agents.parts.controllers.Controller`)."""
        outputs = self.actions.size
        weights = parameters[outputs * bias :].view(-1, outputs).t()
        self.ppo.policy.set_weights([weights], [parameters[:outputs] if bias else None])

    def in_dreams(
        self, dreams: DreamGames, mean: Tensor, logvar: Tensor, steps: int, tell: Callable[..., None]
    ) -> None:
        """For ``steps`` dreamt steps in all, in dreams that begin at ``mean, logvar [S Z]``."""
        model = dreams.memory
        env = DreamVector(
            model,
            mean,
            logvar,
            DREAMS,
            temperature=dreams.temperature,
            time_limit=dreams.time_limit,
            cell=dreams.seen > model.latent + model.hidden,
            action_space=gym.spaces.Box(-1.0, 1.0, (self.actions.size,), np.float32),
            told=lambda outputs: self.actions.tell(torch.as_tensor(outputs, dtype=torch.float32)),
        )
        if self._restored is None:
            obs, _ = env.reset(seed=int(self.ppo.generator.initial_seed() % 2**31))
        else:
            obs = env.restore(self._restored)
        self._practise(env, env, obs, self.updates(steps), tell)

    def updates(self, steps: int) -> int:
        """Updates that so many dreamt steps allow."""
        return steps // (DREAMS * CONFIG.rollout_steps)

    def in_reality(self, env: Any, mind: Mind, generator: Generator, tell: Callable[..., None]) -> None:
        """Until the budget is spent, in a vector of `GAMES` real games."""
        stage = SeenThrough(env, mind, self.actions, generator, self.inputs)
        if self._restored is not None:
            stage.restore(self._restored)
        obs, _ = stage.reset()
        self._practise(stage, stage, obs, 2**62, tell)

    def _practise(self, env: Any, stage: Any, obs: Any, updates: int, tell: Callable[..., None]) -> None:
        self._stage, self._restored, self.begun = stage, None, True
        tell()
        ppo.learn(self.ppo, env, updates, tell, obs)
        self._stage = None

    def state(self) -> dict[str, Any]:
        """Also in the middle of a rollout."""
        stage = None if self._stage is None else self._stage.state()
        return {"ppo": self.ppo.state(), "begun": self.begun, "stage": stage}

    def restore(self, state: dict[str, Any]) -> None:
        self.ppo.restore(state["ppo"])
        self.begun, self._restored = state["begun"], state["stage"]
