"""Small actor-critics, their batches and networks that are lines, for the tests of our learners."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from agents.parts.actor_critic_networks import Networks
from agents.parts.deterministic_actor_critic import DDPG, DDPGConfig
from agents.parts.soft_actor_critic import SAC, SACConfig

LOW, HIGH = torch.tensor([-0.3, -2.0]), torch.tensor([0.7, 1.0])  # no bound's mirror image
STEVE = DDPGConfig(
    hidden=(16, 16, 16),
    normalise=False,
    tau=0.0,
    critics=4,
    one_critic_per_row=True,
    target_actor=False,
    saturation=0.001,
    exploration="occasional",
    noise=0.05,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sac(seed: int = 0, obs_size: int = 3, **config: Any) -> SAC:
    return SAC(obs_size, LOW, HIGH, SACConfig(**{"hidden": (16, 8), **config}), seeded(seed))


def ddpg(seed: int = 0, config: DDPGConfig | None = None) -> DDPG:
    return DDPG(3, LOW, HIGH, config or DDPGConfig(hidden=(16, 8)), seeded(seed))


def batch(seed: int = 1, rows: int = 12) -> dict[str, Tensor]:
    generator = seeded(seed)
    return {
        "obs": torch.randn(rows, 3, generator=generator),
        "action": LOW + torch.rand(rows, 2, generator=generator) * (HIGH - LOW),
        "reward": torch.randn(rows, generator=generator),
        "next_obs": torch.randn(rows, 3, generator=generator),
        "terminated": torch.rand(rows, generator=generator) < 0.3,
    }


def set_noise(part: SAC, noise: Tensor | Iterator[Tensor]) -> None:
    part._noise = (lambda count: noise) if isinstance(noise, Tensor) else lambda count: next(noise)  # type: ignore


def linear_sac() -> SAC:
    """One observation, one action in [-1, 3]; the policy is N(0, 1) before its tanh, and the critics are lines."""
    part = SAC(1, torch.tensor([-1.0]), torch.tensor([3.0]), SACConfig(hidden=(), gamma=0.9, temperature=0.5), seeded())
    part.actor.vector.zero_()
    set_lines(part.target_critics, [2.0, 3.0, 1.0], [1.0, 0.0, 10.0])  # 2 s + 3 a + 1 and s + 10, a in [-1, 1]
    return part


def set_lines(networks: Networks, *lines: list[float]) -> None:
    """Slopes and then the intercept of each network without hidden layers."""
    for i, line in enumerate(lines):
        networks.weights[0].detach()[i] = torch.tensor(line[:-1])[:, None]
        networks.biases[0].detach()[i] = line[-1]
