"""Proximal policy optimisation with a clipped ratio for vector observations (Schulman et al. 2017, 1707.06347)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import Box
from jaxtyping import Bool, Float
from torch import Tensor

from agents.parts.gaussian_policy import Activation, GaussianPolicy, Mlp, Numbers
from agents.parts.rollout import Rollout, RunningNormaliser, normalised
from agents.protocol import Report


@dataclass(frozen=True, kw_only=True)
class PPOConfig:
    """Defaults: those of stable-baselines3 2.9's PPO, whose source is openai/baselines."""

    hidden: Sequence[int] = (64, 64)  # units of the policy's layers; (): linear
    value_hidden: Sequence[int] = (64, 64)  # units of the value's layers
    activation: Activation = "tanh"
    tanh_mean: bool = False  # the policy's mean is the tanh of its network, in [-1, 1]
    log_std: float = 0.0  # logarithm of the first standard deviation of actions
    rollout_steps: int = 2048  # T, steps of each environment in a rollout
    batch_size: int = 64  # transitions of a gradient step
    epochs: int = 10  # passes over each rollout
    learning_rate: float = 3e-4  # Adam
    anneal_updates: int | None = None  # updates in which the learning rate falls linearly to 0; None: it does not
    gamma: float = 0.99  # discount per step
    lam: float = 0.95  # trace weight of the advantage
    clip: float = 0.2  # epsilon: how far from 1 the probability ratio counts
    value_clip: float | None = None  # how far a value may move in an update (SB3's clip_range_vf); None: any way
    value_weight: float = 0.5  # c1 of eq. 9, of the mean squared error
    entropy_weight: float = 0.0  # c2 of eq. 9
    max_grad_norm: float = 0.5  # of all gradients together
    target_kl: float | None = None  # nats; an update stops where it diverged by 1.5 times this; None: never
    normalise_obs: bool = False  # by running mean and deviation, as rl-baselines3-zoo does for MuJoCo
    value_first: int = 0  # first updates that fit the value alone and spare a policy that was given from outside

    def __post_init__(self) -> None:
        for name in ("rollout_steps", "batch_size", "epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"expected {name} >= 1, found {getattr(self, name)}")


class PPO:
    """Policy, value and the rollout that they learn from, on ``generator``'s device.

    It is fed: `act`, a step of whatever environment, `store`, and `update` once it is `full`; `learn` does so with a
    vector environment. ``generator`` gives the first weights, then actions and the order of minibatches; `state` holds
    it. ``policy`` may also be trained from outside, or be given weights (`GaussianPolicy.set_weights`).
    """

    def __init__(self, obs_size: int, action_size: int, config: PPOConfig, generator: torch.Generator) -> None:
        self.config, self.generator = config, generator
        self.policy = GaussianPolicy(
            obs_size,
            action_size,
            generator,
            hidden=config.hidden,
            activation=config.activation,
            tanh_mean=config.tanh_mean,
            log_std=config.log_std,
        )
        sizes = [obs_size, *config.value_hidden, 1]
        self.value_net = Mlp(sizes, generator, activation=config.activation, last_gain=1.0)
        self.normaliser = RunningNormaliser(obs_size, generator.device) if config.normalise_obs else None
        self.numbers = Numbers([*self.policy.parameters(), *self.value_net.parameters()])
        self.rollout = Rollout(config.rollout_steps, obs_size, action_size, generator.device)
        self.updates = 0  # rollouts learnt from

    @torch.no_grad()
    def act(
        self, obs: Float[Tensor, "N D"], generator: torch.Generator | None = None
    ) -> tuple[Float[Tensor, "N A"], Float[Tensor, " N"], Float[Tensor, " N"]]:
        """Sampled actions, unbounded, their log-densities, and the values of ``obs``."""
        seen = self._seen(obs)
        action, log_prob = self.policy.sample(seen, self.generator if generator is None else generator)
        return action, log_prob, self.value_net.forward(seen)[:, 0]

    @torch.no_grad()
    def mean_action(self, obs: Float[Tensor, "N D"]) -> Float[Tensor, "N A"]:
        return self.policy.forward(self._seen(obs))

    @torch.no_grad()
    def value(self, obs: Float[Tensor, "N D"]) -> Float[Tensor, " N"]:
        return self.value_net.forward(self._seen(obs))[:, 0]

    def _seen(self, obs: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        return obs if self.normaliser is None else self.normaliser(obs)

    def store(
        self,
        obs: Float[Tensor, "N D"],
        action: Float[Tensor, "N A"],
        log_prob: Float[Tensor, " N"],
        value: Float[Tensor, " N"],
        reward: Float[Tensor, " N"],
        terminated: Bool[Tensor, " N"],
        truncated: Bool[Tensor, " N"],
        final_value: Float[Tensor, " N"] | None = None,
    ) -> None:
        """One step of all environments: what `act` saw and said, and what followed.

        ``final_value``: `value` of the last observations of truncated episodes; it matters there only. The normaliser
        learns of observations here, after they were acted upon.
        """
        self.rollout.add(self._seen(obs), action, log_prob, value, reward, terminated, truncated, final_value)
        if self.normaliser is not None:
            self.normaliser.add(obs)

    @property
    def full(self) -> bool:
        return self.rollout.full

    @torch.no_grad()
    def update(self, last_obs: Float[Tensor, "N D"]) -> dict[str, float]:
        """Learn from a full rollout, then forget it; ``last_obs`` is what its last step led to.

        Returns means over the minibatches: the losses ``policy``, ``value`` and ``entropy`` (negative entropy), the
        divergence ``kl`` from the policy that acted (nats; the estimate (r - 1) - log r), the share ``clipped`` of
        ratios beyond the clip; and the share of the returns' variance that the values had ``explained``.
        """
        if not self.full:
            raise RuntimeError(f"expected a full rollout, found {self.rollout.stored} of {self.rollout.steps} steps")
        config = self.config
        rate = config.learning_rate
        if config.anneal_updates is not None:
            rate *= max(0.0, 1.0 - self.updates / config.anneal_updates)
        rows = self.rollout.rows(self.value(last_obs), config.gamma, config.lam)
        found: list[Tensor] = []
        for chosen in self._minibatches(len(rows["obs"])):
            measured = self._differentiate({name: x.index_select(0, chosen) for name, x in rows.items()})
            found.append(torch.stack(list(measured.values())))
            if config.target_kl is not None and float(measured["kl"]) > 1.5 * config.target_kl:
                break
            self.numbers.step(rate, config.max_grad_norm)
        self.updates += 1
        self.rollout.clear()
        metrics = dict(zip(measured, torch.stack(found).mean(0).tolist(), strict=True))
        spread = float(rows["return_"].var(correction=0))
        missed = float((rows["return_"] - rows["value"]).var(correction=0))
        return metrics | {"explained": 1.0 - missed / spread if spread > 0.0 else 0.0}

    def _minibatches(self, count: int) -> Iterator[Tensor]:
        for _ in range(self.config.epochs):
            order = torch.randperm(count, generator=self.generator, device=self.generator.device)
            yield from torch.split(order, self.config.batch_size)

    def _differentiate(self, rows: dict[str, Tensor]) -> dict[str, Tensor]:
        """The losses of a minibatch, by name, and into `numbers` the gradient of their weighted sum (eq. 9)."""
        config, count = self.config, len(rows["obs"])
        layers, noise = self.policy.layers(rows["obs"], rows["action"])
        log_ratio = self.policy.density(noise) - rows["log_prob"]
        ratio = log_ratio.exp()
        surrogate, by_log_ratio = clipped(ratio, normalised(rows["advantage"]), config.clip)
        losses = {"policy": -surrogate.mean(), "entropy": -self.policy.entropy()}
        value_layers = self.value_net.layers(rows["obs"])
        losses["value"], by_value = value_loss(
            value_layers[-1][:, 0], rows["value"], rows["return_"], config.value_clip
        )

        weight = float(self.updates >= config.value_first)
        by_log_prob = by_log_ratio * (-weight / count)
        gradients = self.policy.backward(layers, noise, by_log_prob, -weight * config.entropy_weight)
        by_value *= config.value_weight / count
        gradients += self.value_net.backward(value_layers, by_value[:, None])
        self.numbers.take(gradients)
        apart = ratio - 1.0
        return losses | {"kl": (apart - log_ratio).mean(), "clipped": (apart.abs() > config.clip).float().mean()}

    def state(self) -> dict[str, Any]:
        """Copies of all that acting, storing and updating depend on, at any time between two of these."""
        return {
            "numbers": self.numbers.state(),
            "updates": self.updates,
            "rollout": self.rollout.state(),
            "normaliser": None if self.normaliser is None else self.normaliser.state(),
            "generator": self.generator.get_state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.numbers.restore(state["numbers"])
        self.updates = state["updates"]
        self.rollout.restore(state["rollout"])
        if self.normaliser is not None:
            self.normaliser.restore(state["normaliser"])
        self.generator.set_state(state["generator"])


def clipped(
    ratio: Float[Tensor, " B"], advantage: Float[Tensor, " B"], clip: float
) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
    """Each row's min(r A, clip(r, 1 - epsilon, 1 + epsilon) A) of eq. 7, and its derivative by log r."""
    plain, held = ratio * advantage, ratio.clamp(1.0 - clip, 1.0 + clip) * advantage
    return torch.minimum(plain, held), plain * (plain <= held)


def value_loss(
    value: Float[Tensor, " B"], old_value: Float[Tensor, " B"], return_: Float[Tensor, " B"], clip: float | None
) -> tuple[Float[Tensor, ""], Float[Tensor, " B"]]:
    """The mean squared error, of the old value moved by at most ``clip``; and each row's part of its derivative."""
    if clip is None:
        error = value - return_
        return error.square().mean(), 2.0 * error
    moved = value - old_value
    error = old_value + moved.clamp(-clip, clip) - return_
    return error.square().mean(), 2.0 * error * (moved.abs() <= clip)


def learn(
    ppo: PPO, env: gym.vector.VectorEnv[Any, Any, Any], updates: int, report: Report, obs: Any = None
) -> np.ndarray:
    """Play and learn until ``ppo`` has made ``updates`` updates in all; the last observation, to go on from.

    ``env``: observations ``[N D]`` and Box actions ``[N A]``, reset in the step that ends an episode. Actions are cut
    at its bounds, what is learnt from is the action before (as stable-baselines3). ``report`` is called after every
    step, with the metrics of an update where one was made; whoever stops there goes on, mid-rollout too, with a
    restored ``ppo`` and the last observation: ``obs``, or what ``env.reset()`` returns.
    """
    mode, space, device = env.metadata.get("autoreset_mode"), env.single_action_space, ppo.generator.device
    if mode != gym.vector.AutoresetMode.SAME_STEP or not isinstance(space, Box):
        raise ValueError(f"expected a vector with SAME_STEP autoreset and Box actions, found {mode} and {space}")

    def tensor(x: Any, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.as_tensor(x, dtype=dtype, device=device)

    obs = env.reset()[0] if obs is None else obs
    while ppo.updates < updates:
        seen = tensor(obs).clone()  # the environment may write its next observations into the same array
        action, log_prob, value = ppo.act(seen)
        obs, reward, terminated, truncated, infos = env.step(action.cpu().numpy().clip(space.low, space.high))
        final_value, cut = None, np.asarray(truncated)
        if cut.any():
            final_value = torch.zeros_like(value)
            final_value[tensor(cut, torch.bool)] = ppo.value(tensor(np.stack(list(infos["final_obs"][cut]))))
        ends = tensor(terminated, torch.bool), tensor(truncated, torch.bool)
        ppo.store(seen, action, log_prob, value, tensor(reward), *ends, final_value)
        report(ppo.update(tensor(obs)) if ppo.full else None)
    return np.asarray(obs)
