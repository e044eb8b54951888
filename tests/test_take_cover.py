"""Promises of Take Cover: exact replay, the published protocol, a random player's score, and nothing left behind."""

import hashlib
import inspect
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import gymnasium as gym
import numpy as np
import psutil
import pytest
from gymnasium.utils.env_checker import check_env

from suites.envs import take_cover


@pytest.fixture(scope="module")
def env():
    made = take_cover.make()
    yield made
    made.close()


def digest(env, seed, steps=2100):
    """One episode, `steps` long at most, under a fixed action sequence."""
    sha, rng = hashlib.sha256(), np.random.default_rng(seed)
    sha.update(env.reset(seed=seed)[0].tobytes())
    for _ in range(steps):
        obs, *rest = env.step(int(rng.integers(3)))
        sha.update(obs.tobytes() + json.dumps(rest[:3]).encode())
        if rest[1] or rest[2]:
            break
    return sha.hexdigest()


def test_whole_episodes_are_the_same_whatever_was_played_before_in_the_object(env):
    first = [digest(env, seed) for seed in range(4)]
    assert len(set(first)) == 4
    digest(env, 77, 50)  # left in the middle
    assert [digest(env, seed) for seed in (3, 1, 0, 2)] == [first[seed] for seed in (3, 1, 0, 2)]
    fresh = take_cover.make()
    assert digest(fresh, 2) == first[2]
    fresh.close()


def test_an_episode_is_the_same_in_a_new_process_which_prints_nothing_and_leaves_no_file(env, tmp_path):
    code = (
        "import sys; from suites.envs import take_cover\n"
        "assert 'vizdoom' not in sys.modules and 'cv2' not in sys.modules\n"
        "from tests.test_take_cover import digest\n"
        "env = take_cover.make(); print(digest(env, 8)); env.close()"
    )
    paths = {**os.environ, "PYTHONPATH": os.getcwd(), "TMPDIR": str(tmp_path)}
    run = [sys.executable, "-c", code]
    found = subprocess.run(run, capture_output=True, text=True, check=True, cwd=tmp_path, env=paths)
    assert found.stdout == digest(env, 8) + "\n"
    assert found.stderr == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or shutil.which("setpriv") is None,
    reason="that a killed player takes its engine along needs Linux and setpriv: apt-get install util-linux",
)
def test_a_killed_player_leaves_no_engine_and_no_shared_memory():
    code = (
        "import psutil, time; from suites.envs import take_cover\n"
        "env = take_cover.make(); env.reset(seed=0)\n"
        "engine, = psutil.Process().children(recursive=True); cmd = engine.cmdline()\n"
        "print(engine.pid, cmd[cmd.index('+viz_instance_id') + 1], flush=True); time.sleep(60)"
    )
    player = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    pid, name = player.stdout.readline().split()
    engine = psutil.Process(int(pid))
    player.send_signal(signal.SIGKILL)
    player.wait()
    player.stdout.close()
    assert [f for f in os.listdir("/dev/shm") if name in f] == []
    deadline = time.monotonic() + 10
    while engine.is_running() and engine.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the engine outlived its player"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({}, (64, 64, 3)),
        ({"stack": 2}, (64, 64, 6)),
        ({"grey": True}, (64, 64, 1)),
        ({"grey": True, "stack": 4, "size": 84}, (84, 84, 4)),
    ],
)
def test_observations_have_the_declared_shape_and_type_and_are_the_agents_to_keep(options, shape):
    env = take_cover.make(**options)
    assert env.observation_space == gym.spaces.Box(0, 255, shape, np.uint8)
    assert env.action_space == gym.spaces.Discrete(3)
    seen = [env.reset(seed=0)[0]] + [env.step(0)[0] for _ in range(20)]
    kept = [o.copy() for o in seen]
    env.step(2)
    for o, k in zip(seen, kept, strict=True):
        assert o in env.observation_space
        np.testing.assert_array_equal(o, k)
    assert not np.array_equal(seen[0], seen[-1])
    env.close()


def test_gymnasiums_checker_has_no_complaint(env):
    check_env(env, skip_render_check=True, skip_close_check=True)


def test_the_bottom_sixth_of_the_screen_is_cut_off(env):
    import cv2

    obs, _ = env.reset(seed=0)
    whole = env.render()
    assert whole.shape == (120, 160, 3)
    np.testing.assert_array_equal(obs, cv2.resize(whole[:100], (64, 64), interpolation=cv2.INTER_AREA))


