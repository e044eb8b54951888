"""Random policies that play while a first data set is recorded, as published for World Models and its re-makes."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete

from agents.parts.controllers import ActionMap, Controller

HELD = 10  # steps for which one action is held at most; hardmaru/WorldModelsExperiments
HELD_LONG = 64  # steps, one more than the longest; ours: as many as from the middle of Take Cover to a wall
DT = 1 / 50  # seconds, a step of the Brownian motion; ctallec/world-models
SEEN = 32  # features of the random controllers: as many as CarRacing's z has
SCALE = 0.01  # greatest scale of the random controllers' parameters; hardmaru/WorldModelsExperiments


@runtime_checkable
class Collector(Protocol):
    """Plays one environment. All it draws comes from the generators that it is given."""

    def reset(self, rng: np.random.Generator) -> None:
        """Begin an episode."""

    def act(self, rng: np.random.Generator) -> Any:
        """The next action, in the environment's form."""

    def state(self) -> dict[str, Any]:
        """Tensors and plain values: what is carried from one step to the next."""

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where the one stood whose `state` this was."""


def policy(name: str, space: gym.Space[Any], family: str = "") -> Collector:
    """The random policy called ``name`` ("uniform", "held", "held_long", "brownian", "cauchy") for one environment."""
    kinds: dict[str, Any] = {
        "uniform": Uniform,
        "held": Held,
        "held_long": HeldLong,
        "brownian": Brownian,
        "cauchy": Cauchy,
    }
    if name not in kinds:
        raise ValueError(f"expected a random policy of {', '.join(kinds)}; found {name!r}")
    if not isinstance(space, Discrete) and not (isinstance(space, Box) and space.is_bounded("both")):
        raise ValueError(f"expected a Discrete action space or a bounded Box, found {space}")
    if name == "brownian" and not isinstance(space, Box):
        raise ValueError(f"brownian: expected a Box, found {space}; take held")
    made: Collector = Cauchy(space, family) if name == "cauchy" else kinds[name](space)
    return made


def uniform(space: gym.Space[Any], rng: np.random.Generator) -> Any:
    """One action, all of the space equally likely."""
    if isinstance(space, Discrete):
        return int(space.start + rng.integers(space.n))
    assert isinstance(space, Box)
    return rng.uniform(space.low, space.high).astype(space.dtype)


class Uniform:
    """A new action at each step."""

    def __init__(self, space: gym.Space[Any]) -> None:
        self.space = space

    def reset(self, rng: np.random.Generator) -> None:
        """Nothing is carried over."""

    def act(self, rng: np.random.Generator) -> Any:
        return uniform(self.space, rng)

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing is carried over."""


class Held:
    """A uniform action, held for 1 to 10 steps, each as likely (World Models, Take Cover).

    The authors' recorder draws the same numbers but changes the action at the next frame that is a multiple of the
    number drawn, which holds actions for shorter times.
    """

    def __init__(self, space: gym.Space[Any]) -> None:
        self.space = space
        self.action: Any = None
        self.left = 0  # steps for which the action is still held

    def reset(self, rng: np.random.Generator) -> None:
        self.left = 0

    def act(self, rng: np.random.Generator) -> Any:
        if self.left == 0:
            self.action, self.left = uniform(self.space, rng), self.duration(rng)
        self.left -= 1
        return self.action if isinstance(self.action, int) else self.action.copy()

    @staticmethod
    def duration(rng: np.random.Generator) -> int:
        return int(rng.integers(1, HELD + 1))

    def state(self) -> dict[str, Any]:
        array = isinstance(self.action, np.ndarray)
        return {"action": torch.tensor(self.action) if array else self.action, "left": self.left}

    def restore(self, state: dict[str, Any]) -> None:
        action = state["action"]
        self.action = action.numpy().copy() if isinstance(action, torch.Tensor) else action
        self.left = state["left"]


class HeldLong(Held):
    """A uniform action, held for 1 to 63 steps: the whole part of 64^U, so that each octave is as likely (ours).

    Long walks are met as well as quick turns, as in temporally-extended exploration (Dabney et al. 2021,
    arXiv 2006.01782). So Take Cover's walls are reached: a model that has seen little of them can be talked into
    anything there.
    """

    @staticmethod
    def duration(rng: np.random.Generator) -> int:
        return int(HELD_LONG ** rng.random())


class Brownian:
    """A uniform action to begin with, then steps of sqrt(1 / 50) N(0, 1), clipped to the box (ctallec, CarRacing)."""

    def __init__(self, space: Box) -> None:
        self.space = space
        self.following: np.ndarray | None = None  # action, in double precision

    def reset(self, rng: np.random.Generator) -> None:
        self.following = rng.uniform(self.space.low, self.space.high)

    def act(self, rng: np.random.Generator) -> Any:
        if self.following is None:
            raise RuntimeError("expected reset(rng) before the first action of an episode")
        action = self.following.astype(self.space.dtype)
        moved = self.following + DT**0.5 * rng.standard_normal(self.following.shape)
        self.following = np.clip(moved, self.space.low, self.space.high)
        return action

    def state(self) -> dict[str, Any]:
        return {"following": None if self.following is None else torch.tensor(self.following)}

    def restore(self, state: dict[str, Any]) -> None:
        following = state["following"]
        self.following = None if following is None else following.numpy().copy()


class Cauchy:
    """A random controller per episode, its parameters Cauchy distributed at a scale drawn from [0, 0.01).

    So the authors record CarRacing. Their V and M get random weights at the same time, but these are divided by 10,000
    when they are set: z is as good as N(0, 1) and h as good as 0, whatever the frame. So that is what C sees here.
    """

    def __init__(self, space: gym.Space[Any], family: str = "") -> None:
        self.actions = ActionMap(space, family)
        self.controller = Controller(SEEN, self.actions.size)
        self.parameters = torch.zeros(1, self.controller.size)

    def reset(self, rng: np.random.Generator) -> None:
        scale = SCALE * rng.random()
        self.parameters = torch.from_numpy(scale * rng.standard_cauchy((1, self.controller.size))).float()

    def act(self, rng: np.random.Generator) -> Any:
        z = torch.from_numpy(rng.standard_normal((1, SEEN))).float()
        action = self.actions.actions(self.controller.act(self.parameters, z))[0]
        return action if isinstance(action, np.ndarray) else int(action)

    def state(self) -> dict[str, Any]:
        return {"parameters": self.parameters}

    def restore(self, state: dict[str, Any]) -> None:
        self.parameters = state["parameters"].clone()
