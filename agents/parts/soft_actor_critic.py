"""Soft actor-critic with tanh-Gaussian policy, twin critics and automatic temperature (Haarnoja et al. 2018).

1812.05905, as MBPO and stable-baselines3 build it: no value network, one step of everything per update.

Deviations from their codes: log(1 - tanh^2) is exact where they add 1e-6 inside; first weights follow
stable-baselines3 (MBPO's by an option); MBPO leaves the order of an update's steps to TensorFlow, here as in
stable-baselines3 the actor meets critics that have just made theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log, pi
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from agents.parts.actor_critic_networks import Bounds, Networks
from agents.parts.adam import Adam

LOG_STD_MIN, LOG_STD_MAX = -20.0, 2.0


@dataclass(frozen=True, kw_only=True)
class SACConfig:
    """Defaults: Haarnoja et al. 2018 (1812.05905), table 1, as MBPO and stable-baselines3 use them."""

    hidden: Sequence[int] = (256, 256)  # units of actor and critics
    learning_rate: float = 3e-4  # of actor, critics and temperature
    gamma: float = 0.99  # discount per step
    tau: float = 0.005  # share of the critics that their targets take over per update
    critics: int = 2  # the least of their estimates counts
    temperature: float = 1.0  # alpha, in reward per nat of entropy; where it starts if it is automatic
    automatic: bool = True  # whether alpha is fitted to the target entropy
    target_entropy: float | None = None  # nats, of the action in [-1, 1]; None: minus the number of its dimensions
    initial: Literal["fan_in", "glorot"] = "fan_in"  # first weights, see Networks; MBPO's own code: glorot


class Squashed(NamedTuple):
    """A sampled action u = mean + std * noise and a = tanh(u), with what its gradients need."""

    unit: Tensor  # a in [-1, 1] [B A]
    log_prob: Tensor  # of a [B]
    spread: Tensor  # std * noise [B A]


def squash(head: Float[Tensor, "B A2"], noise: Float[Tensor, "B A"]) -> Squashed:
    """The actor's output, means beside log-stds, with standard normal ``noise``; 1812.05905, appendix C.

    log(1 - tanh(u)^2) is written as 2 (log 2 - u - softplus(-2 u)), which is exact where tanh(u) rounds to 1.
    """
    mean, log_std = head.chunk(2, 1)
    log_std = log_std.clamp(LOG_STD_MIN, LOG_STD_MAX)
    spread = log_std.exp() * noise
    u = mean + spread
    terms = noise.square() * 0.5 + log_std + 2.0 * (log(2.0) - u - softplus(-2.0 * u))
    return Squashed(u.tanh(), -terms.sum(1) - 0.5 * log(2.0 * pi) * noise.shape[1], spread)


def squash_slope(
    head: Float[Tensor, "B A2"], sampled: Squashed, by_unit: Float[Tensor, "B A"], by_log_prob: Float[Tensor, ""]
) -> Float[Tensor, "B A2"]:
    """The gradient by ``head`` of a loss, from its gradients by `squash`'s action and log-probability (noise fixed)."""
    unit = sampled.unit
    by_u = by_unit * (1.0 - unit.square()) + (2.0 * by_log_prob) * unit
    log_std = head[:, unit.shape[1] :]
    free = (log_std >= LOG_STD_MIN) & (log_std <= LOG_STD_MAX)  # a clamped log-std has no gradient
    return torch.cat([by_u, (by_u * sampled.spread - by_log_prob) * free], 1)


