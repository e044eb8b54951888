"""Planners over action sequences, and the return that they maximise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from agents.parts.actions import ActionVectors
from agents.parts.icem import ICEM
from agents.parts.planning import Best, Planner, PlannerConfig, Proposal, Returns


def imagined_return(
    rewards: Float[Tensor, "H K"], cont: Float[Tensor, "H K"] | None, discount: float
) -> Float[Tensor, " K"]:
    """Expected sum of ``discount^t r_t`` over the steps that are reached.

    ``cont`` is the probability that step t does not end the episode; step t is reached with the product
    of those before it. A sum that is not finite counts as the worst: a prediction that diverged is no promise.
    """
    weights = discount ** torch.arange(len(rewards), device=rewards.device)[:, None]
    if cont is not None:
        weights = weights * torch.cat([torch.ones_like(cont[:1]), cont[:-1].cumprod(0)])
    worst = -torch.inf
    return (weights * rewards).sum(0).nan_to_num(nan=worst, posinf=worst, neginf=worst)


def random_shooting(
    returns: Callable[[Float[Tensor, "H A K"]], Float[Tensor, " K"]],
    actions: ActionVectors,
    horizon: int,
    candidates: int,
    generator: torch.Generator,
) -> Float[Tensor, "H A"]:
    """The best of ``candidates`` uniform action sequences (Nagabandi et al. 2017, section IV-C)."""
    sequences = actions.draw(horizon, candidates, generator)
    return sequences[:, :, returns(sequences).argmax()]


def planner(actions: ActionVectors, config: PlannerConfig) -> Planner:
    """The planner that ``config`` names, at an episode's beginning."""
    _refuse(config)
    made: dict[str, Callable[[ActionVectors, PlannerConfig], Planner]]
    made = {"shooting": Shooting, "cem": CEM, "icem": ICEM, "mppi": MPPI}
    return made[config.planner](actions, config)


class Shooting:
    """`random_shooting` as a planner; it keeps nothing."""

    def __init__(self, actions: ActionVectors, config: PlannerConfig) -> None:
        self.actions, self.config = actions, config

    def plan(self, returns: Returns, generator: torch.Generator) -> Float[Tensor, "H A"]:
        return random_shooting(returns, self.actions, self.config.horizon, self.config.candidates, generator)

    def forget(self) -> None: ...

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None: ...


class CEM:
    """The cross-entropy method as in PETS (Chua et al. 2018, section 5; kchua/handful-of-trials, optimizers/cem.py).

    The plan is the mean of the last distribution. What the code puts at the end of a shifted plan is 0, here the
    middle of the action range; its least variance is in the action's units, here in half-ranges, or small actions
    would never be searched. Under a cost limit that rejects, a mean above the limit gives way to the best candidate.
    State: the shifted mean.
    """

    def __init__(self, actions: ActionVectors, config: PlannerConfig) -> None:
        self.config, self.proposal = config, Proposal(actions, config.horizon)
        self.mean: Tensor | None = None  # [H A]

    def plan(self, returns: Returns, generator: torch.Generator) -> Float[Tensor, "H A"]:
        config, proposal, best = self.config, self.proposal, Best(self.config.rejects)
        mean = proposal.middle if self.mean is None else self.mean
        var = proposal.half_range.square() / 4
        for _ in range(config.iterations):
            if (var / proposal.half_range.square()).max() <= config.least_variance:
                break
            candidates = proposal.truncated(mean, var, proposal.uniform(config.candidates, generator))
            scores = returns(candidates)
            best.see(candidates, scores)
            elites = candidates[:, :, scores.topk(config.elites).indices]
            mean = config.momentum * mean + (1.0 - config.momentum) * elites.mean(2)
            var = config.momentum * var + (1.0 - config.momentum) * elites.var(2, correction=0)
        self.mean = proposal.shifted(mean, proposal.middle[-1])
        return best.instead_of(proposal.plan(mean), returns)

    def forget(self) -> None:
        self.mean = None

    def state(self) -> dict[str, Any]:
        return {"mean": self.mean}

    def restore(self, state: dict[str, Any]) -> None:
        self.mean = None if state["mean"] is None else state["mean"].to(self.proposal.device)


