"""Deep deterministic policy gradient as MVE and STEVE publish it: deterministic actor, critics, slow targets.

Lillicrap et al. 2016 (1509.02971), algorithm 1, with the networks of its two model-based users: the action enters the
critic beside the observation in the first layer, and noise in the actor's numbers or rare random actions stand in for
the Ornstein-Uhlenbeck process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from agents.parts.actor_critic_networks import Bounds, Networks
from agents.parts.adam import Adam

ADAPT_EVERY, ADAPT_FACTOR = 50, 1.01  # of the noise in parameters: updates, and the factor up or down (MVE's code)


@dataclass(frozen=True, kw_only=True)
class DDPGConfig:
    """Defaults: MVE's code (vlad17/mve). In comments what STEVE's (tensorflow/models, research/steve) has instead."""

    hidden: Sequence[int] = (64, 64)  # units of actor and critics; STEVE: (128, 128, 128)
    normalise: bool = True  # layer normalisation before each ReLU; STEVE: False
    actor_learning_rate: float = 1e-3  # MVE on Swimmer and Walker2d: 1e-4; STEVE: 3e-4
    critic_learning_rate: float = 1e-3  # STEVE: 3e-4
    gamma: float = 0.99  # discount per step
    tau: float = 0.01  # share that targets take over per update; Walker2d: 0.001; STEVE: 0, a copy every 500
    critics: int = 1  # their mean counts; STEVE: 4
    one_critic_per_row: bool = False  # whether a transition teaches one critic, drawn anew each time; STEVE: True
    target_actor: bool = True  # STEVE: False, the actor itself acts in the targets
    saturation: float = 0.0  # weight of the mean squared action before its tanh in the actor's loss; STEVE: 0.001
    exploration: Literal["parameters", "actions", "occasional"] = "parameters"  # see `DDPG.act`; STEVE: occasional
    noise: float = 0.4  # standard deviation in half-ranges (MVE: .2 of the range), or the chance; STEVE: 0.05


class DDPG:
    """Actor, critics and their targets on ``generator``'s device; ``low`` and ``high [A]`` bound the actions.

    Batches, units, ``generator``, `value`, `targets`, `update` and CUDA graphs are as in `soft_actor_critic.SAC`.
    """

    def __init__(
        self,
        obs_size: int,
        low: Float[Tensor, " A"],
        high: Float[Tensor, " A"],
        config: DDPGConfig,
        generator: torch.Generator,
    ) -> None:
        self.config, self.generator = config, generator
        self.bounds = Bounds(low, high, generator.device)
        hidden, size, normalise = config.hidden, len(low), config.normalise
        self.actor = Networks(1, [obs_size, *hidden, size], generator, initial="glorot", normalise=normalise)
        critic_sizes = [obs_size + size, *hidden, 1]
        self.critics = Networks(config.critics, critic_sizes, generator, initial="glorot", normalise=normalise)
        self.target_actor = self.actor.copy() if config.target_actor else self.actor
        self.target_critics = self.critics.copy()
        self.actor_optimiser = Adam([(self.actor.vector, self.actor.gradient, 0.0)], config.actor_learning_rate)
        self.critic_optimiser = Adam([(self.critics.vector, self.critics.gradient, 0.0)], config.critic_learning_rate)
        self.perturbed = self.actor.copy()
        # What `_perturb` adapts: the noise's deviation per number, the distance from the actor that it has led to since
        # the last adaptation (a sum over updates), and their count.
        first = config.noise / 2 / (len(hidden) + 1)  # code: a share of the action range; ``noise`` is in half-ranges
        self.adaptation = torch.tensor([first, 0.0, 0.0], device=generator.device)

    @torch.no_grad()
    def act(
        self, obs: Float[Tensor, "N D"], sample: bool, generator: torch.Generator | None = None
    ) -> Float[Tensor, "N A"]:
        """The actor's action, or with ``sample`` an explorer's, drawn from ``generator`` (None: the part's own).

        ``"parameters"``: that of an actor with Gaussian noise in its weights and biases, drawn anew by each update of
        the actor (Plappert et al. 2018). ``"actions"``: Gaussian noise on the action. ``"occasional"``: with a chance
        of ``noise``, by dimension, standard Gaussian noise before the tanh.
        """
        explore, noise = self.config.exploration, self.config.noise
        generator = generator or self.generator
        network = self.perturbed if sample and explore == "parameters" else self.actor
        inside = network.infer(obs.float())[0]
        if sample and explore == "occasional":
            chosen = torch.rand(inside.shape, generator=generator, device=inside.device) < noise
            inside = inside + chosen * torch.randn(inside.shape, generator=generator, device=inside.device)
        unit = inside.tanh()
        if sample and explore == "actions":
            unit = unit + noise * torch.randn(inside.shape, generator=generator, device=inside.device)
        return self.bounds.outward(unit)

    def action(self, obs: Float[Tensor, "B D"], *, target: bool = False) -> Float[Tensor, "B A"]:
        """The actor's or the target actor's action; differentiable."""
        return self.bounds.outward((self.target_actor if target else self.actor)(obs)[0].tanh())

    def critic(
        self, obs: Float[Tensor, "B D"], action: Float[Tensor, "B A"], *, target: bool = False
    ) -> Float[Tensor, "E B"]:
        """Each critic's or target critic's estimate; differentiable."""
        critics = self.target_critics if target else self.critics
        return critics(torch.cat([obs, self.bounds.inward(action)], 1))[..., 0]

    @torch.no_grad()
    def value(self, obs: Float[Tensor, "B D"]) -> Float[Tensor, " B"]:
        """Q'(s, mu'(s)), the mean over the target critics."""
        return self.critic(obs, self.action(obs, target=True), target=True).mean(0)

    @torch.no_grad()
    def targets(self, batch: Mapping[str, Tensor]) -> Float[Tensor, " B"]:
        """r + gamma (1 - terminated) Q'(s', mu'(s')). A time limit is no true end and is not in ``terminated``."""
        cont = 1.0 - batch["terminated"].float()
        return batch["reward"] + cont * self.config.gamma * self.value(batch["next_obs"])

    def update(self, batch: Mapping[str, Tensor], targets: Float[Tensor, " B"] | None = None) -> dict[str, Tensor]:
        """One step of critics, actor and targets. Returns scalar tensors: the losses before the step and the mean Q."""
        if targets is None:
            targets = self.targets(batch)
        found = self.update_critics(batch["obs"], batch["action"], targets)
        found |= self.update_actor(batch["obs"])
        if self.config.tau > 0.0:
            self.follow_targets(self.config.tau)
        return found

    def update_critics(
        self,
        obs: Float[Tensor, "B D"],
        action: Float[Tensor, "B A"],
        targets: Float[Tensor, " B"] | Float[Tensor, "E B"],
        weight: Float[Tensor, " B"] | None = None,
    ) -> dict[str, Tensor]:
        """One step on the mean over rows of ``weight`` (Q - target)^2 / 2, summed over critics."""
        q = self.critic(obs, action)
        square = 0.5 * (q - targets).square()
        if weight is not None:
            square = square * weight
        if self.config.one_critic_per_row:
            device = self.generator.device
            taught = torch.randint(len(q), (len(obs),), generator=self.generator, device=device)
            square = square * (taught == torch.arange(len(q), device=device)[:, None])
        loss = square.mean(1).sum()
        self.critics.differentiate(loss)
        self.critic_optimiser.step()
        return {"critic": loss.detach(), "q": q.detach().mean()}

    def update_actor(self, obs: Float[Tensor, "B D"]) -> dict[str, Tensor]:
        """One step on the deterministic policy gradient: minus the mean of Q(s, mu(s))."""
        loss = self.actor_loss(obs)
        self.actor.differentiate(loss)
        self.actor_optimiser.step()
        if self.config.exploration == "parameters":
            self._perturb(obs)
        return {"actor": loss.detach()}

    def actor_loss(self, obs: Float[Tensor, "B D"]) -> Float[Tensor, ""]:
        inside = self.actor(obs)[0]
        q = self.critics(torch.cat([obs, inside.tanh()], 1))
        return self.config.saturation * inside.square().mean() - q.mean()

    @torch.no_grad()
    def follow_targets(self, rate: float) -> None:
        """The targets take over this share of the numbers that they follow; 1 copies them."""
        self.target_critics.follow(self.critics, rate)
        if self.target_actor is not self.actor:
            self.target_actor.follow(self.actor, rate)

    @torch.no_grad()
    def _perturb(self, obs: Float[Tensor, "B D"]) -> None:
        """A new explorer; every 50 updates its noise grows or shrinks, by whether its actions were near or far enough.

        Gains and shifts of normalised layers stay as they are. The distance of two actors is the root of their mean
        squared difference in action, here in half-ranges.
        """
        deviation = self.adaptation[0]
        self.perturbed.vector.copy_(self.actor.vector)
        for part in (*self.perturbed.weights, *self.perturbed.biases):
            part += deviation * torch.randn(part.shape, generator=self.generator, device=part.device)
        difference = self.actor(obs).tanh() - self.perturbed(obs).tanh()
        self.adaptation[1] += difference.square().mean().sqrt()
        self.adaptation[2] += 1.0
        due = self.adaptation[2] == ADAPT_EVERY
        near = self.adaptation[1] < self.config.noise * ADAPT_EVERY
        deviation *= ADAPT_FACTOR ** (due * (2.0 * near - 1.0))
        self.adaptation[1:].masked_fill_(due, 0.0)

    def state(self) -> dict[str, Any]:
        """Copies of all that the next update and the next action depend on."""
        return {
            "numbers": [part.clone() for part in self._numbers()],
            "optimisers": [self.actor_optimiser.state(), self.critic_optimiser.state()],
            "generator": self.generator.get_state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        for mine, saved in zip(self._numbers(), state["numbers"], strict=True):
            mine.copy_(saved)
        for optimiser, saved in zip((self.actor_optimiser, self.critic_optimiser), state["optimisers"], strict=True):
            optimiser.restore(saved)
        self.generator.set_state(state["generator"])

    def _numbers(self) -> list[Tensor]:
        networks = (self.actor, self.critics, self.target_actor, self.target_critics, self.perturbed)
        return [*(network.vector for network in networks), self.adaptation]
