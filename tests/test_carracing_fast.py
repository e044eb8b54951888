"""Promises of the CarRacing to train in: the exact environment's game, near pixels, and nothing drawn unseen."""

from __future__ import annotations

import copy
import inspect
import json
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from numpy.typing import NDArray
from stable_baselines3.common.preprocessing import is_image_space

from suites.envs import carracing, carracing_fast
from tests.bench_carracing import Act, chauffeur

DRIVERS = ["along the road", "random walk", "straight on"]
EPISODES = [(seed, driver) for seed in (0, 1, 2) for driver in DRIVERS[:2]]


def random_walk(seed: int) -> Act:
    """Steering, gas and brake wander: it drives along, leaves the road, and spins."""
    walk, rng = np.array([0.0, 0.5, 0.0]), np.random.default_rng(seed)

    def act() -> NDArray[np.float32]:
        walk[:] = np.clip(walk + rng.normal(size=3) * [0.3, 0.3, 0.1], [-1, 0, 0], [1, 1, 0.3])
        return walk.astype(np.float32)

    return act


def straight_on() -> NDArray[np.float32]:
    """Off the road at the first bend, and without slipping to the edge of the playfield and over it."""
    return np.array([0.0, 0.3, 0.0], np.float32)


def actor(driver: str, seed: int, game: Any) -> Act:
    return {"along the road": chauffeur(game), "random walk": random_walk(seed), "straight on": straight_on}[driver]


@dataclass(frozen=True)
class Compared:
    """An episode in the exact environment and in the fast one, side by side."""

    exact: list[Any]  # what each step answered but for the picture, and where the car was then
    fast: list[Any]
    differences: NDArray[np.float64]  # mean absolute difference of each picture
    levels: NDArray[np.float64]  # share of the channels that differ by 0, 1, .. levels
    strays: int  # pixels that are black and among black ones in the exact picture, and are not black in the fast one


def state(game: Any) -> tuple[float, ...]:
    bodies = [game.car.hull, *game.car.wheels]
    return (*(x for body in bodies for x in (*body.position, body.angle)), *(w.omega for w in game.car.wheels))


@cache
def compare(seed: int, driver: str) -> Compared:
    exact, fast = carracing.make(), carracing_fast.make()
    theirs, ours = exact.reset(seed=seed)[0], fast.reset(seed=seed)[0]
    act = actor(driver, seed, exact.unwrapped)
    answers, differences, levels, strays, over = [], [], np.zeros(256), 0, False
    while True:
        off = cv2.absdiff(theirs, ours)
        differences.append(off.mean())
        levels += np.bincount(off.ravel(), minlength=256)
        strays += np.count_nonzero(ours[~cv2.dilate(theirs, np.ones((3, 3), np.uint8)).any(axis=2)].any(axis=1))
        if over:
            break
        action = act()
        theirs, *facts = exact.step(action)
        ours, *near_facts = fast.step(action)
        answers.append(((facts, state(exact.unwrapped)), (near_facts, state(fast.unwrapped))))
        over = bool(facts[1] or facts[2])
    return Compared(
        exact=[answer for answer, _ in answers],
        fast=[answer for _, answer in answers],
        differences=np.array(differences),
        levels=levels / levels.sum(),
        strays=strays,
    )


@pytest.mark.parametrize(("seed", "driver"), [*EPISODES, (0, "straight on")])
def test_a_whole_episode_is_the_exact_one_in_all_but_its_pixels(seed: int, driver: str) -> None:
    both = compare(seed, driver)
    assert both.fast == both.exact


def test_the_compared_episodes_end_in_both_ways_and_one_of_them_nearly_is_a_lap() -> None:
    ends = {tuple(compare(seed, driver).fast[-1][0][1:3]) for seed, driver in EPISODES}
    assert ends == {(True, False), (False, True)}
    assert compare(0, "straight on").fast[-1][0] == [-100, True, False, {"lap_finished": False}]
    assert sum(facts[0] for facts, _ in compare(1, "along the road").fast) > 800


@pytest.mark.parametrize(("seed", "driver"), [*EPISODES, (0, "straight on")])
def test_pixels_are_near_the_exact_ones_in_every_frame(seed: int, driver: str) -> None:
    both = compare(seed, driver)
    assert both.differences.mean() < 0.4
    assert both.differences.max() < 0.8
    assert both.levels[:2].sum() > 0.95, "at most one level off"
    assert both.levels[:17].sum() > 0.995, "at most 16 levels off"


