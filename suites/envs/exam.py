"""The exam: a decision in two steps at which planning without feedback loses 1000 points.

After the two-step example in Levine's lectures on planning (CS 285, "optimal control and planning").
An exam of one sum is offered. Whoever accepts it sees two digits and then answers: right pays +1000,
wrong -2000. Whoever declines gets 0 and sees nothing. A plan fixed before the first step has to name its
answer without the question, so its best is to decline; a policy that looks before it answers gets +1000.

Observations: 0 undecided; ``1 + digits * a + b`` the question "a + b" with a, b in 0..digits-1;
``1 + digits ** 2`` the episode is over.
Actions: 0 .. 2 * digits - 2, one for every possible sum. While undecided 0 declines and every other
action accepts; at the question action k answers k.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym

FAMILY = "tabular"
PACKAGES = ()  # every rule of this environment is in this file
EXTRA = None

CORRECT, WRONG, DECLINED = 1000.0, -2000.0, 0.0  # points; the lecture's
DECLINE, ACCEPT = 0, 1  # actions while undecided (any action but 0 accepts)


def accept_open_loop_value(digits: int = 10) -> float:
    """Expected return of accepting with the best answer fixed beforehand.

    Of digits^2 equally likely questions, digits have the likeliest sum, digits - 1; so the answer is
    right with probability p = 1 / digits and the value is p * CORRECT + (1 - p) * WRONG.
    """
    return (CORRECT + (digits - 1) * WRONG) / digits


def open_loop_value(digits: int = 10) -> float:
    """Best expected return of a plan fixed before the first step: 0, it declines."""
    return max(DECLINED, accept_open_loop_value(digits))


def closed_loop_value() -> float:
    """Best expected return of a policy that sees the question: every answer is right."""
    return max(DECLINED, CORRECT)


class Exam(gym.Env[Any, Any]):
    """The question is drawn at reset and shown only after accepting."""

    def __init__(self, digits: int) -> None:
        self.digits = digits
        self.observation_space = gym.spaces.Discrete(digits**2 + 2)
        self.action_space = gym.spaces.Discrete(2 * digits - 1)
        self._question = (0, 0)
        self._observation = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        super().reset(seed=seed)
        a, b = self.np_random.integers(self.digits, size=2)
        self._question = (int(a), int(b))
        self._observation = 0
        return self._observation, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        if not self.action_space.contains(action):
            raise ValueError(f"expected an action of 0..{2 * self.digits - 2}, found {action!r}")
        over = 1 + self.digits**2
        if self._observation == over:
            raise RuntimeError("expected reset() after the episode's end, found step(); reset first")
        a, b = self._question
        if self._observation == 0 and action != DECLINE:
            self._observation = 1 + self.digits * a + b
            return self._observation, 0.0, False, False, {}
        reward = DECLINED if self._observation == 0 else CORRECT if action == a + b else WRONG
        self._observation = over
        return self._observation, reward, True, False, {}


def card(*, digits: int = 10) -> dict[str, Any]:
    """The facts of the protocol, for the record's header."""
    return {
        "env_id": "exam",
        "observation": f"Discrete({digits**2 + 2})",
        "action": f"Discrete({2 * digits - 1})",
        "wrappers": [],
        "frame_skip": 1,
        "sticky": 0.0,
        "life_loss": None,
        "noops": 0,
        "time_limit": None,  # never cut: the second decision ends it
    }


def make(
    *,
    digits: int = 10,  # how many digits there are, 0..digits-1; the lecture adds two of ten
) -> gym.Env[int, int]:
    """The exam; it ends by itself after two steps at most."""
    if digits < 2:
        raise ValueError(f"expected at least 2 digits (with fewer the answer needs no question), found {digits}")
    return Exam(digits)
