"""What imagined trajectories are worth to a planner: rewards, ends and costs, granted by the suite or learned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from agents.parts.planners import imagined_return
from agents.parts.planning import limited


@dataclass(frozen=True, kw_only=True)
class Objective:
    """Scores K action sequences by their trajectories, N = P K of them: particle p of candidate k is column p K + k."""

    known: Mapping[str, Callable[..., Any]]  # `Problem.known`: reward, termination, cost; used in place of learned ones
    discount: float = 1.0  # per planned step, of rewards; costs are never discounted
    heed_ends: bool = True  # whether what comes after a predicted end counts for nothing
    cost_limit: float | None = None  # highest predicted sum of costs over a plan, mean over its particles
    cost_penalty: float | None = None  # see `limited`

    def __post_init__(self) -> None:
        if self.cost_limit is not None and "cost" not in self.known:
            raise ValueError(
                "cost_limit holds a plan's predicted cost down, but no cost is known; add `known: [cost]` to the "
                "entrant and take an environment that offers it (suites/envs/pond.py), or leave cost_limit out"
            )

    def scores(
        self,
        states: Float[Tensor, "S D N"],
        actions: Float[Tensor, "H A K"],
        rewards: Float[Tensor, "H N"] | None,
        cont: Float[Tensor, "H N"] | None,
    ) -> Float[Tensor, " K"]:
        """For planners, higher is better; ``rewards`` and ``cont`` (the probability of no end) are what is learned.

        The mean over a candidate's particles: one that diverged makes the candidate a worst one.
        """
        count = actions.shape[2]
        granted = Granted(self.known, states, actions)
        if "reward" in self.known:
            rewards = granted("reward")
        assert rewards is not None
        if not self.heed_ends:
            cont = None
        elif "termination" in self.known:
            cont = 1.0 - granted("termination")
        returns = _mean(imagined_return(rewards, cont, self.discount), count)
        if self.cost_limit is None:
            return returns
        costs = _mean(-imagined_return(-granted("cost"), cont, 1.0), count)
        return limited(returns, costs, self.cost_limit, self.cost_penalty)


class Granted:
    """The functions that the suite grants, each at all imagined transitions at once."""

    def __init__(
        self,
        known: Mapping[str, Callable[..., Any]],
        states: Float[Tensor, "S D N"],
        actions: Float[Tensor, "H A K"],
    ) -> None:
        self.known, self.horizon = known, len(actions)
        if known:
            rows = states.transpose(1, 2).contiguous()
            action = actions.transpose(1, 2).repeat(1, states.shape[2] // actions.shape[2], 1)
            self.transitions = [part.flatten(0, 1) for part in (rows[:-1], action, rows[1:])]

    def __call__(self, name: str) -> Float[Tensor, "H N"]:
        found: Tensor = self.known[name](*self.transitions)
        return found.float().view(self.horizon, -1)


def _mean(values: Float[Tensor, " N"], count: int) -> Float[Tensor, " K"]:
    return values if len(values) == count else values.view(-1, count).mean(0)
