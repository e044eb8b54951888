"""Promises of CarRacing: gymnasium's very frames and rewards, cut as the options say, ended by the time limit."""

from __future__ import annotations

import copy
import gc
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import gymnasium as gym
import numpy as np
import psutil
import pygame
import pytest
from gymnasium.utils.env_checker import check_env
from numpy.typing import NDArray
from stable_baselines3.common.preprocessing import is_image_space

from suites.envs import carracing

Driver = Callable[[int], Any]  # the action at a step
NATIVE: dict[str, Any] = {"size": 96, "crop_hud": False}


def brownian(seed: int) -> Driver:
    """A random walk of steering, gas and brake: it drives along, leaves the road, and spins."""
    walk = np.array([0.0, 0.5, 0.0])
    rng = np.random.default_rng(seed)

    def act(step: int) -> NDArray[np.float32]:
        walk[:] = np.clip(walk + rng.normal(size=3) * [0.3, 0.3, 0.1], [-1, 0, 0], [1, 1, 0.3])
        return walk.astype(np.float32)

    return act


def spinning(step: int) -> NDArray[np.float32]:
    return np.array([1.0 if step % 150 > 75 else -1.0, 1.0, 0.0], np.float32)


def straight(step: int) -> NDArray[np.float32]:
    return np.array([0.0, 1.0, 0.0], np.float32)


def cruising(step: int) -> NDArray[np.float32]:
    """Gently straight on: at the first bend off the road, and without slipping to the edge of the playfield."""
    return np.array([0.0, 0.3, 0.0], np.float32)