@pytest.mark.parametrize("driver", DRIVERS[:2])
def test_the_stated_difference_is_the_measured_one(driver: str) -> None:
    found = np.concatenate([compare(seed, driver).differences for seed in (0, 1, 2)]).mean()
    assert found == pytest.approx(carracing_fast.DIFFERENCE[driver], abs=0.02)
    assert f"{carracing_fast.DIFFERENCE[driver]}" in carracing_fast.card()["pixels"]


def test_the_zoom_in_is_as_near_as_what_follows() -> None:
    zooms = [compare(seed, driver).differences[:50].mean() for seed, driver in EPISODES]
    assert max(zooms) < 0.4


def test_outside_of_the_playfield_all_is_black() -> None:
    assert [compare(*episode).strays for episode in [*EPISODES, (0, "straight on")]] == [0] * 7


def test_tiles_change_their_shade_when_they_are_visited() -> None:
    from gymnasium.envs.box2d.car_racing import PLAYFIELD

    from suites.envs.carracing_fast_drawing import PER_UNIT

    env: Any = carracing_fast.make()
    env.reset(seed=0)
    game = env.unwrapped
    act, before = chauffeur(game), [int(tile.color[0]) for tile in game.road]
    assert before[5:8] == [107, 102, 104]  # 102 + 2.55 * (i % 3), cut to whole levels
    for _ in range(150):
        env.hold(act(), 2)
    shades = [int(tile.color[0]) for tile in game.road]
    assert {shade for tile, shade in zip(game.road, shades, strict=True) if tile.road_visited} == {102}
    middles = [np.mean(tile.fixtures[0].shape.vertices, axis=0) for tile in game.road]
    columns, rows = ((np.array(middles).T + PLAYFIELD) * PER_UNIT).astype(int)
    assert game.field.levels[0][rows, columns].tolist() == [[shade - 2] * 3 + [255] for shade in shades]
    assert 20 < np.count_nonzero(np.array(shades) != before) < 100


