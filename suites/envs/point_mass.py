"""A point with momentum in the plane: the physics of `pond` and `waypoint`."""

from __future__ import annotations

import numpy as np

FRICTION, PUSH = 0.7, 0.4  # share of the velocity that is left; velocity that a full push gives, metres per step


class PointMass:
    """``state [4]``: x, y in metres and their velocities per step. ``noise``: deviation added to these in each step."""

    def __init__(self, noise: float) -> None:
        self.noise = noise
        self.state = np.zeros(4)

    def place(self, x: float, y: float) -> None:
        """At rest."""
        self.state = np.array([x, y, 0.0, 0.0])

    def push(self, action: object, rng: np.random.Generator) -> None:
        """One step; an action beyond [-1, 1] is a full push."""
        push = np.clip(np.asarray(action, np.float64), -1.0, 1.0)
        velocity = FRICTION * self.state[2:] + PUSH * push + self.noise * rng.standard_normal(2)
        self.state = np.concatenate([self.state[:2] + velocity, velocity])