def buttons(step: int) -> int:
    return [3, 3, 3, 1, 3, 0, 2, 3, 4, 3][step // 4 % 10]


def stock(**options: Any) -> gym.Env[Any, Any]:
    return gym.make("CarRacing-v3", disable_env_checker=True, **options)


def compare_episode(seed: int, act: Driver, steps: int, **options: Any) -> tuple[bool, bool]:
    """Plays gymnasium's environment and ours side by side; how the episode ended."""
    theirs, ours = stock(**options), carracing.make(**NATIVE, **options)
    obs, _ = theirs.reset(seed=seed)
    np.testing.assert_array_equal(ours.reset(seed=seed)[0], obs)
    for step in range(steps):
        action = act(step)
        obs, *facts = theirs.step(action)
        our_obs, *our_facts = ours.step(action)
        assert np.array_equal(our_obs, obs), f"step {step}: {np.count_nonzero(our_obs != obs)} bytes differ"
        assert our_facts == facts, f"step {step}"
        if facts[1] or facts[2]:
            return bool(facts[1]), bool(facts[2])
    return False, False


def test_an_episode_to_the_time_limit_is_gymnasiums_to_the_byte() -> None:
    assert compare_episode(0, brownian(0), 1000) == (False, True)


def test_an_episode_of_spinning_is_gymnasiums_to_the_byte() -> None:
    compare_episode(5, spinning, 500)


def test_an_episode_that_leaves_the_playfield_is_gymnasiums_to_the_byte() -> None:
    assert compare_episode(0, cruising, 1000) == (True, False)


def test_an_episode_of_buttons_is_gymnasiums_to_the_byte() -> None:
    compare_episode(3, buttons, 300, continuous=False)


@pytest.mark.parametrize("crop_hud", [False, True])
def test_wheels_too_fast_for_their_indicators_are_drawn_as_gymnasium_draws_them(crop_hud: bool) -> None:
    theirs, ours = stock(), carracing.make(size=84, crop_hud=crop_hud)
    theirs.reset(seed=4)
    ours.reset(seed=4)
    overflow = False
    for step in range(120):
        for env in (theirs, ours):
            for wheel in env.unwrapped.car.wheels:  # type: ignore[attr-defined]
                wheel.omega += 600.0 if step == 60 else 0.0
        obs, our_obs = theirs.step(straight(0))[0], ours.step(straight(0))[0]
        np.testing.assert_array_equal(our_obs, shrink(obs, crop_hud, 84))
        overflow |= bool(obs[80:84, :, 2].max() > 150)  # blue bars over a road and grass that are not blue
    assert overflow, "no indicator left its panel, so nothing was tested"


def shrink(frame: NDArray[np.uint8], crop_hud: bool, size: int) -> NDArray[np.uint8]:
    cut = np.ascontiguousarray(frame[:84] if crop_hud else frame)
    return np.asarray(cv2.resize(cut, (size, size), interpolation=cv2.INTER_AREA), np.uint8)


def test_options_cut_shrink_grey_and_stack_gymnasiums_frames() -> None:
    theirs, act = stock(), brownian(7)
    plain, stacked = carracing.make(), carracing.make(grey=True, stack=3, size=48)
    first = theirs.reset(seed=7)[0]
    frames = [first, first, first]
    plain.reset(seed=7)
    start = stacked.reset(seed=7)[0]
    kept = start.copy()
    for step in range(60):
        action = act(step)
        frames.append(theirs.step(action)[0])
        np.testing.assert_array_equal(plain.step(action)[0], shrink(frames[-1], True, 64))
        greys = [cv2.cvtColor(shrink(frame, True, 48), cv2.COLOR_RGB2GRAY) for frame in frames[-3:]]
        np.testing.assert_array_equal(stacked.step(action)[0], np.stack(greys, axis=2))
    np.testing.assert_array_equal(start, kept, err_msg="a later step wrote into an earlier observation")


@pytest.mark.parametrize("size", [64, 96])
@pytest.mark.parametrize(("grey", "stack", "channels"), [(False, 1, 3), (True, 1, 1), (True, 4, 4), (False, 2, 6)])
def test_observations_are_images_of_the_declared_shape(size: int, grey: bool, stack: int, channels: int) -> None:
    env = carracing.make(size=size, grey=grey, stack=stack)
    assert env.observation_space == gym.spaces.Box(0, 255, (size, size, channels), np.uint8)
    assert is_image_space(env.observation_space)
    for obs in (env.reset(seed=0)[0], env.step(straight(0))[0]):
        assert env.observation_space.contains(obs)
        assert obs.flags.c_contiguous


def test_actions_are_three_axes_or_five_buttons() -> None:
    low, high = np.array([-1, 0, 0], np.float32), np.ones(3, np.float32)
    assert carracing.make().action_space == gym.spaces.Box(low, high)
    assert carracing.make(continuous=False).action_space == gym.spaces.Discrete(5)


@pytest.mark.parametrize("crop_hud", [False, True])
def test_the_crop_removes_all_that_the_indicators_say(crop_hud: bool) -> None:
    env = carracing.make(size=96, crop_hud=crop_hud)
    env.reset(seed=0)
    game: Any = env.unwrapped
    pictures = []
    for shown in (0.0, 888.0):
        game.reward = shown
        for wheel in game.car.wheels:
            wheel.omega = shown / 10
        pictures.append(env.step(np.array([0, 0, 1], np.float32))[0])
        env.reset(seed=0)
    assert np.array_equal(*pictures) == crop_hud


@pytest.mark.parametrize("times", [1, 3])
def test_the_time_limit_truncates_at_its_frame_and_never_terminates(times: int) -> None:
    env: Any = carracing.make(time_limit=40)
    for _ in range(2):
        env.reset(seed=0)
        ends = [env.hold(straight(0), times)[2:4] for _ in range(-(-40 // times))]
        assert ends == [(False, False)] * (len(ends) - 1) + [(False, True)]
        assert env.elapsed == 40


@pytest.mark.parametrize(("time_limit", "act"), [(1000, cruising), (100, brownian(11))])
def test_holding_an_action_is_stepping_with_it_and_adding_up_the_rewards(time_limit: int, act: Driver) -> None:
    held: Any = carracing.make(**NATIVE, time_limit=time_limit)
    stepped: Any = carracing.make(**NATIVE, time_limit=time_limit)
    np.testing.assert_array_equal(held.reset(seed=2)[0], stepped.reset(seed=2)[0])
    over = False
    for step in range(time_limit):
        action, total = act(step), 0.0
        for _ in range(3):
            obs, reward, terminated, truncated, info = stepped.step(action)
            total += reward
            if terminated or truncated:
                break
        held_obs, *facts = held.hold(action, 3)
        np.testing.assert_array_equal(held_obs, obs)
        assert facts == [total, terminated, truncated, info]
        over = terminated or truncated
        if over:
            break
    assert over
    assert stepped.elapsed % 3 != 0, "the episode should end in the middle of a held action"


@pytest.mark.filterwarnings("ignore:.*is different from the unwrapped version")  # it is wrapped, on purpose
def test_gymnasiums_checker_finds_no_fault() -> None:
    check_env(carracing.make(), skip_render_check=True)
    check_env(carracing.make(continuous=False, grey=True, stack=2), skip_render_check=True)


def test_a_used_object_plays_the_same_episode_as_a_fresh_one() -> None:
    used, fresh = carracing.make(), carracing.make()
    for seed, steps in ((8, 30), (9, 120)):
        act = brownian(seed)
        used.reset(seed=seed)
        for step in range(steps):
            used.step(act(step))
    np.testing.assert_array_equal(used.reset(seed=10)[0], fresh.reset(seed=10)[0])
    act = brownian(10)
    for step in range(120):
        action = act(step)
        obs, *facts = used.step(action)
        fresh_obs, *fresh_facts = fresh.step(action)
        np.testing.assert_array_equal(obs, fresh_obs)
        assert facts == fresh_facts


def test_resets_keep_only_the_few_kilobytes_that_box2d_keeps() -> None:
    env = carracing.make()
    for seed in range(30):
        env.reset(seed=seed)
    gc.collect()
    before = psutil.Process().memory_info().rss
    for seed in range(100):
        env.reset(seed=seed)
    gc.collect()
    grown = (psutil.Process().memory_info().rss - before) / 100
    assert grown < 10_000, f"{grown:.0f} bytes per reset"


def drive(game: gym.Env[Any, Any], seed: int) -> Iterator[NDArray[np.uint8]]:
    """Frames of a walk, one at a time."""
    act = brownian(seed)
    yield game.reset(seed=seed)[0]
    for step in range(60):
        yield game.step(act(step))[0]


def test_games_that_share_their_canvases_leave_each_other_alone() -> None:
    kinds: list[dict[str, Any]] = [NATIVE, {"size": 96, "crop_hud": True}, NATIVE]  # with and without indicators
    alone = [list(drive(carracing.make(**kind), seed)) for seed, kind in enumerate(kinds)]
    games = [drive(carracing.make(**kind), seed) for seed, kind in enumerate(kinds)]
    for frames in zip(*alone, *games, strict=True):  # a step of each, then the next one of each
        for expected, found in zip(frames[: len(kinds)], frames[len(kinds) :], strict=True):
            np.testing.assert_array_equal(found, expected)


def test_another_user_of_pygame_may_quit_it() -> None:
    quit_on, left_alone = carracing.make(**NATIVE), carracing.make(**NATIVE)
    for env in (quit_on, left_alone):
        env.reset(seed=0)
    expected = left_alone.step(straight(0))[0]
    pygame.quit()
    np.testing.assert_array_equal(quit_on.step(straight(0))[0], expected)


def test_a_copy_has_the_same_options() -> None:
    game: Any = carracing.make(continuous=False).unwrapped
    twin = copy.deepcopy(game)
    assert (twin.continuous, twin.panel) == (False, False)


def test_a_video_frame_can_be_had() -> None:
    env = carracing.make()
    env.reset(seed=0)
    frame: Any = env.render()
    assert frame.shape == (400, 600, 3)


@pytest.mark.parametrize("option", ["size", "stack", "time_limit"])
def test_an_option_below_one_is_named(option: str) -> None:
    options: dict[str, Any] = {option: 0}
    with pytest.raises(ValueError, match=f"carracing: {option} must be at least 1, found 0"):
        carracing.make(**options)


def test_the_card_is_data_and_follows_the_options() -> None:
    card = carracing.card(size=84, grey=True, stack=4, continuous=False, time_limit=500)
    assert json.loads(json.dumps(card)) == card
    assert card["observation"] == "uint8 84x84x4, grey"
    assert card["time_limit"] == 500
    assert carracing.card(**NATIVE)["wrappers"] == []


def test_importing_the_module_does_not_import_the_simulator() -> None:
    code = "import sys, suites.envs.carracing; assert not {'pygame', 'Box2D', 'cv2', 'torch'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], check=True, timeout=120)
