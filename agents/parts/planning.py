"""What planners share: settings, the policy that plans, a plan's worth under a cost limit, how candidates are drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from agents.parts.actions import ActionVectors

# What each of K action sequences [H A K] is worth [K]; higher is better.
Returns = Callable[[Float[Tensor, "H A K"]], Float[Tensor, " K"]]

Search = Literal["shooting", "cem", "icem", "mppi"]

REJECTED = -1e100  # what `limited` gives a plan above its limit lies below this, and every return above


@dataclass(frozen=True, kw_only=True)
class PlannerConfig:
    """Settings of all planners; each reads those that its comment names. An agent's Config may extend this one."""

    planner: Search = "shooting"
    horizon: int = 20  # H, steps of a plan
    candidates: int = 1000  # K, action sequences per iteration; icem: of the first one
    iterations: int = 5  # not shooting; Chua et al. 2018 (icem's paper 3, mppi's 1)
    elites: int = 40  # cem, icem; the best candidates, which the next are drawn around; Chua et al. (icem's code 10)
    momentum: float = 0.1  # cem, icem; alpha, share of the last iteration's mean and spread that is kept; both codes
    least_variance: float = 1e-3  # cem; half-ranges squared; stop when no action's variance is larger; its code
    noise_exponent: float = 2.0  # icem; beta of 1 / f^beta, 0 white; its code 0.25 (HalfCheetah) to 3.5 by task
    initial_std: float = 0.5  # icem; of half the action range; its code
    decay: float = 1.25  # icem; gamma, by which the candidates become fewer per iteration; its code
    reuse: float = 0.3  # icem; xi, share of the elites that the next iteration and the next step see again; its code
    temperature: float = 1.0  # mppi; lambda, in units of the return: a plan so much worse weighs 1 / e as much
    perturbation: float = 0.5  # mppi; sigma, of half the action range (Discrete: the share that is drawn uniformly)
    cost_limit: float | None = None  # plans of a higher predicted cost are rejected, or punished
    cost_penalty: float | None = None  # return lost per unit of cost above the limit; None: rejected

    @property
    def rejects(self) -> bool:
        return self.cost_limit is not None and self.cost_penalty is None


@runtime_checkable
class Planner(Protocol):
    """Searches for a good action sequence. What it keeps between plans (the warm start) is its `state`."""

    def plan(self, returns: Returns, generator: torch.Generator) -> Float[Tensor, "H A"]:
        """The sequence whose first action is to be executed; the next plan is for one step later."""

    def forget(self) -> None:
        """The next plan is an episode's first."""

    def state(self) -> dict[str, Any]: ...

    def restore(self, state: dict[str, Any]) -> None: ...


@runtime_checkable
class Controller(Protocol):
    """Plans with a model of its own, by whatever planner it is handed."""

    @property
    def actions(self) -> ActionVectors: ...

    def plan(self, obs: Any, planner: Planner, generator: torch.Generator) -> Float[Tensor, " A"]:
        """The first action of the best sequence from ``obs`` on."""


class ControllerPolicy:
    """A controller with a planner and a random stream of its own."""

    def __init__(self, controller: Controller, planner: Planner, generator: torch.Generator) -> None:
        self.controller, self.planner, self.generator = controller, planner, generator

    def reset(self, seed: int) -> None:
        self.generator.manual_seed(seed)
        self.planner.forget()

    def act(self, obs: Any) -> Any:
        return self.controller.actions.decode(self.controller.plan(obs, self.planner, self.generator))


def limited(
    returns: Float[Tensor, " K"], costs: Float[Tensor, " K"], limit: float, penalty: float | None = None
) -> Float[Tensor, " K"]:
    """Plans under a limit of their predicted cost, in float64.

    Without a ``penalty`` a plan above the limit is rejected: it is worth less than every other one, the less the more
    it is above. So if no plan is within the limit, the least violation wins. With one, it loses ``penalty`` per unit
    of violation. A cost that is no number is an infinite one.
    """
    violation = (costs.double().nan_to_num(nan=torch.inf) - limit).clamp_min(0.0)
    if penalty is not None:
        return returns.double() - penalty * violation
    return torch.where(violation > 0.0, REJECTED * (1.0 + violation), returns.double())


