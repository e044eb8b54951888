"""Dyna-Q against hand-worked numbers, exact optimal values and its own resumed self."""

from __future__ import annotations

import subprocess
import sys
from math import sqrt
from typing import Any

import gymnasium as gym
import pytest
from gymnasium.spaces import Discrete

from agents.dyna_q import TERMINAL, DynaQ, choose, make
from agents.protocol import Problem
from tests.in_process import problem_of, train, train_interrupted


class DynaMaze(gym.Env[Any, Any]):
    """The 6 x 9 maze of Example 8.1, told once more here so that the agent's test stands alone."""

    walls = frozenset({(1, 2), (2, 2), (3, 2), (0, 7), (1, 7), (2, 7), (4, 5)})
    moves = ((-1, 0), (1, 0), (0, -1), (0, 1))
    goal = (0, 8)

    def __init__(self) -> None:
        self.observation_space, self.action_space = Discrete(54), Discrete(4)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.cell = (2, 0)
        return self.index(self.cell), {}

    def step(self, action: int) -> Any:
        self.cell = self.after(self.cell, action)
        ended = self.cell == self.goal
        return self.index(self.cell), float(ended), ended, False, {}

    def after(self, cell: tuple[int, int], action: int) -> tuple[int, int]:
        row, column = cell[0] + self.moves[action][0], cell[1] + self.moves[action][1]
        inside = 0 <= row < 6 and 0 <= column < 9 and (row, column) not in self.walls
        return (row, column) if inside else cell

    @staticmethod
    def index(cell: tuple[int, int]) -> int:
        return cell[0] * 9 + cell[1]

    def cells(self) -> list[tuple[int, int]]:
        return [(r, c) for r in range(6) for c in range(9) if (r, c) not in self.walls and (r, c) != self.goal]


def problem(states: int = 3, actions: int = 2, budget: int = 1000) -> Problem:
    return Problem(
        observation_space=Discrete(states),
        action_space=Discrete(actions),
        budget=budget,
        family="tabular",
        env_id="chain",
    )


def explore(agent: DynaQ, maze: DynaMaze) -> None:
    """Give the agent's model every transition of the maze, without planning."""
    for cell in maze.cells():
        for action in range(4):
            after = maze.after(cell, action)
            ended = after == maze.goal
            agent.learn_from(maze.index(cell), action, float(ended), TERMINAL if ended else maze.index(after))


def test_two_real_steps_give_the_values_worked_out_by_hand():
    agent = make(problem(), 0, planning_steps=0, learning_rate=0.5, discount=0.8)
    agent.learn_from(1, 0, 1.0, TERMINAL)  # 0 + 0.5 (1 - 0)
    agent.learn_from(0, 1, 0.0, 1)  # 0 + 0.5 (0 + 0.8 * 0.5 - 0)
    agent.learn_from(1, 0, 1.0, TERMINAL)  # 0.5 + 0.5 (1 - 0.5)
    assert agent.values[:2] == [[0.0, 0.2], [0.75, 0.0]]
    assert agent.updates == 3


def test_planning_applies_the_same_update_to_what_the_model_remembers():
    agent = make(problem(), 0, planning_steps=3, learning_rate=0.5, discount=0.8)
    agent.learn_from(1, 0, 1.0, TERMINAL)
    agent.plan()  # one pair known: 0.5 -> 0.75 -> 0.875 -> 0.9375
    assert agent.values[1] == [0.9375, 0.0]
    assert agent.updates == 4


def test_the_model_keeps_the_last_outcome_of_a_pair():
    agent = make(problem(), 0, planning_steps=200, learning_rate=0.5)
    agent.learn_from(0, 0, 1.0, TERMINAL)
    agent.learn_from(0, 0, -1.0, TERMINAL)
    agent.plan()
    assert agent.values[0][0] == pytest.approx(-1.0)


def test_a_time_limit_is_bootstrapped_over_and_a_terminal_state_is_not():
    class Ended(gym.Env[Any, Any]):
        observation_space, action_space = Discrete(1), Discrete(1)
        by_limit = False

        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            return 0, {}

        def step(self, action: int) -> Any:
            return 0, 1.0, not self.by_limit, self.by_limit, {}

    for by_limit, value in ((False, 1.0), (True, 10.0)):
        Ended.by_limit = by_limit
        agent = make(problem(1, 1), 0, planning_steps=0, learning_rate=0.5, discount=0.9)
        train(agent, Ended, 500)
        assert agent.values[0][0] == pytest.approx(value)


def test_the_bonus_grows_with_the_square_root_of_the_time_since_the_last_try():
    agent = make(problem(3, 1), 0, planning_steps=1, learning_rate=1.0, discount=0.5, bonus=0.1)
    agent.learn_from(0, 0, 2.0, TERMINAL)
    agent.time = 10  # tried at 1, nine steps ago
    agent.plan()
    assert agent.values[0][0] == pytest.approx(2.0 + 0.1 * sqrt(9))