def test_left_moves_the_view_against_right_and_stay_does_not_move_it(env):
    def after(action):
        obs, _ = env.reset(seed=3)
        for _ in range(25):
            obs = env.step(action)[0]
        return obs[24:40].astype(float).mean(axis=(0, 2))  # the room's far wall, which ends left and right

    def middle(columns):  # of the far wall, brighter than the walls beside it
        bright = np.flatnonzero(columns > (columns.max() + columns.min()) / 2)
        return bright.mean()

    left, stay, right = (middle(after(action)) for action in range(3))
    assert left > stay + 3
    assert right < stay - 3


def test_the_time_limit_truncates_at_its_step_without_terminating():
    assert take_cover.card()["time_limit"] == 2100
    env = take_cover.make(time_limit=40)
    for seed in range(3):
        env.reset(seed=seed)
        ends = [env.step(1)[2:4] for _ in range(40)]
        assert ends == [(False, False)] * 39 + [(False, True)]
        with pytest.raises(gym.error.ResetNeeded):
            env.step(1)
    env.close()


def test_the_default_time_limit_is_reached_by_who_cannot_die(env):
    env.reset(seed=0)
    env._game.send_game_command("iddqd")
    steps, truncated = 0, False
    while not truncated:
        _, reward, terminated, truncated, _ = env.step(1)
        steps += 1
        assert (reward, terminated) == (1.0, False)
    assert steps == 2100


def test_every_tic_is_worth_one_and_a_skipped_tic_as_much():
    lengths = {}
    for skip in (1, 4):
        env = take_cover.make(frame_skip=skip)
        env.reset(seed=1)
        rewards, terminated = [], False
        while not terminated:
            _, reward, terminated, _, _ = env.step(1)
            rewards.append(reward)
        env.close()
        assert set(rewards[:-1]) == {float(skip)}
        assert 1 <= rewards[-1] <= skip
        lengths[skip] = sum(rewards)
    assert lengths[1] == lengths[4]  # who only stays dies in the same tic


def test_a_uniformly_random_player_scores_as_published(env):
    # Published (World Models, Take Cover): 210 ± 108 over 100 episodes. 1,000 episodes here: 219 ± 99.
    returns = []
    for seed in range(60):
        rng, over, total = np.random.default_rng(seed), False, 0.0
        env.reset(seed=seed)
        while not over:
            _, reward, terminated, truncated, _ = env.step(int(rng.integers(3)))
            total, over = total + reward, terminated or truncated
        returns.append(total)
    assert 150 <= np.mean(returns) <= 270
    assert 50 <= np.std(returns) <= 160


def test_a_hit_that_does_not_kill_reddens_the_screen_if_asked_and_changes_nothing_else(env):
    reddened = take_cover.make(flashes=True)

    def game(env):  # one with a hit: a stretch of redness, and the health that is left
        rng, over, red, health = np.random.default_rng(4), False, [], []
        obs, _ = env.reset(seed=4)
        while not over:
            red.append(obs[..., 0].mean() - obs[..., 1].mean())
            health.append(env._game.get_state().game_variables[0])
            obs, _, terminated, truncated, _ = env.step(int(rng.integers(3)))
            over = terminated or truncated
        return np.array(red), np.array(health)

    (plain, health), (shown, same) = game(env), game(reddened)
    reddened.close()
    np.testing.assert_array_equal(health, same)
    hit = int(np.flatnonzero(np.diff(health) < 0)[0]) + 1
    np.testing.assert_array_equal(plain[:hit], shown[:hit])
    assert plain.max() < 20
    assert shown[hit] > 100


@pytest.mark.parametrize("option", ["size", "stack", "time_limit", "frame_skip"])
def test_an_option_below_one_is_refused_by_name(option):
    with pytest.raises(ValueError, match=option):
        take_cover.make(**{option: 0})


def test_the_card_takes_makes_options_and_can_be_written_down():
    made, carded = inspect.signature(take_cover.make), inspect.signature(take_cover.card)
    assert [(p.name, p.default) for p in made.parameters.values()] == [
        (p.name, p.default) for p in carded.parameters.values()
    ]
    card = take_cover.card(grey=True, stack=4)
    assert json.loads(json.dumps(card)) == card
    assert (card["sticky"], card["frame_skip"], card["noops"], card["time_limit"]) == (0.0, 1, 0, 2100)
