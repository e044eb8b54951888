"""Seeds of episodes and of policies: none is trained on and evaluated on, none tells of another."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from suites.envs import exam
from suites.runner.evaluation import play
from suites.runner.seeds import common_seed, evaluation_seed, training_seed


@settings(derandomize=True, deadline=None, max_examples=1000)
@given(
    task=st.text(max_size=20), seed=st.integers(0, 2**40), place=st.tuples(st.integers(0, 64), st.integers(0, 10**7))
)
def test_no_episode_is_both_trained_on_and_evaluated_on(task: str, seed: int, place: tuple[int, int]) -> None:
    """Each kind of seed has a half of the integers to itself, so a million draws would tell no more than one."""
    assert 0 <= training_seed(task, seed, *place) < 2**30 <= evaluation_seed(task, seed, place[1]) < 2**31
    assert 0 <= common_seed(task, seed, place[1]) < 2**30


def test_the_seeds_of_a_trial_rarely_meet() -> None:
    found = [training_seed("walk", seed, env, k) for seed in range(5) for env in range(4) for k in range(500)]
    found += [evaluation_seed("walk", seed, k) for seed in range(5) for k in range(500)]
    found += [common_seed("walk", seed, k) for seed in range(5) for k in range(500)]
    assert len(set(found)) == len(found)


def test_a_policy_cannot_guess_the_environment_from_its_own_seed() -> None:
    """The exam draws its question by the generator that gymnasium makes of a seed: who makes the same one of the seed
    that the policy is given, and was given the environment's, would answer all 60 questions."""

    class Guesser:
        def reset(self, seed: int) -> None:
            self.answer = int(np.random.default_rng(seed).integers(10, size=2).sum())

        def act(self, obs: Any) -> int:
            return exam.ACCEPT if obs == 0 else self.answer

    returns, _ = play(exam.make(), Guesser(), task="exam", seed=0, episodes=60, steps=0, tick=lambda: None)
    assert sum(value == exam.CORRECT for value in returns) < 20  # by chance 4
