"""The scripted baseline plays what it was told, anew in each episode, and refuses what can't be played."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from agents.protocol import Problem
from baselines import scripted


def problem(action: Any) -> Problem:
    seen = Box(-1, 1, (3,), np.float32)
    return Problem(observation_space=seen, action_space=action, budget=100, family="vector", env_id="unlisted-v0")


def test_a_script_is_played_again_and_again_and_anew_in_each_episode() -> None:
    policy = scripted.make(problem(Discrete(3)), 0, script=((2, 1), (0, 3))).policy("mode")
    policy.reset(0)
    assert [policy.act(None) for _ in range(10)] == [2, 0, 0, 0, 2, 0, 0, 0, 2, 0]
    policy.reset(1)
    assert [policy.act(None) for _ in range(2)] == [2, 0]


def test_continuous_actions_have_the_type_of_their_space_and_are_copies() -> None:
    policy = scripted.make(problem(Box(-1, 1, (2,), np.float32)), 0, script=(((1.0, -0.5), 2),)).policy("mode")
    action = policy.act(None)
    assert action.dtype == np.float32
    action[:] = 0.0
    np.testing.assert_array_equal(policy.act(None), [1.0, -0.5])


@pytest.mark.parametrize(
    ("space", "script", "said"),
    [
        (Discrete(3), (), "found none"),
        (Discrete(3), ((1, 0),), "found 0 steps of 1"),
        (Discrete(3), ((3, 5),), r"expected actions of Discrete\(3\), found 3"),
        (Discrete(3), (((1.0,), 5),), r"found \(1.0,\)"),
        (Box(-1, 1, (2,)), (((1.0, 2.0), 5),), r"found \(1.0, 2.0\)"),
        (Box(-1, 1, (2,)), (((1.0,), 5),), r"found \(1.0,\)"),
        (Box(-1, 1, (2,)), ((0, 5),), "found 0"),
    ],
)
def test_a_script_that_cannot_be_played_is_refused(space: Any, script: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        scripted.make(problem(space), 0, script=script)
