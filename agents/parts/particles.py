"""Particles through an ensemble for planners: trajectory sampling TS1 and TS-infinity (Chua et al. 2018, section 5)."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from agents.parts.ensemble import Ensemble

Mode = Literal["TS1", "TSinf"]


class Rollout(NamedTuple):
    """Imagined trajectories of K candidates with P particles each; S = H + 1."""

    states: Float[Tensor, "S D K P"]  # the first included
    rewards: Float[Tensor, "H K P"] | None  # expected; None if the ensemble predicts none
    termination: Float[Tensor, "H K P"] | None  # the probability that step h ends the episode; 0 if no end was seen
    member: Int[Tensor, "H K P"]  # which member moved which particle at which step


class Particles:
    """The elites of an ensemble as they are now, on its device; make a new one after each fit.

    Every candidate's particles are shared out evenly among the elites, as in the authors' code: for ``"TSinf"`` once
    and for all, for ``"TS1"`` anew and at random in each step. So ``particles`` is a multiple of the elites' number.
    """

    def __init__(self, ensemble: Ensemble) -> None:
        self.folded, self.elites = ensemble.folded(), ensemble.elites
        self.obs_size, self.reward = ensemble.obs_size, ensemble.reward
        self.termination = ensemble.termination

    @torch.no_grad()
    def rollout(
        self,
        obs: Float[Tensor, " D"],
        actions: Float[Tensor, "H A K"],
        generator: torch.Generator,
        *,
        particles: int = 20,
        mode: Mode = "TSinf",
    ) -> Rollout:
        """All candidates' action sequences from one observation."""
        if particles % len(self.elites):
            raise ValueError(f"expected a multiple of the {len(self.elites)} elites as particles, found {particles}")
        evenly = self.elites.repeat_interleave(particles // len(self.elites))[None, :, None]  # the member of each slot
        members = self.elites.tolist()
        horizon, action_size, count = actions.shape
        size, columns = self.obs_size, particles * count
        # Columns are particles by candidates: a slot's columns, and so a member's, stand together.
        states = obs.new_empty(horizon + 1, size, particles, count)
        states[0] = obs[:, None, None]
        others = obs.new_zeros(horizon, self.reward + self.termination, particles, count)
        member = evenly.new_empty(horizon, particles, count)
        x = obs.new_ones(size + action_size + 1, columns)
        counts = [columns // len(members)] * len(members)
        for step in range(horizon):
            x[size:-1].view(action_size, particles, count)[:] = actions[step][:, None]
            slots = _slots(count, particles, generator) if mode == "TS1" else None
            x[:size].view(size, particles, count)[:] = _taken(states[step], slots)
            out = self.folded.run(x, members, counts)
            x[:size] += out[:size]
            if self.folded.probabilistic:
                noise = torch.randn(size, columns, generator=generator, device=x.device)
                x[:size].addcmul_(self.folded.deviation(out)[:size], noise)
            _put(states[step + 1], x[:size].view(size, particles, count), slots)
            if self.reward:
                _put(others[step, :1], out[size : size + 1].view(1, particles, count), slots)
            if self.folded.ends is not None:
                _put(others[step, -1:], out[-1:].sigmoid().view(1, particles, count), slots)
            _put(member[step][None], evenly.expand(-1, -1, count), slots)
        turned = others.transpose(2, 3)
        return Rollout(
            states.transpose(2, 3),
            turned[:, 0] if self.reward else None,
            turned[:, -1] if self.termination else None,
            member.transpose(1, 2),
        )


def _slots(count: int, particles: int, generator: torch.Generator) -> Int[Tensor, "P K"]:
    """Which particle stands in each slot: a random order for each candidate."""
    return torch.rand(count, particles, generator=generator, device=generator.device).argsort(1).T


def _taken(values: Float[Tensor, "C P K"], slots: Int[Tensor, "P K"] | None) -> Float[Tensor, "C P K"]:
    """From the order of particles to that of slots."""
    return values if slots is None else values.gather(1, slots.expand(len(values), -1, -1))


def _put(into: Tensor, values: Tensor, slots: Int[Tensor, "P K"] | None) -> None:
    """Back from the order of slots to that of particles."""
    if slots is None:
        into.copy_(values)
    else:
        into.scatter_(1, slots.expand(len(values), -1, -1), values)