class SAC:
    """Actor, critics and their targets on ``generator``'s device; ``low`` and ``high [A]`` bound the actions.

    Observations are taken as they are; actions come and go in the environment's units, and the networks see them in
    [-1, 1]. A batch is a mapping of tensors ``obs, next_obs [B D]``, ``action [B A]``, ``reward, terminated [B]``.

    ``generator`` gives the first weights, then the noise of every update; `state` holds it.

    No update looks at a tensor's value in Python, so each can be captured in a CUDA graph once it has run: with
    ``graph.register_generator_state(sac.generator)``, batches copied into the captured tensors, and `restore` before
    the capture or after it (it writes in place).
    """

    def __init__(
        self,
        obs_size: int,
        low: Float[Tensor, " A"],
        high: Float[Tensor, " A"],
        config: SACConfig,
        generator: torch.Generator,
    ) -> None:
        self.config, self.generator, self.obs_size = config, generator, obs_size
        self.bounds = Bounds(low, high, generator.device)
        self.action_size = size = len(low)
        self.target_entropy = -float(size) if config.target_entropy is None else config.target_entropy
        self.actor = Networks(1, [obs_size, *config.hidden, 2 * size], generator, initial=config.initial)
        self.critics = Networks(config.critics, [obs_size + size, *config.hidden, 1], generator, initial=config.initial)
        self.target_critics = self.critics.copy()
        self.log_temperature = torch.full((), log(config.temperature), device=generator.device)
        self.log_temperature_slope = torch.zeros_like(self.log_temperature)
        self.critic_optimiser = Adam([(self.critics.vector, self.critics.gradient, 0.0)], config.learning_rate)
        moved = [
            (self.actor.vector, self.actor.gradient, 0.0),
            (self.log_temperature, self.log_temperature_slope, 0.0),
        ]
        self.actor_optimiser = Adam(moved, config.learning_rate)

    @torch.no_grad()
    def act(
        self, obs: Float[Tensor, "N D"], sample: bool, generator: torch.Generator | None = None
    ) -> Float[Tensor, "N A"]:
        """A sample of the policy, drawn from ``generator`` (None: the part's own), or its mode: tanh of the mean."""
        mean, log_std = self.actor.infer(obs.float())[0].chunk(2, 1)
        if sample:
            noise = torch.randn(mean.shape, generator=generator or self.generator, device=mean.device)
            mean = torch.addcmul(mean, log_std.clamp_(LOG_STD_MIN, LOG_STD_MAX).exp_(), noise)
        return self.bounds.outward(mean.tanh())

    def sample(self, obs: Float[Tensor, "B D"]) -> tuple[Float[Tensor, "B A"], Float[Tensor, " B"]]:
        """Actions and their log-probabilities, of the action in [-1, 1]; differentiable in actor and ``obs``."""
        sampled = squash(self.actor(obs)[0], self._noise(len(obs)))
        return self.bounds.outward(sampled.unit), sampled.log_prob

    def critic(
        self, obs: Float[Tensor, "B D"], action: Float[Tensor, "B A"], *, target: bool = False
    ) -> Float[Tensor, "E B"]:
        """Each critic's or target critic's estimate; differentiable."""
        critics = self.target_critics if target else self.critics
        return critics(torch.cat([obs, self.bounds.inward(action)], 1))[..., 0]

    @torch.no_grad()
    def value(self, obs: Float[Tensor, "B D"]) -> Float[Tensor, " B"]:
        """The target critics' soft value: min Q(s, a) - alpha log pi(a | s) of one sampled action (eq. 3)."""
        sampled = squash(self.actor.infer(obs)[0], self._noise(len(obs)))
        q = self.target_critics.infer(torch.cat([obs, sampled.unit], 1))[..., 0]
        return q.amin(0) - self.log_temperature.exp() * sampled.log_prob

    @torch.no_grad()
    def targets(self, batch: Mapping[str, Tensor]) -> Float[Tensor, " B"]:
        """r + gamma (1 - terminated) V(s') (eq. 2). A time limit is no true end and is not in ``terminated``."""
        cont = 1.0 - batch["terminated"].float()
        return batch["reward"] + cont * self.config.gamma * self.value(batch["next_obs"])

    def update(self, batch: Mapping[str, Tensor], targets: Float[Tensor, " B"] | None = None) -> dict[str, Tensor]:
        """One step of critics, actor, temperature and target critics, in the order of stable-baselines3.

        ``targets`` stands in for `targets`. Returns scalar tensors: the losses ``critic``, ``actor``, ``temperature``
        before the step, and the means ``q``, ``entropy`` and ``alpha``.
        """
        if targets is None:
            targets = self.targets(batch)
        found = self.update_critics(batch["obs"], batch["action"], targets)
        found |= self.update_actor(batch["obs"])
        self.follow_targets()
        return found

    @torch.no_grad()
    def follow_targets(self) -> None:
        """The target critics take over ``tau`` of the critics' numbers."""
        self.target_critics.follow(self.critics, self.config.tau)

    @torch.no_grad()
    def update_critics(
        self,
        obs: Float[Tensor, "B D"],
        action: Float[Tensor, "B A"],
        targets: Float[Tensor, " B"] | Float[Tensor, "E B"],
        weight: Float[Tensor, " B"] | None = None,
    ) -> dict[str, Tensor]:
        """One step on J_Q: summed over critics, averaged over rows, ``weight`` (Q - target)^2 / 2 (eq. 5)."""
        layers = self.critics.forward(torch.cat([obs, self.bounds.inward(action)], 1))
        q = layers[-1][..., 0]
        error = q - targets
        slope = error / len(obs) if weight is None else error * (weight / len(obs))
        self.critics.backward(layers, slope[..., None])
        self.critic_optimiser.step()
        return {"critic": 0.5 * (slope * error).sum(), "q": q.mean()}

    @torch.no_grad()
    def update_actor(self, obs: Float[Tensor, "B D"]) -> dict[str, Tensor]:
        """One step on J_pi = mean of alpha log pi(a | s) - min Q(s, a) (eq. 7), and on alpha (eq. 18).

        As SB3 and MBPO do, alpha's loss is linear in log alpha; the actor sees alpha as it was before its step.
        """
        layers = self.actor.forward(obs)
        head = layers[-1][0]
        sampled = squash(head, self._noise(len(obs)))
        alpha = self.log_temperature.exp()
        inside = self.critics.forward(torch.cat([obs, sampled.unit], 1))
        q, least = inside[-1].min(0, keepdim=True)
        chosen = torch.zeros_like(inside[-1]).scatter_(0, least, -1.0 / len(obs))  # only the least critic's estimate
        by_unit = self.critics.input_slope(inside, chosen, self.obs_size).sum(0)
        self.actor.backward(layers, squash_slope(head, sampled, by_unit, alpha / len(obs))[None])
        log_prob = sampled.log_prob.mean()
        if self.config.automatic:
            torch.sub(-self.target_entropy, log_prob, out=self.log_temperature_slope)
        loss = self.log_temperature * self.log_temperature_slope
        self.actor_optimiser.step()
        return {"actor": alpha * log_prob - q.mean(), "temperature": loss, "entropy": -log_prob, "alpha": alpha}

    def _noise(self, count: int) -> Float[Tensor, "B A"]:
        return torch.randn(count, self.action_size, generator=self.generator, device=self.generator.device)

    def state(self) -> dict[str, Any]:
        """Copies of all that the next update depends on."""
        return {
            "numbers": [part.clone() for part in self._numbers()],
            "optimisers": [self.critic_optimiser.state(), self.actor_optimiser.state()],
            "generator": self.generator.get_state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        for mine, saved in zip(self._numbers(), state["numbers"], strict=True):
            mine.copy_(saved)
        for optimiser, saved in zip((self.critic_optimiser, self.actor_optimiser), state["optimisers"], strict=True):
            optimiser.restore(saved)
        self.generator.set_state(state["generator"])

    def _numbers(self) -> list[Tensor]:
        return [self.actor.vector, self.critics.vector, self.target_critics.vector, self.log_temperature]
