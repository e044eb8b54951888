"""Branched model rollouts (Janner et al. 2019, 1906.08253, algorithm 2): what is imagined, what is kept, mixed batches.

A transition is one row of numbers, so that a batch is one gather however much lies in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from agents.parts.ensemble import Sampled

Act = Callable[[Tensor, torch.Generator], Tensor]  # obs [B D] -> action [B A]
Sample = Callable[[Tensor, Tensor, torch.Generator], Sampled]  # obs [B D], action [B A]: `Ensemble.sample`


class Columns:
    """Where a transition's numbers stand in a row of W = 2 D + A + 2: obs, action, reward, next_obs, terminated."""

    def __init__(self, obs_size: int, action_size: int) -> None:
        sizes = {"obs": obs_size, "action": action_size, "reward": 1, "next_obs": obs_size, "terminated": 1}
        self.width = 0
        self.places: dict[str, slice | int] = {}
        for name, size in sizes.items():
            self.places[name] = self.width if name in ("reward", "terminated") else slice(self.width, self.width + size)
            self.width += size

    def pack(
        self,
        obs: Float[Tensor, "B D"],
        action: Float[Tensor, "B A"],
        reward: Float[Tensor, " B"],
        next_obs: Float[Tensor, "B D"],
        terminated: Float[Tensor, " B"],
    ) -> Float[Tensor, "B W"]:
        return torch.cat([obs, action, reward[:, None], next_obs, terminated[:, None]], 1)

    def split(self, rows: Float[Tensor, "*B W"]) -> dict[str, Tensor]:
        """Views by name; ``terminated`` is 1.0 or 0.0."""
        return {name: rows[..., place] for name, place in self.places.items()}


class Rows:
    """The newest ``capacity`` rows, in a ring: row number j, counted from the first ever added, has a fixed place.

    ``oldest`` is the number of the oldest row that is held, ``added`` that of the next to come. What follows from the
    same additions lies in the same places, so indices drawn from equal generators meet equal rows.
    """

    def __init__(
        self, capacity: int, width: int, device: torch.device | str = "cpu", *, begin: int = 0, first: int = 0
    ) -> None:
        self.rows = torch.zeros(capacity, width, device=device)
        self.begin = begin  # the number of the row that has place 0 in this layout; older ones are not kept
        self.added = first

    @property
    def capacity(self) -> int:
        return len(self.rows)

    @property
    def oldest(self) -> int:
        return min(max(self.begin, self.added - self.capacity), self.added)

    def __len__(self) -> int:
        return self.added - self.oldest

    def held(self) -> Float[Tensor, "N W"]:
        """All rows, as a view; the order is that of their places."""
        return self.rows[: len(self)]

    def add(self, new: Float[Tensor, "B W"]) -> None:
        """Of more than fit, or from before the layout, those count as added that are not kept."""
        total = self.added + len(new)
        skipped = max(self.begin - self.added, len(new) - self.capacity, 0)
        new, self.added = new[skipped:], total
        if not len(new):
            return
        at = (total - len(new) - self.begin) % self.capacity
        first = min(len(new), self.capacity - at)
        self.rows[at : at + first] = new[:first]
        self.rows[: len(new) - first] = new[first:]

    def lay_out(self, capacity: int) -> None:
        """Another capacity; the newest rows are kept, in order."""
        if capacity == self.capacity:
            return
        kept = min(len(self), capacity)
        begin = self.added - kept
        rows = self.rows.new_zeros(capacity, self.rows.shape[1])
        at = (begin - self.begin) % self.capacity
        first = min(kept, self.capacity - at)
        rows[:first] = self.rows[at : at + first]
        rows[first:kept] = self.rows[: kept - first]
        self.rows, self.begin = rows, begin


@torch.no_grad()
def branch(
    columns: Columns,
    obs: Float[Tensor, "B D"],
    act: Act,
    sample: Sample,
    known: Mapping[str, Callable[..., Any]],
    length: int,
    generator: torch.Generator,
) -> Iterator[Float[Tensor, "B W"]]:
    """At most ``length`` steps of the policy in the model from each of ``obs``; the rows of one step after the other.

    ``known`` are the functions that the suite granted, see `agents.protocol.Problem`; else the model's reward counts,
    and an end is drawn with the probability that the model gives it. A state that is no longer finite is neither
    kept nor continued.
    """
    for _ in range(length):
        action = act(obs, generator)
        next_obs, reward, end = sample(obs, action, generator)
        if "reward" in known:
            reward = known["reward"](obs, action, next_obs).float()
        if "termination" in known:
            ended = known["termination"](obs, action, next_obs).float()
        else:
            assert end is not None, "expected a model that predicts ends, where the suite grants no termination"
            ended = (torch.rand(len(obs), generator=generator, device=obs.device) < end).float()
        assert reward is not None, "expected a model that predicts rewards, where the suite grants none"
        rows = columns.pack(obs, action, reward, next_obs, ended)
        finite = rows.isfinite().all(1)
        yield rows[finite]
        obs = next_obs[finite & (ended == 0.0)]
        if not len(obs):
            return


def mixed_batches(
    real: Float[Tensor, "N W"],
    imagined: Float[Tensor, "M W"],
    count: int,
    size: int,
    from_real: int,
    generator: torch.Generator,
) -> Float[Tensor, "count size W"]:
    """``count`` batches, each of ``from_real`` real rows and then imagined ones, drawn with replacement."""
    parts = []
    for rows, share in ((real, from_real), (imagined, size - from_real)):
        if share:
            drawn = torch.randint(len(rows), (count * share,), generator=generator, device=rows.device)
            parts.append(rows.index_select(0, drawn).view(count, share, -1))
    return torch.cat(parts, 1)


def rollout_length(epoch: int, schedule: tuple[int, int, int, int]) -> int:
    """The length k of rollouts: (from epoch, to epoch, least, most), linear in between, rounded down."""
    begin, end, least, most = schedule
    if epoch <= begin:
        return least
    if epoch >= end:
        return most
    return int((epoch - begin) / (end - begin) * (most - least) + least)
