"""Sutton and Barto's three 6x9 mazes: the Dyna maze, the blocking maze and the shortcut maze.

After Reinforcement Learning: An Introduction, 2nd edition, section 8.2-8.3 (figures 8.2, 8.4 and 8.5).
Cells are numbered row by row from the top left, ``observation = 9 * row + column``. Actions are
0 up, 1 right, 2 down, 3 left; a move into a wall or over the edge stays. The goal pays 1 and ends the
episode, all else pays 0.

Two of the mazes change after a number of steps counted over *all* episodes, yet an environment here
is a function of its reset seed and the actions since. So the count comes in from outside:
``reset(options={"steps": n})`` says that n steps were taken before this episode (0 when not given), and
the step taken after ``change_at`` of them, in mid-episode too, meets the new walls. An agent that stands
where a wall appears may walk off it. Nothing is random, so the seed has no effect.
"""

from __future__ import annotations

from typing import Any, Literal

import gymnasium as gym
from gymnasium.wrappers import TimeLimit

FAMILY = "tabular"
PACKAGES = ()  # every rule of these mazes is in this file
EXTRA = None

Cell = tuple[int, int]

ROWS, COLUMNS = 6, 9
MOVES: tuple[Cell, ...] = ((-1, 0), (0, 1), (1, 0), (0, -1))  # up, right, down, left
GOAL: Cell = (0, 8)
START: dict[str, Cell] = {"dyna": (2, 0), "blocking": (5, 3), "shortcut": (5, 3)}
CHANGE_AT = {"blocking": 1000, "shortcut": 3000}  # steps; the captions of figures 8.4 and 8.5

_DYNA = frozenset({(1, 2), (2, 2), (3, 2), (0, 7), (1, 7), (2, 7), (4, 5)})
_GAP_RIGHT = frozenset((3, column) for column in range(8))
_GAP_LEFT = frozenset((3, column) for column in range(1, 9))
_GAP_BOTH = frozenset((3, column) for column in range(1, 8))
WALLS: dict[str, tuple[frozenset[Cell], frozenset[Cell]]] = {  # before and after the change
    "dyna": (_DYNA, _DYNA),
    "blocking": (_GAP_RIGHT, _GAP_LEFT),
    "shortcut": (_GAP_LEFT, _GAP_BOTH),
}


class Maze(gym.Env[Any, Any]):
    """One maze; ``change_at`` is None for the one that never changes."""

    metadata = {"render_modes": ["ansi"]}

    def __init__(self, name: str, change_at: int | None) -> None:
        self.name = name
        self.change_at = change_at
        self.render_mode = "ansi"
        self.observation_space = gym.spaces.Discrete(ROWS * COLUMNS)
        self.action_space = gym.spaces.Discrete(len(MOVES))
        self._cell = START[name]
        self._steps = 0  # before this episode and in it

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        super().reset(seed=seed)
        self._steps = int((options or {}).get("steps", 0))
        self._cell = START[self.name]
        return self._observation(), {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        if not self.action_space.contains(action):
            raise ValueError(f"expected an action of 0..{len(MOVES) - 1}, found {action!r}")
        walls = self.walls()
        self._steps += 1
        row, column = self._cell[0] + MOVES[action][0], self._cell[1] + MOVES[action][1]
        if 0 <= row < ROWS and 0 <= column < COLUMNS and (row, column) not in walls:
            self._cell = (row, column)
        terminated = self._cell == GOAL
        return self._observation(), float(terminated), terminated, False, {}

    def walls(self) -> frozenset[Cell]:
        """The walls that the next step will meet."""
        changed = self.change_at is not None and self._steps >= self.change_at
        return WALLS[self.name][changed]

    def render(self) -> str:
        marks = dict.fromkeys(self.walls(), "#") | {GOAL: "G", self._cell: "A"}
        rows = ("".join(marks.get((r, c), ".") for c in range(COLUMNS)) for r in range(ROWS))
        return "\n".join(rows) + "\n"

    def _observation(self) -> int:
        return COLUMNS * self._cell[0] + self._cell[1]


def card(*, name: str = "dyna", change_at: int | None = None, time_limit: int = 10_000) -> dict[str, Any]:
    """The facts of the protocol, for the record's header."""
    return {
        "env_id": f"maze-{name}",
        "observation": f"Discrete({ROWS * COLUMNS})",
        "action": f"Discrete({len(MOVES)})",
        "wrappers": ["TimeLimit"],
        "frame_skip": 1,
        "sticky": 0.0,
        "life_loss": None,
        "noops": 0,
        "time_limit": time_limit,
        "change_at": _change_at(name, change_at),
    }


def _change_at(name: str, change_at: int | None) -> int | None:
    if name not in WALLS:
        raise ValueError(f"expected a maze of {', '.join(WALLS)}, found {name!r}")
    if change_at is None:
        return CHANGE_AT.get(name)
    if name not in CHANGE_AT:
        raise ValueError(
            f"expected no change_at for the {name} maze, which never changes, found {change_at}; leave it out "
            f"or choose one of {', '.join(CHANGE_AT)}"
        )
    if change_at < 0:
        raise ValueError(f"expected change_at to be a number of steps from 0 on, found {change_at}")
    return change_at


def make(
    *,
    name: Literal["dyna", "blocking", "shortcut"] = "dyna",
    change_at: int | None = None,  # steps over all episodes; None: the book's number
    time_limit: int = 10_000,  # steps; far above a random walk's length, so that it is a guard only
) -> gym.Env[int, int]:
    """One of the three mazes under a time limit."""
    return TimeLimit(Maze(name, _change_at(name, change_at)), time_limit)
