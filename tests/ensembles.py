"""Ensembles and data that tests of them, of their fits and of their particles share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from agents.parts.dynamics import Normaliser
from agents.parts.ensemble import Ensemble, EnsembleConfig
from tests.probes import LinearSystem

A, B = torch.tensor(LinearSystem.A).float(), torch.tensor(LinearSystem.B).float()


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ensemble(*, seed: int = 0, reward: bool = True, termination: bool = True, **config: Any) -> Ensemble:
    """Two observations, two actions, a small network unless the config says otherwise."""
    settings = EnsembleConfig(**{"hidden": (16,), "weight_decay": 0.0} | config)
    return Ensemble(2, 2, settings, seeded(seed), reward=reward, termination=termination)


def uneven(**config: Any) -> Ensemble:
    """Untrained, with normalisers, biases and bounds that are not the identity, zero and all alike."""
    made = ensemble(**{"hidden": (7, 5), "logvar_bounds": (-1.0, 0.5)} | config)
    generator = seeded(1)
    for values in (made.networks.vector, made.heads.bounds, *([made.ends.networks.vector] if made.ends else [])):
        values += 0.3 * torch.randn(values.shape, generator=generator)
    made.inputs, made.targets = (
        Normaliser(torch.randn(size, generator=generator), torch.rand(size, generator=generator) + 0.5)
        for size in (4, made.heads.regressed)
    )
    made.end_seen = True
    if made.config.members == 7:
        made.elites = torch.tensor([6, 1, 2, 4, 3])
    return made


def linear_data(count: int, noise: float = 0.0, seed: int = 5) -> dict[str, Tensor]:
    generator = seeded(seed)
    obs, action = (torch.rand(count, 2, generator=generator) * 2 - 1 for _ in range(2))
    drawn = torch.randn(count, 2, generator=generator)
    next_obs = obs @ A.T + action @ B.T + noise * drawn
    return {
        "obs": obs,
        "action": action,
        "next_obs": next_obs,
        "reward": obs[:, 0] - action[:, 1],
        "terminated": (next_obs[:, 0] > 0.5).float(),
    }


def asked(count: int = 50, seed: int = 9) -> tuple[Tensor, Tensor]:
    return torch.randn(count, 2, generator=seeded(seed)), torch.randn(count, 2, generator=seeded(seed + 1))


def movers(pushes: list[float], *, elites: int | None = None, **heads: bool) -> Ensemble:
    """Deterministic members without hidden layers, of which the e-th adds ``pushes[e]`` to both dimensions."""
    config = {"members": len(pushes), "elites": elites or len(pushes), "probabilistic": False, "hidden": ()}
    made = ensemble(**config, **heads)
    made.networks.vector.zero_()
    made.networks.biases[0][:, 0, :2] = torch.tensor(pushes)[:, None]
    return made
