"""Promises of Sutton and Barto's mazes: the walls, the lengths of the shortest paths, the moment of change."""

from __future__ import annotations

from collections import deque
from typing import Any

import gymnasium as gym
import pytest

from suites.envs import maze

UP, RIGHT, DOWN, LEFT = range(4)


def shortest(env: gym.Env[int, int], steps_before: int) -> list[int]:
    """The actions of a shortest path from start to goal, found by stepping through the environment alone."""
    start, _ = env.reset(options={"steps": steps_before})
    queue: deque[list[int]] = deque([[]])
    seen = {start}
    while queue:
        path = queue.popleft()
        for action in range(4):
            env.reset(options={"steps": steps_before})
            for earlier in path:
                env.step(earlier)
            cell, _, terminated, *_ = env.step(action)
            if terminated:
                return [*path, action]
            if cell not in seen:
                seen.add(cell)
                queue.append([*path, action])
    raise AssertionError("no path to the goal")


def follow(env: gym.Env[int, int], path: list[int], steps_before: int = 0) -> tuple[int, float, bool]:
    env.reset(options={"steps": steps_before})
    for action in path:
        cell, reward, terminated, *_ = env.step(action)
    return cell, float(reward), terminated


@pytest.mark.parametrize(
    ("name", "steps_before", "length"),
    [
        ("dyna", 0, 14),
        ("dyna", 100_000, 14),
        ("blocking", 0, 10),
        ("blocking", 1000, 16),
        ("shortcut", 0, 16),
        ("shortcut", 3000, 10),
    ],
)
def test_the_shortest_path_is_as_long_as_in_the_book(name, steps_before, length):
    assert len(shortest(maze.make(name=name), steps_before)) == length


def test_only_the_goal_pays_and_ends_the_episode():
    env = maze.make()
    path = shortest(env, 0)
    assert follow(env, path[:-1])[1:] == (0.0, False)
    assert follow(env, path) == (8, 1.0, True)


def test_a_move_into_a_wall_or_over_the_edge_stays():
    env = maze.make()
    start, _ = env.reset()
    assert start == 18
    assert env.step(LEFT)[0] == 18
    assert [env.step(RIGHT)[0] for _ in range(2)] == [19, 19]  # (2, 2) is a wall


def test_the_walls_change_after_exactly_so_many_steps_over_all_episodes():
    env = maze.make(name="blocking", change_at=7)
    up_to_the_wall = [UP, LEFT, LEFT, LEFT]  # (4, 0), below a cell that is open only after the change
    assert follow(env, [*up_to_the_wall, UP], steps_before=2)[0] == 9 * 4
    assert follow(env, [*up_to_the_wall, UP], steps_before=3)[0] == 9 * 3
    assert follow(env, [*up_to_the_wall, UP, UP, UP, UP])[0] == 9 * 3  # in mid-episode: at step 8 it is open


def test_a_reset_without_a_count_starts_from_zero_steps():
    env: Any = maze.make(name="blocking", change_at=1)
    follow(env, [UP, UP], steps_before=100)
    env.reset()
    assert env.unwrapped.walls() == maze.WALLS["blocking"][0]


def test_an_agent_may_walk_off_a_wall_that_rose_under_it():
    env = maze.make(name="blocking", change_at=7)
    path = [RIGHT] * 5 + [UP] * 2  # (3, 8), the gap that closes after 7 steps
    assert follow(env, path)[0] == 9 * 3 + 8
    assert follow(env, [*path, DOWN])[0] == 9 * 4 + 8
    assert follow(env, [*path, DOWN, UP])[0] == 9 * 4 + 8


def test_the_time_limit_truncates_and_never_terminates():
    env = maze.make(time_limit=3)
    env.reset()
    ends = [env.step(LEFT)[2:4] for _ in range(3)]
    assert ends == [(False, False), (False, False), (False, True)]


def test_the_maze_can_be_read_as_text():
    env = maze.make()
    env.reset()
    assert env.render() == ".......#G\n..#....#.\nA.#....#.\n..#......\n.....#...\n.........\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "hedge"}, "expected a maze of dyna, blocking, shortcut, found 'hedge'"),
        ({"change_at": 5}, "never changes"),
        ({"name": "blocking", "change_at": -1}, "from 0 on"),
    ],
)
def test_a_wrong_option_is_answered_with_the_remedy(options, message):
    with pytest.raises(ValueError, match=message):
        maze.make(**options)


def test_the_card_says_when_the_walls_change():
    assert maze.card(name="dyna")["change_at"] is None
    assert maze.card(name="blocking")["change_at"] == 1000
    assert maze.card(name="shortcut", change_at=5)["change_at"] == 5
