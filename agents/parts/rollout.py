"""What a policy saw and did in N environments in T steps, and how much better that was than expected (GAE)."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def advantages(
    reward: Float[Tensor, "T N"],
    value: Float[Tensor, "T N"],
    last_value: Float[Tensor, " N"],
    terminated: Bool[Tensor, "T N"],
    truncated: Bool[Tensor, "T N"],
    final_value: Float[Tensor, "T N"],
    gamma: float,
    lam: float,
) -> Float[Tensor, "T N"]:
    """Generalised advantage estimates (Schulman et al. 2016, 1506.02438, eq. 16; 1707.06347, eq. 11 and 12).

    A terminated step is worth its reward. A truncated one is followed by ``final_value``, that of the episode's last
    observation; any other by the next row's value, the last row by ``last_value``. No estimate reaches over an end.
    """
    following = torch.where(truncated, final_value, torch.cat([value[1:], last_value[None]]))
    delta = reward + gamma * torch.where(terminated, 0.0, following) - value
    decay = (gamma * lam) * (~(terminated | truncated)).to(delta)
    found, rows = torch.zeros_like(last_value), []
    for row, weight in zip(reversed(delta.unbind()), reversed(decay.unbind()), strict=True):
        found = torch.addcmul(row, weight, found)
        rows.append(found)
    return torch.stack(rows[::-1])


def normalised(advantage: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
    """To mean 0 and standard deviation 1; a single one is left as it is."""
    if len(advantage) == 1:
        return advantage
    std, mean = torch.std_mean(advantage)
    return (advantage - mean) / (std + 1e-8)


class RunningNormaliser:
    """Observations by the mean and standard deviation of all seen so far, cut at 10 deviations.

    The constants of stable-baselines3's VecNormalize, but for its 1e-4 rows of zeros to begin with: they make the
    variance of a column with a large mean wrong by a hundredth and more. Before the first row only the cut is made.
    """

    def __init__(self, size: int, device: torch.device) -> None:
        self.mean = torch.zeros(size, dtype=torch.float64, device=device)
        self.variance = torch.ones_like(self.mean)
        self.count = 0  # rows
        self._refresh()

    def _refresh(self) -> None:
        self._shift, self._scale = self.mean.float(), (self.variance + 1e-8).rsqrt().float()

    def __call__(self, obs: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        return ((obs - self._shift) * self._scale).clamp_(-10.0, 10.0)

    def add(self, obs: Float[Tensor, "B D"]) -> None:
        """Take ``obs`` into account (Chan et al. 1979, the parallel form of mean and variance)."""
        rows = obs.double()
        total = self.count + len(rows)
        apart = rows.mean(0) - self.mean
        squares = self.variance * self.count + rows.var(0, correction=0) * len(rows)
        self.variance = (squares + apart.square() * (self.count * len(rows) / total)) / total
        self.mean = self.mean + apart * (len(rows) / total)
        self.count = total
        self._refresh()

    def state(self) -> dict[str, Any]:
        return {"mean": self.mean.clone(), "variance": self.variance.clone(), "count": self.count}

    def restore(self, state: dict[str, Any]) -> None:
        device = self.mean.device
        self.mean, self.variance = state["mean"].clone().to(device), state["variance"].clone().to(device)
        self.count = state["count"]
        self._refresh()


class Rollout:
    """Room for ``steps`` steps of N environments, N being that of the first `add` after `clear`.

    ``columns [T N ...]``: obs (as the networks saw it), action, log_prob, value, reward, terminated, truncated,
    final_value.
    """

    def __init__(self, steps: int, obs_size: int, action_size: int, device: torch.device) -> None:
        self.steps, self.device = steps, device
        self.sizes = {"obs": [obs_size], "action": [action_size]}
        self.stored = 0
        self.columns: dict[str, Tensor] = {}

    @property
    def full(self) -> bool:
        return self.stored == self.steps

    def add(
        self,
        obs: Float[Tensor, "N D"],
        action: Float[Tensor, "N A"],
        log_prob: Float[Tensor, " N"],
        value: Float[Tensor, " N"],
        reward: Float[Tensor, " N"],
        terminated: Bool[Tensor, " N"],
        truncated: Bool[Tensor, " N"],
        final_value: Float[Tensor, " N"] | None,
    ) -> None:
        if self.full:
            raise RuntimeError(f"expected at most {self.steps} steps of a rollout; learn from them before the next one")
        if final_value is None:
            if bool(truncated.any()):
                raise ValueError("expected final_value where an episode was truncated: the value of its last obs")
            final_value = torch.zeros_like(value)
        self._make_room(len(value))
        row = {"obs": obs, "action": action, "log_prob": log_prob, "value": value, "reward": reward}
        row |= {"terminated": terminated, "truncated": truncated, "final_value": final_value}
        for name, x in row.items():
            self.columns[name][self.stored] = x
        self.stored += 1

    def _make_room(self, count: int) -> None:
        found = self.columns["value"].shape[1] if self.columns else None
        if found == count:
            return
        if self.stored > 0:
            raise ValueError(f"expected {found} environments until the rollout is full, found {count}")
        for name in ("obs", "action", "log_prob", "value", "reward", "final_value"):
            self.columns[name] = torch.zeros(self.steps, count, *self.sizes.get(name, []), device=self.device)
        for name in ("terminated", "truncated"):
            self.columns[name] = torch.zeros(self.steps, count, dtype=torch.bool, device=self.device)

    def rows(self, last_value: Float[Tensor, " N"], gamma: float, lam: float) -> dict[str, Tensor]:
        """Every step of a full rollout as one row: obs, action, log_prob, value, advantage, return_."""
        columns = self.columns
        given = {name: columns[name] for name in ("reward", "value", "terminated", "truncated", "final_value")}
        advantage = advantages(**given, last_value=last_value, gamma=gamma, lam=lam)
        found = {name: columns[name] for name in ("obs", "action", "log_prob", "value")}
        found |= {"advantage": advantage, "return_": advantage + columns["value"]}
        return {name: x.flatten(0, 1) for name, x in found.items()}

    def clear(self) -> None:
        self.stored = 0

    def state(self) -> dict[str, Any]:
        """Copies of the steps so far."""
        columns = self.columns if self.stored else {}
        return {"stored": self.stored, "columns": {name: x[: self.stored].clone() for name, x in columns.items()}}

    def restore(self, state: dict[str, Any]) -> None:
        self.clear()
        if state["stored"]:
            self._make_room(state["columns"]["value"].shape[1])
            for name, x in state["columns"].items():
                self.columns[name][: state["stored"]] = x
        self.stored = state["stored"]
