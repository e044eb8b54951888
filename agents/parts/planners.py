"""Planners over action sequences, and the return that they maximise."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from agents.parts.actions import ActionVectors


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
