"""Vectors whose environments wait for their episodes, and episodes that all candidates play alike."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from suites.runner.seeds import common_seed, training_seed
from tests.walking import Walk, action, gate_with, seed_where

pytestmark = pytest.mark.usefixtures("nothing_walked")


# -- environments that wait ----------------------------------------------------------------------------------------


def test_an_environment_whose_episode_has_ended_waits_and_shows_its_end() -> None:
    seed = seed_where(lambda lengths: lengths[0] == 2 and min(lengths[1:]) > 4, 3)
    gate, rows = gate_with(seed=seed)
    env = gate.open(3, autoreset=False)
    assert env.metadata["autoreset_mode"] is gym.vector.AutoresetMode.DISABLED
    first, infos = env.reset()
    assert infos["active"].tolist() == [True] * 3
    ones = np.ones((3, 1), np.float32)
    env.step(ones)
    for steps in (2, 3, 4):
        taken = Walk.taken
        obs, rewards, terminations, truncations, infos = env.step(ones)
        assert infos["active"].tolist() == [steps == 2, True, True]
        assert obs[:, 0].tolist() == (first[:, 0] + [2, steps, steps]).tolist()
        assert obs[0, 1] == 0
        assert terminations.tolist() == [steps == 2, False, False]
        assert (rewards != 0).tolist() == infos["active"].tolist()
        assert not truncations.any()
        assert "final_obs" not in infos
        assert Walk.taken - taken == infos["active"].sum()
    assert [(row["env"], row["length"]) for row in rows] == [(0, 2)]
    assert gate.steps == Walk.taken == 10


def test_an_environment_that_was_not_yet_reset_waits_and_shows_zeros() -> None:
    gate, _ = gate_with()
    env = gate.open(3, autoreset=False)
    for _ in range(2):
        obs, _, _, _, infos = env.step(np.ones((3, 1), np.float32))
        assert not obs.any()
        assert not infos["active"].any()
    obs, infos = env.reset(options={"reset_mask": np.array([False, True, False])})
    assert infos["active"].tolist() == [False, True, False]
    assert obs.any(axis=1).tolist() == [False, True, False]
    assert gate._episodes == [0, 1, 0]
    assert gate.steps == Walk.taken == 0


def test_a_mask_begins_episodes_where_it_is_true_and_leaves_the_others_as_they_are() -> None:
    seed = seed_where(lambda lengths: lengths[0] == 1 == lengths[1] and min(lengths[2:]) > 3, 4)
    gate, rows = gate_with(seed=seed)
    env = gate.open(4, autoreset=False)
    env.reset()
    before = env.step(np.ones((4, 1), np.float32))[0]
    obs, infos = env.reset(options={"reset_mask": np.array([True, False, True, False])})
    assert infos["active"].tolist() == [True, False, True, True]
    assert obs[[1, 3]].tolist() == before[[1, 3]].tolist()
    assert obs[[0, 2], 0].tolist() == [training_seed("walk", seed, slot, 1) for slot in (0, 2)]
    assert [(row["env"], row["length"], row.get("cut")) for row in rows] == [(0, 1, None), (1, 1, None), (2, 1, True)]
    assert gate._episodes == [2, 1, 2, 1]


def test_a_reset_without_options_begins_an_episode_everywhere() -> None:
    gate, _ = gate_with()
    env = gate.open(3, autoreset=False)
    for episode in range(3):
        obs, _ = env.reset()
        assert obs[:, 0].tolist() == [training_seed("walk", 0, slot, episode) for slot in range(3)]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"reset_mask": np.ones(3)}, r"reset_mask: expected bool \[2\], found float64 \[3\]"),
        ({"reset_mask": [1, 0]}, r"reset_mask: expected bool \[2\], found int64 \[2\]"),
        ({"episode_seed": 4}, r"episode_seed: expected integers \[2\], found int64 \[\]"),
        ({"episode_seed": [0.5, 1.0]}, r"episode_seed: expected integers \[2\], found float64 \[2\]"),
        ({"episode_seed": [3, -1]}, "episode_seed: expected 0 or more, found -1"),
    ],
)
def test_options_that_fit_no_vector_are_refused(options: dict[str, Any], said: str) -> None:
    gate, _ = gate_with()
    with pytest.raises(ValueError, match=said):
        gate.open(2, autoreset=False).reset(options=options)


def test_a_vector_that_begins_anew_by_itself_takes_no_mask() -> None:
    gate, _ = gate_with()
    with pytest.raises(ValueError, match="open with autoreset=False"):
        gate.open(2).reset(options={"reset_mask": np.array([True, False])})


def test_a_vector_opened_later_goes_on_with_the_slots_of_a_closed_one() -> None:
    gate, _ = gate_with()
    phase = gate.open(3)
    phase.reset()
    phase.close()
    phase.close()
    later = gate.open(2, autoreset=False)
    phase.close()  # it has nothing left to give back
    assert [slot.index for slot in later._envs] == [0, 1]
    assert later.reset()[0][:, 0].tolist() == [training_seed("walk", 0, slot, 1) for slot in (0, 1)]
    assert gate.open().index == 2


# -- common episodes -----------------------------------------------------------------------------------------------


def test_a_common_episode_is_the_same_one_wherever_and_however_often_it_is_played() -> None:
    gate, _ = gate_with(seed=5)
    rng = np.random.default_rng(0)
    moves = [action(rng) for _ in range(9)]
    single, vector, waiting = gate.open(), gate.open(2), gate.open(3, autoreset=False)

    def of_single() -> list[Any]:
        seen = [single.reset(options={"episode_seed": 4})[0].tolist()]
        for move in moves:
            obs, reward, terminated, _, _ = single.step(move)
            seen.append([obs.tolist(), float(reward)])
            if terminated:
                break
        return seen

    def of_vector(env: Any, i: int) -> list[Any]:
        seeds = np.array([9] * env.num_envs)
        seeds[i] = 4
        seen = [env.reset(options={"episode_seed": seeds})[0][i].tolist()]
        for move in moves:
            obs, rewards, terminations, _, infos = env.step([move] * env.num_envs)
            shown = infos["final_obs"][i] if "final_obs" in infos and infos["_final_obs"][i] else obs[i]
            seen.append([shown.tolist(), float(rewards[i])])
            if terminations[i]:
                break
        return seen

    expected = of_single()
    assert expected[0][0] == common_seed("walk", 5, 4)
    assert len(expected) == 2 + common_seed("walk", 5, 4) % 9
    assert of_vector(vector, 0) == of_vector(waiting, 2) == of_vector(waiting, 0) == of_vector(vector, 1) == expected
    assert of_single() == expected


def test_a_common_episode_leaves_the_count_of_its_slot_alone() -> None:
    gate, _ = gate_with()
    env = gate.open()
    places = [env.reset(options=options)[0][0] for options in (None, {"episode_seed": 0}, {"episode_seed": 7}, {})]
    own = [training_seed("walk", 0, 0, episode) for episode in (0, 1)]
    assert places == [own[0], common_seed("walk", 0, 0), common_seed("walk", 0, 7), own[1]]
    assert gate._episodes == [2]


def test_only_where_the_mask_is_true_is_an_episode_seed_asked_for() -> None:
    gate, _ = gate_with()
    env = gate.open(3, autoreset=False)
    env.reset()
    options = {"reset_mask": np.array([False, True, False]), "episode_seed": np.array([-1, 3, -1])}
    obs, _ = env.reset(options=options)
    own = [training_seed("walk", 0, slot, 0) for slot in range(3)]
    assert obs[:, 0].tolist() == [own[0], common_seed("walk", 0, 3), own[2]]


@pytest.mark.parametrize(("number", "error"), [(-1, ValueError), (1.5, TypeError), ("1", TypeError)])
def test_a_common_episode_has_a_whole_number(number: Any, error: type[Exception]) -> None:
    gate, _ = gate_with()
    with pytest.raises(error):
        gate.open().reset(options={"episode_seed": number})


def test_after_a_common_episode_a_vector_goes_on_with_ordinary_ones() -> None:
    gate, _ = gate_with()
    env = gate.open(1)
    env.reset(options={"episode_seed": [2]})
    for _ in range(1 + common_seed("walk", 0, 2) % 9):
        obs, _, terminations, _, _ = env.step(np.zeros((1, 1), np.float32))
    assert terminations[0]
    assert obs[0, 0] == training_seed("walk", 0, 0, 0)