def test_dyna_q_plus_plans_actions_that_were_never_tried_and_dyna_q_does_not():
    plain = make(problem(), 0, planning_steps=100, learning_rate=1.0)
    curious = make(problem(), 0, planning_steps=100, learning_rate=1.0, discount=0.0, bonus=0.1)
    for agent in (plain, curious):
        agent.learn_from(0, 0, 0.0, TERMINAL)
        agent.time = 16
        agent.plan()
    assert plain.values[0] == [0.0, 0.0]
    assert curious.values[0] == pytest.approx([0.1 * sqrt(15), 0.1 * sqrt(16)])


def test_without_planning_steps_it_is_q_learning():
    maze = DynaMaze()
    agent = make(problem(54, 4), 3, planning_steps=0)
    train(agent, DynaMaze, 3000)
    rng, q = type(agent.rng)(3), [[0.0] * 4 for _ in range(54)]
    state, _ = maze.reset()
    for _ in range(3000):
        action = choose(q[state], 0.1, rng)
        following, reward, ended, _, _ = maze.step(action)
        q[state][action] += 0.1 * (reward + 0.95 * (0.0 if ended else max(q[following])) - q[state][action])
        state = maze.reset()[0] if ended else following
    assert agent.values[:-1] == q


def test_planning_on_the_whole_model_converges_to_the_optimal_values_of_the_maze():
    maze = DynaMaze()
    agent = make(problem(54, 4), 0, planning_steps=300_000, learning_rate=1.0)
    explore(agent, maze)
    agent.plan()
    optimal = dict.fromkeys(maze.cells(), 0.0) | {maze.goal: 0.0}
    for _ in range(60):  # value iteration: no cell is further than 60 moves
        optimal |= {
            cell: max((1.0 if to == maze.goal else 0.95 * optimal[to]) for to in reached(maze, cell))
            for cell in maze.cells()
        }
    for cell in maze.cells():
        assert max(agent.values[maze.index(cell)]) == pytest.approx(optimal[cell], abs=1e-9)
    assert optimal[(2, 0)] == pytest.approx(0.95**13)


def test_it_finds_the_shortest_path_of_14_steps_through_the_dyna_maze():
    maze = DynaMaze()
    agent = make(problem(54, 4), 1, planning_steps=50)
    train(agent, DynaMaze, 2500)
    policy = agent.policy("mode")
    policy.reset(0)
    obs, _ = maze.reset()
    ends = []
    for _ in range(14):
        obs, _, ended, _, _ = maze.step(policy.act(obs))
        ends.append(ended)
    assert ends == [False] * 13 + [True]


def test_ties_are_broken_at_random_by_the_seed_of_the_episode():
    policy = make(problem(1, 4), 0).policy("mode")
    drawn = []
    for seed in (5, 5, 6):
        policy.reset(seed)
        drawn.append([policy.act(0) for _ in range(40)])
    assert drawn[0] == drawn[1] != drawn[2]
    assert set(drawn[0]) == {0, 1, 2, 3}


def test_a_policy_stays_as_it_was_when_training_goes_on():
    agent = make(problem(), 0, learning_rate=1.0, planning_steps=0)
    agent.learn_from(0, 1, 1.0, TERMINAL)
    policy = agent.policy("mode")
    agent.learn_from(0, 0, 2.0, TERMINAL)
    assert policy.act(0) == 1
    assert agent.policy("mode").act(0) == 0


def test_spaces_that_do_not_start_at_zero_are_counted_from_their_start():
    class Shifted(gym.Env[Any, Any]):
        observation_space, action_space = Discrete(2, start=5), Discrete(2, start=-1)

        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            return 5, {}

        def step(self, action: int) -> Any:
            assert self.action_space.contains(action)
            return 6, float(action == -1), True, False, {}

    agent = train(make(problem_of(Shifted()), 0), Shifted, 200)
    assert agent.policy("mode").act(5) == -1


@pytest.mark.parametrize("bonus", [0.0, 1e-3])
def test_stopped_at_any_report_and_resumed_it_ends_with_the_same_table(tmp_path, bonus):
    def fresh() -> DynaQ:
        return make(problem(54, 4), 7, planning_steps=5, bonus=bonus)

    whole = train(fresh(), DynaMaze, 1000)
    for stop in (0, 1, 333):
        folder = tmp_path / str(stop)
        folder.mkdir()
        resumed = train_interrupted(fresh, DynaMaze, 1000, stop, folder)
        assert resumed.values == whole.values
        assert resumed.model == whole.model
        assert resumed.rng.getstate() == whole.rng.getstate()
        assert resumed.updates == whole.updates


def test_a_space_that_is_no_table_is_refused_with_the_remedy():
    asked = problem_of(gym.make("CartPole-v1").unwrapped)
    with pytest.raises(ValueError, match=r"CartPoleEnv has Box.*agents\.mb_mpc"):
        make(asked, 0)


def test_it_starts_without_torch():
    code = "import sys, agents.dyna_q; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def reached(maze: DynaMaze, cell: tuple[int, int]) -> list[tuple[int, int]]:
    return [maze.after(cell, action) for action in range(4)]