@pytest.mark.parametrize(
    "options",
    [
        {"size": 96},
        {"size": 84, "grey": True, "stack": 4, "crop_hud": False},
        {"size": 32},
        {"size": 128},
        {"grey": True, "stack": 2},
        {"crop_hud": False, "continuous": False},
    ],
    ids=str,
)
def test_every_option_means_what_it_means_in_the_exact_environment(options: dict[str, Any]) -> None:
    exact, fast = carracing.make(**options), carracing_fast.make(**options)
    assert fast.observation_space == exact.observation_space
    assert fast.action_space == exact.action_space
    theirs, ours = exact.reset(seed=1)[0], fast.reset(seed=1)[0]
    start, kept = ours, ours.copy()
    act = chauffeur(exact.unwrapped)
    for step in range(80):
        assert np.abs(theirs.astype(int) - ours).mean() < 1.0
        assert fast.observation_space.contains(ours)
        assert ours.flags.c_contiguous
        action = act() if options.get("continuous", True) else [3, 3, 1, 0, 2, 4][step // 4 % 6]
        theirs, *facts = exact.step(action)
        ours, *near_facts = fast.step(action)
        assert near_facts == facts
    np.testing.assert_array_equal(start, kept, err_msg="a later step wrote into an earlier observation")
    assert is_image_space(fast.observation_space)


def test_the_indicators_are_the_exact_ones() -> None:
    exact, fast = (module.make(size=96, crop_hud=False) for module in (carracing, carracing_fast))
    for env in (exact, fast):
        env.reset(seed=3)
    act = random_walk(3)
    for _ in range(60):
        action = act()
        np.testing.assert_array_equal(fast.step(action)[0][84:], exact.step(action)[0][84:])


@pytest.mark.parametrize("crop_hud", [False, True])
def test_wheels_too_fast_for_their_indicators_are_drawn_as_in_the_exact_environment(crop_hud: bool) -> None:
    envs = [module.make(size=96, crop_hud=crop_hud) for module in (carracing, carracing_fast)]
    pictures = []
    for env in envs:
        env.reset(seed=4)
        for step in range(80):
            for wheel in env.unwrapped.car.wheels:  # type: ignore[attr-defined]
                wheel.omega += 600.0 if step == 79 else 0.0
            picture = env.step(straight_on())[0]
        pictures.append(picture.astype(int))
    assert np.abs(pictures[0] - pictures[1]).max() <= 2  # shrunk in two ways where rows are cropped
    assert pictures[1][:, 20:40, 2].max() > 150, "no blue bar over road and grass, so nothing was tested"


@pytest.mark.parametrize("steer", [-1.0, 1.0])
def test_the_car_is_near_the_exact_one_wherever_its_wheels_point(steer: float) -> None:
    exact, fast = carracing.make(size=96, crop_hud=False), carracing_fast.make(size=96, crop_hud=False)
    pictures, around = [(exact.reset(seed=0)[0], fast.reset(seed=0)[0])], (slice(66, 78), slice(45, 51))
    for step in range(90):
        action = np.array([steer, 0.3 * (step < 40), 0], np.float32)
        pictures.append((exact.step(action)[0], fast.step(action)[0]))
    angles = [wheel.joint.angle for wheel in exact.unwrapped.car.wheels]  # type: ignore[attr-defined]
    assert np.abs(angles[:2]).min() > 0.4 > 0.01 > np.abs(angles[2:]).max()
    # 4.0 measured; 4.6 and more with wheels straight, turned the other way, or without the stripes on their treads
    assert np.mean([cv2.absdiff(theirs[around], ours[around]) for theirs, ours in pictures[56:]]) < 4.4


def test_holding_an_action_is_stepping_with_it_and_draws_one_picture() -> None:
    held, stepped = carracing_fast.make(time_limit=100), carracing_fast.make(time_limit=100)
    np.testing.assert_array_equal(held.reset(seed=2)[0], stepped.reset(seed=2)[0])
    view, act, drawn, over = held.unwrapped.field.view, random_walk(11), [], False  # type: ignore[attr-defined]
    held.unwrapped.field.view = lambda camera: (drawn.append(camera), view(camera))[1]  # type: ignore[attr-defined]
    decisions = 0
    while not over:
        action, total = act(), 0.0
        for _ in range(3):
            obs, reward, terminated, truncated, info = stepped.step(action)
            total += float(reward)
            over = terminated or truncated
            if over:
                break
        held_obs, *facts = held.hold(action, 3)  # type: ignore[attr-defined]
        np.testing.assert_array_equal(held_obs, obs)
        assert facts == [total, terminated, truncated, info]
        decisions += 1
    assert len(drawn) == decisions == 34


def test_a_used_object_plays_the_same_episode_as_a_fresh_one() -> None:
    used, fresh = carracing_fast.make(), carracing_fast.make()
    for seed, steps in ((8, 30), (9, 120)):
        used.reset(seed=seed)
        act = random_walk(seed)
        for _ in range(steps):
            used.step(act())
    np.testing.assert_array_equal(used.reset(seed=10)[0], fresh.reset(seed=10)[0])
    act = random_walk(10)
    for _ in range(120):
        action = act()
        obs, *facts = used.step(action)
        fresh_obs, *fresh_facts = fresh.step(action)
        np.testing.assert_array_equal(obs, fresh_obs)
        assert facts == fresh_facts


@pytest.mark.filterwarnings("ignore:.*is different from the unwrapped version")  # it is wrapped, on purpose
def test_gymnasiums_checker_finds_no_fault() -> None:
    check_env(carracing_fast.make(), skip_render_check=True)


def test_a_copy_has_the_same_options() -> None:
    game: Any = carracing_fast.make(continuous=False, crop_hud=False).unwrapped
    twin = copy.deepcopy(game)
    assert (twin.continuous, twin.panel, twin.observation_space.shape) == (False, True, (96, 96, 4))


def test_a_video_frame_can_be_had() -> None:
    env = carracing_fast.make()
    env.reset(seed=0)
    frame: Any = env.render()
    assert frame.shape == (400, 600, 3)


def test_the_options_are_the_exact_environments() -> None:
    assert inspect.signature(carracing_fast.make) == inspect.signature(carracing.make)


@pytest.mark.parametrize("option", ["size", "stack", "time_limit"])
def test_an_option_below_one_is_named(option: str) -> None:
    options: dict[str, Any] = {option: 0}
    with pytest.raises(ValueError, match=f"carracing: {option} must be at least 1, found 0"):
        carracing_fast.make(**options)


def test_the_card_says_that_this_is_another_environment_evaluated_in_the_exact_one() -> None:
    options: dict[str, Any] = {"size": 84, "grey": True, "stack": 4, "continuous": False, "time_limit": 500}
    card, exact = carracing_fast.card(**options), carracing.card(**options)
    assert json.loads(json.dumps(card)) == card
    assert {key for key in card if card[key] != exact[key]} == {"env_id", "pixels"}
    assert card["env_id"] == "CarRacingFast-v3"
    assert carracing_fast.EVALUATED_IN == "carracing"
    assert carracing_fast.FAMILY == carracing.FAMILY


def test_importing_the_module_does_not_import_the_simulator() -> None:
    code = "import sys, suites.envs.carracing_fast; assert not {'pygame', 'Box2D', 'cv2', 'torch'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], check=True, timeout=120)