class Best:
    """The best candidate seen in a search, kept where a mean of good plans may not be a permitted one."""

    def __init__(self, wanted: bool) -> None:
        self.wanted = wanted
        self.plan: Tensor | None = None
        self.score = -torch.inf

    def see(self, candidates: Float[Tensor, "H A K"], scores: Float[Tensor, " K"]) -> None:
        if not self.wanted:
            return
        at = int(scores.argmax())
        if self.plan is None or float(scores[at]) > self.score:
            self.plan, self.score = candidates[:, :, at].clone(), float(scores[at])

    def instead_of(self, plan: Float[Tensor, "H A"], returns: Returns) -> Float[Tensor, "H A"]:
        """``plan``, unless it is rejected and a better one was seen."""
        if not self.wanted or self.plan is None:
            return plan
        score = float(returns(plan[:, :, None])[0])
        return self.plan if score <= REJECTED and self.score > score else plan


class Proposal:
    """How candidates are drawn around a mean ``[H A]``, which is for a Discrete space each action's probability."""

    def __init__(self, actions: ActionVectors, horizon: int) -> None:
        self.horizon, self.size, self.device = horizon, actions.size, actions.device
        self.discrete = actions.low is None
        self.columns = 1 if self.discrete else actions.size  # random numbers that a step of a candidate takes
        if actions.low is None:
            self.middle = torch.full((horizon, actions.size), 1.0 / actions.size, device=actions.device)
            self.half_range = torch.ones(horizon, actions.size, device=actions.device)
        else:
            self.low, self.high = actions.low[:, 0], actions.high[:, 0]
            self.middle = ((self.low + self.high) / 2).repeat(horizon, 1)
            self.half_range = ((self.high - self.low) / 2).repeat(horizon, 1)

    def shifted(self, mean: Float[Tensor, "H A"], last: Float[Tensor, " A"]) -> Float[Tensor, "H A"]:
        """The plan for one step later. Half of a Discrete one is uniform again: nothing else restores its spread."""
        moved = torch.cat([mean[1:], last[None]])
        return (moved + self.middle) / 2 if self.discrete else moved

    def uniform(self, count: int, generator: torch.Generator) -> Float[Tensor, "H C K"]:
        return torch.rand(self.horizon, self.columns, count, generator=generator, device=self.device)

    def normal(self, count: int, generator: torch.Generator) -> Float[Tensor, "H C K"]:
        return torch.randn(self.horizon, self.columns, count, generator=generator, device=self.device)

    def truncated(
        self, mean: Float[Tensor, "H A"], var: Float[Tensor, "H A"], uniform: Float[Tensor, "H C K"]
    ) -> Float[Tensor, "H A K"]:
        """From a normal distribution cut at two deviations, which reach no bound (the rule of PETS' code)."""
        if self.discrete:
            return self.chosen(mean, uniform)
        room = torch.minimum(mean - self.low, self.high - mean) / 2
        std = torch.minimum(room, var.sqrt())
        # The normal quantile of a uniform number between the shares below -2 and below 2 deviations: erf(2 / sqrt 2).
        normal = torch.erfinv((2.0 * uniform - 1.0) * 0.9544997361036416) * sqrt(2.0)
        return normal.mul_(std[:, :, None]).add_(mean[:, :, None])

    def clipped(
        self, mean: Float[Tensor, "H A"], std: Float[Tensor, "H A"], normal: Float[Tensor, "H C K"]
    ) -> Float[Tensor, "H A K"]:
        """From a normal distribution, what lies outside the bounds put onto them."""
        if self.discrete:
            return self.chosen(mean, torch.special.ndtr(normal))
        found = mean[:, :, None] + std[:, :, None] * normal
        return found.clamp_(self.low[:, None], self.high[:, None])

    def chosen(self, probabilities: Float[Tensor, "H A"], uniform: Float[Tensor, "H 1 K"]) -> Float[Tensor, "H A K"]:
        """One-hot actions: that one in whose stretch of the cumulated probabilities the uniform number falls."""
        bounds = probabilities.cumsum(1)[:, :-1, None]
        action = (uniform >= bounds).sum(1, keepdim=True)
        return (action == torch.arange(self.size, device=self.device)[:, None]).float()

    def plan(self, mean: Float[Tensor, "H A"]) -> Float[Tensor, "H A"]:
        """A mean as actions: for a Discrete space the likeliest one of each step."""
        if not self.discrete:
            return mean
        return torch.nn.functional.one_hot(mean.argmax(1), self.size).float()