class MPPI:
    """Model-predictive path integral control (Williams et al. 2017, "Information theoretic MPC", Algorithm 2).

    The mean moves by the candidates' noise, each weighted by exp(return / temperature). As in the paper a return
    includes the term -temperature * mean * noise / sigma^2, by which action costs; the paper's smoothing of the noise
    and its share of candidates without a mean are left out, and candidates are clipped to the action's bounds. For a
    Discrete space the mean is that of one-hot actions, drawn by it but for a uniform share, and action costs nothing.
    The plan is the mean, under a cost limit as in `CEM`. State: the shifted mean.
    """

    def __init__(self, actions: ActionVectors, config: PlannerConfig) -> None:
        self.config, self.proposal = config, Proposal(actions, config.horizon)
        self.mean: Tensor | None = None  # [H A]

    def plan(self, returns: Returns, generator: torch.Generator) -> Float[Tensor, "H A"]:
        config, proposal, best = self.config, self.proposal, Best(self.config.rejects)
        mean = proposal.middle if self.mean is None else self.mean
        for _ in range(config.iterations):
            candidates, price = self._draw(mean, generator)
            scores = returns(candidates)
            best.see(candidates, scores)
            weights = path_weights(scores - config.temperature * price, config.temperature)
            mean = (weights * candidates).sum(2)
        self.mean = proposal.shifted(mean, proposal.middle[-1])
        return best.instead_of(proposal.plan(mean), returns)

    def _draw(
        self, mean: Float[Tensor, "H A"], generator: torch.Generator
    ) -> tuple[Float[Tensor, "H A K"], Float[Tensor, " K"]]:
        """Candidates and what their noise costs, in units of the temperature: sum of mean * noise / sigma^2."""
        config, proposal = self.config, self.proposal
        if proposal.discrete:
            mean = torch.lerp(mean, torch.full_like(mean, 1.0 / proposal.size), config.perturbation)
            candidates = proposal.chosen(mean, proposal.uniform(config.candidates, generator))
            return candidates, candidates.new_zeros(config.candidates)
        sigma = config.perturbation * proposal.half_range
        candidates = proposal.clipped(mean, sigma, proposal.normal(config.candidates, generator))
        price = ((mean - proposal.middle) / sigma.square())[:, :, None] * (candidates - mean[:, :, None])
        return candidates, price.sum((0, 1))

    def forget(self) -> None:
        self.mean = None

    def state(self) -> dict[str, Any]:
        return {"mean": self.mean}

    def restore(self, state: dict[str, Any]) -> None:
        self.mean = None if state["mean"] is None else state["mean"].to(self.proposal.device)


def path_weights(scores: Float[Tensor, " K"], temperature: float) -> Float[Tensor, " K"]:
    """exp(score / temperature), made to sum to 1. A worst plan weighs nothing; if all are, all weigh the same."""
    finite = scores.double().clamp_min(-1e300)
    return ((finite - finite.max()) / temperature).softmax(0).to(torch.float32)


def _refuse(config: PlannerConfig) -> None:
    if config.planner in ("cem", "icem") and not 1 <= config.elites <= config.candidates:
        raise ValueError(
            f"expected 1 <= elites <= candidates, found {config.elites} elites of {config.candidates} candidates"
        )
    if config.temperature <= 0.0:
        raise ValueError(f"expected a temperature above 0, found {config.temperature}; a low one follows the best plan")
    if config.cost_penalty is not None and config.cost_limit is None:
        raise ValueError("cost_penalty punishes what lies above cost_limit, but there is none; set cost_limit too")
