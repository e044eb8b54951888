"""iCEM, the improved cross-entropy method: coloured noise, elites kept, ever fewer candidates (Pinneri et al. 2020).

"Sample-efficient Cross-Entropy Method for Real-time Planning", arXiv 2008.06389, Algorithm 1 and section 3; details
after martius-lab/iCEM. For a Discrete space, which theirs refuses, coloured noise picks from each step's probabilities.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from agents.parts.actions import ActionVectors
from agents.parts.planning import PlannerConfig, Proposal, Returns


def colouring(steps: int, exponent: float, device: str = "cpu") -> Float[Tensor, "H H"]:
    """The matrix that makes standard normal noise of ``steps`` into noise with power 1 / f^exponent, of variance 1.

    Timmer & König 1995, in real numbers: independent coefficients of sines and cosines with 0, 1, 2, ... periods over
    the steps; the constant one is given the power of the lowest frequency. (The code that the authors use leaves that
    one out when it scales the variance to 1.)
    """
    time = torch.arange(steps, dtype=torch.float64)
    columns, powers = [torch.ones_like(time)], [1.0]
    for periods in range(1, steps // 2 + 1):
        angle = 2.0 * torch.pi * periods * time / steps
        waves = [angle.cos()] if 2 * periods == steps else [angle.cos(), angle.sin()]
        columns += waves
        powers += [float(periods) ** -exponent] * len(waves)
    basis = torch.stack(columns, 1)
    lengths: Tensor = torch.linalg.vector_norm(basis, dim=0)
    scale = (torch.tensor(powers, dtype=torch.float64) * steps / sum(powers)).sqrt()
    return (basis / lengths * scale).float().to(device)


class ICEM:
    """State: the shifted mean and the last elites, best first."""

    def __init__(self, actions: ActionVectors, config: PlannerConfig) -> None:
        self.config, self.proposal = config, Proposal(actions, config.horizon)
        self.colouring = colouring(config.horizon, config.noise_exponent, actions.device)
        self.mean: Tensor | None = None  # [H A]
        self.elites: Tensor | None = None  # [H A N]

    def plan(self, returns: Returns, generator: torch.Generator) -> Float[Tensor, "H A"]:
        """The best candidate of the last iteration; as elites go on from one to the next, it is the best seen
        (unless ``reuse`` is 0).
        """
        config, proposal = self.config, self.proposal
        mean = proposal.middle if self.mean is None else self.mean
        std = config.initial_std * proposal.half_range
        count, reused = config.candidates, max(config.reuse > 0.0, int(config.reuse * config.elites))
        elites, scores = self._shifted(mean, std, reused, generator), torch.empty(0, device=generator.device)
        for iteration in range(config.iterations):
            if iteration:
                count = max(2 * config.elites, int(count / config.decay))
            candidates = self._draw(mean, std, count, generator)
            if iteration == config.iterations - 1:
                candidates[:, :, 0] = proposal.plan(mean)
            if iteration == 0:
                candidates = torch.cat([candidates, elites], 2)
                scores = returns(candidates)
            else:  # kept elites are worth what they were found to be worth
                scores = torch.cat([returns(candidates), scores[:reused]])
                candidates = torch.cat([candidates, elites[:, :, :reused]], 2)
            scores, best = scores.topk(min(config.elites, len(scores)))
            elites = candidates[:, :, best]
            mean = config.momentum * mean + (1.0 - config.momentum) * elites.mean(2)
            std = config.momentum * std + (1.0 - config.momentum) * elites.std(2, correction=0)
        self.elites = elites
        self.mean = proposal.shifted(mean, mean[-1])
        return elites[:, :, 0]

    def _draw(
        self, mean: Float[Tensor, "H A"], std: Float[Tensor, "H A"], count: int, generator: torch.Generator
    ) -> Float[Tensor, "H A K"]:
        white = self.proposal.normal(count, generator)
        return self.proposal.clipped(mean, std, (self.colouring @ white.flatten(1)).view_as(white))

    def _shifted(
        self, mean: Float[Tensor, "H A"], std: Float[Tensor, "H A"], count: int, generator: torch.Generator
    ) -> Float[Tensor, "H A N"]:
        """The best of the last step's elites without their first action, a drawn one put at the end."""
        if self.elites is None:
            return mean.new_empty(*mean.shape, 0)
        kept = self.elites[1:, :, :count]
        return torch.cat([kept, self._draw(mean, std, kept.shape[2], generator)[-1:]])

    def forget(self) -> None:
        self.mean = self.elites = None

    def state(self) -> dict[str, Any]:
        return {"mean": self.mean, "elites": self.elites}

    def restore(self, state: dict[str, Any]) -> None:
        device = self.proposal.device
        self.mean, self.elites = (None if x is None else x.to(device) for x in (state["mean"], state["elites"]))
