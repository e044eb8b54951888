"""Targets of value expansion: rewards of imagined steps, bootstrapped with a value where the rollout stops."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def q_targets(
    rewards: Sequence[Tensor], conts: Sequence[Tensor], value: Tensor, gamma: float, bonuses: Sequence[Tensor] = ()
) -> list[Tensor]:
    """What Q should be at each of the S steps of a rollout, the first, real one included.

    Q_t = r_t + gamma c_t V_{t+1} and V_t = Q_t + b_t, from V_S = ``value`` backwards: the targets of Feinberg et al.
    2018 (MVE, 1803.00101, section 3) at all t, those of Buckman et al. 2018 (STEVE, 1807.01675, section 3) at t = 0.

    ``rewards``, ``conts``: r and c of each step, c the probability that the episode goes on after it. ``bonuses``: b of
    each step but the first, what a soft value adds to Q (minus alpha log pi of its action); none: 0. All shapes
    broadcast against each other, so that rewards, ends and values may be those of several models.
    """
    targets: list[Tensor] = []
    for t in reversed(range(len(rewards))):
        targets.append(rewards[t] + conts[t] * gamma * value)
        value = targets[-1] + bonuses[t - 1] if bonuses and t > 0 else targets[-1]
    return targets[::-1]
