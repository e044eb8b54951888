"""How a stable-baselines3 network acts in evaluation: fast, from a generator of its own, leaving no trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.distributions import (
    CategoricalDistribution,
    DiagGaussianDistribution,
    StateDependentNoiseDistribution,
)
from stable_baselines3.common.preprocessing import is_image_space, is_image_space_channels_first
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor

Choose = Callable[[Tensor], Tensor]  # observation [1, ...] -> action [1, ...], in the network's scale
Chooser = Callable[[BaseAlgorithm, torch.Generator | None], Choose]  # a generator to sample, None for the mode


class Sb3Policy:
    """What a stable-baselines3 network does, without the detours of ``predict``; draws from its own generator."""

    def __init__(self, model: BaseAlgorithm, normalize: VecNormalize | None, chooser: Chooser, sample: bool) -> None:
        space = model.action_space
        self._model = model
        self._chooser = chooser
        self._generator = torch.Generator(model.device) if sample else None
        self._device = model.device
        self._box = space if isinstance(space, Box) else None
        self._squashed = model.policy.squash_output
        self._channels_last = False
        self._scale: tuple[Any, Any, float] | None = None
        env = model.get_env()
        raw = env.unwrapped.observation_space if env is not None else model.observation_space
        if is_image_space(raw):
            self._channels_last = not is_image_space_channels_first(raw)  # type: ignore[arg-type]
        if normalize is not None and normalize.norm_obs:
            rms: Any = normalize.obs_rms
            self._scale = rms.mean.copy(), np.sqrt(rms.var + normalize.epsilon), normalize.clip_obs
        self.reset(0)

    def reset(self, seed: int) -> None:
        if self._generator is not None:
            self._generator.manual_seed(seed)
        self._choose = self._chooser(self._model, self._generator)

    def act(self, obs: Any) -> Any:
        obs = np.asarray(obs)
        if self._channels_last:
            obs = obs.transpose(2, 0, 1)
        if self._scale is not None:
            mean, std, limit = self._scale
            obs = np.clip((obs - mean) / std, -limit, limit).astype(np.float32)
        with torch.no_grad():
            action = self._choose(torch.tensor(obs[None], device=self._device))
        if self._box is None:
            return int(action)
        low, high = self._box.low, self._box.high
        array = action.cpu().numpy().reshape(self._box.shape)
        if self._squashed:
            return low + 0.5 * (array + 1.0) * (high - low)
        return np.clip(array, low, high)


def actor_critic(model: BaseAlgorithm, generator: torch.Generator | None) -> Choose:
    """The chooser of PPO and A2C for one episode."""
    policy: Any = model.policy
    matrix: Tensor | None = None
    age = 0

    def mode(obs: Tensor) -> Tensor:
        return policy.get_distribution(obs).mode()  # type: ignore[no-any-return]

    def sample(obs: Tensor) -> Tensor:
        nonlocal matrix, age
        distribution = policy.get_distribution(obs)
        if isinstance(distribution, CategoricalDistribution):
            return torch.multinomial(distribution.distribution.probs, 1, generator=generator)
        mean = distribution.distribution.mean
        if isinstance(distribution, DiagGaussianDistribution):
            noise = torch.randn(mean.shape, generator=generator, device=mean.device)
            return mean + distribution.distribution.stddev * noise  # type: ignore[no-any-return]
        assert isinstance(distribution, StateDependentNoiseDistribution)
        # One noise matrix for the episode, or a new one every so many steps, as in training.
        if matrix is None or (model.sde_sample_freq > 0 and age % model.sde_sample_freq == 0):
            std = distribution.get_std(policy.log_std)
            matrix = std * torch.randn(std.shape, generator=generator, device=std.device)
        age += 1
        return mean + distribution._latent_sde @ matrix  # type: ignore[no-any-return]

    return mode if generator is None else sample
