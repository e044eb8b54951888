"""Promises of the Atari environments: the stock wrappers' bytes, exact replay, and what the two presets say."""

import hashlib
import inspect
import json
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation

from suites.envs import atari


class Recorder:
    """An emulator that remembers the actions it was given."""

    def __init__(self, ale):
        self.ale, self.acts = ale, []

    def act(self, action):
        self.acts.append(action)
        return self.ale.act(action)

    def __getattr__(self, name):
        return getattr(self.ale, name)


def digest(env, seed, steps):
    """One episode, `steps` long at most, under a fixed action sequence."""
    sha, rng = hashlib.sha256(), np.random.default_rng(seed)
    obs, _ = env.reset(seed=seed)
    sha.update(obs.tobytes())
    for _ in range(steps):
        obs, reward, terminated, truncated, info = env.step(int(rng.integers(env.action_space.n)))
        sha.update(obs.tobytes() + json.dumps([reward, terminated, truncated, info["lives"]]).encode())
        if terminated or truncated:
            break
    return sha.hexdigest()


def stock(game, sticky, obs):
    env = gym.make(f"ALE/{game}-v5", frameskip=1, repeat_action_probability=sticky)
    rows, columns = atari.SIZES[obs]
    env = AtariPreprocessing(env, screen_size=(columns, rows), grayscale_obs=obs == "grey84")
    return FrameStackObservation(env, 4) if obs == "grey84" else env


@pytest.mark.parametrize("preset", ["atari100k", "ale-v5"])
@pytest.mark.parametrize(
    ("game", "obs", "seeds"),
    [
        ("Breakout", "grey84", (3, 11, 12)),
        ("Pong", "grey84", (3,)),
        ("MsPacman", "rgb64", (3,)),
        ("Seaquest", "rgb105x80", (3,)),
    ],
)
def test_whole_episodes_equal_the_stock_wrappers_byte_for_byte(game, obs, seeds, preset):
    ours = atari.make(game=game, preset=preset, obs=obs, stack=4 if obs == "grey84" else 1)
    theirs = stock(game, atari.STICKY[preset], obs)
    assert ours.action_space == theirs.action_space
    for seed in seeds:
        rng, over = np.random.default_rng(seed), False
        np.testing.assert_array_equal(ours.reset(seed=seed)[0], theirs.reset(seed=seed)[0])
        while not over:
            action = int(rng.integers(ours.action_space.n))
            obs, *found = ours.step(action)
            expected_obs, *expected = theirs.step(action)
            np.testing.assert_array_equal(obs, expected_obs)
            assert found[:3] == expected[:3]
            assert found[3]["lives"] == expected[3]["lives"]
            over = found[1]


@pytest.mark.parametrize("game", ["tennis", "private_eye", "assault"])
@pytest.mark.parametrize("preset", ["atari100k", "ale-v5"])
def test_an_episode_is_the_same_whatever_was_played_before_in_the_object(game, preset):
    env = atari.make(game=game, preset=preset)
    first = digest(env, 5, 120)
    assert digest(env, 6, 333) != first
    assert digest(env, 5, 120) == first
    assert digest(atari.make(game=game, preset=preset), 5, 120) == first


def test_an_episode_is_the_same_in_a_new_process_and_importing_the_module_loads_no_emulator():
    code = (
        "import sys; from suites.envs import atari; assert 'ale_py' not in sys.modules and 'cv2' not in sys.modules\n"
        "from tests.test_atari import digest; print(digest(atari.make(preset='ale-v5'), 9, 100))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == digest(atari.make(preset="ale-v5"), 9, 100)
    assert found.stderr == ""


def test_a_reset_without_a_seed_goes_on_from_the_last_seed():
    env, again = atari.make(), atari.make()
    noops = []
    for made in (env, again):
        made.reset(seed=4)
        noops.append([made.reset() and made._ale.getEpisodeFrameNumber() for _ in range(5)])
    assert noops[0] == noops[1]
    assert len(set(noops[0])) > 1


@pytest.mark.parametrize(
    ("obs", "stack", "shape"),
    [
        ("grey84", 4, (4, 84, 84)),
        ("grey84", 1, (1, 84, 84)),
        ("rgb64", 1, (64, 64, 3)),
        ("rgb64", 4, (64, 64, 12)),
        ("rgb105x80", 1, (105, 80, 3)),
        ("rgb105x80", 2, (105, 80, 6)),
    ],
)
def test_observations_have_the_declared_shape_and_type_and_are_the_agents_to_keep(obs, stack, shape):
    env = atari.make(obs=obs, stack=stack)
    assert env.observation_space == gym.spaces.Box(0, 255, shape, np.uint8)
    assert env.action_space == gym.spaces.Discrete(4)
    seen = [env.reset(seed=0)[0]] + [env.step(1)[0] for _ in range(6)]
    kept = [o.copy() for o in seen]
    env.step(2)
    for o, k in zip(seen, kept, strict=True):
        assert o in env.observation_space
        np.testing.assert_array_equal(o, k)
    kept[-1] = env.step(2)[0]
    kept[-1].fill(7)  # what an agent does to its copy stays there
    assert not (env.step(2)[0] == 7).all(axis=(-1, -2)).any()


@pytest.mark.parametrize("options", [{}, {"obs": "rgb64", "stack": 1, "preset": "ale-v5"}])
def test_gymnasiums_checker_has_no_complaint(options):
    check_env(atari.make(**options), skip_render_check=True)


@pytest.mark.parametrize(("preset", "share"), [("atari100k", 0.0), ("ale-v5", 0.25)])
def test_sticky_actions_act_in_each_frame_of_ale_v5_and_never_in_atari100k(preset, share):
    env = atari.make(game="pong", preset=preset)
    env.reset(seed=0)
    env._ale = recorder = Recorder(env._ale)
    wanted = []
    for step in range(600):
        env.step(step % 6)
        wanted += [env._buttons[step % 6]] * 4
    changes = np.arange(0, len(wanted), 4)  # a kept action shows in the frame that asks for another one
    assert len(recorder.acts) == len(wanted)
    kept = np.mean([recorder.acts[i] != wanted[i] for i in changes])
    assert kept == pytest.approx(share, abs=0.06)
    second = np.mean([recorder.acts[i + 1] != wanted[i] for i in changes])
    assert second == pytest.approx(share**2, abs=0.03)


def test_a_reset_plays_one_to_thirty_no_ops_as_its_seed_says():
    env = atari.make()
    counts = []
    for seed in range(60):
        env.reset(seed=seed)
        counts.append(env._ale.getEpisodeFrameNumber())
    assert min(counts) >= 1
    assert max(counts) <= 30
    assert len(set(counts)) > 15


def test_the_time_limit_is_27000_steps_and_truncates_without_terminating(monkeypatch):
    assert atari.card()["time_limit"] * atari.card()["frame_skip"] == 108_000
    monkeypatch.setattr(atari, "TIME_LIMIT", 25)
    env = atari.make(game="pong")
    for seed in range(2):
        env.reset(seed=seed)
        ends = [env.step(0)[2:4] for _ in range(25)]
        assert ends == [(False, False)] * 24 + [(False, True)]
        with pytest.raises(gym.error.ResetNeeded):
            env.step(0)


@pytest.mark.parametrize("life_loss", ["ignored", "terminal"])
def test_a_lost_life_never_ends_the_episode_and_is_told_to_those_who_asked(life_loss):
    env = atari.make(game="breakout", life_loss=life_loss)
    _, info = env.reset(seed=0)
    assert info == {"lives": 5, "life_lost": False}
    lives, losses, told, terminated = 5, 0, 0, False
    while not terminated:
        _, _, terminated, truncated, info = env.step(1)
        assert not truncated
        assert terminated == (info["lives"] == 0)
        losses += info["lives"] < lives
        told += info["life_lost"]
        lives = info["lives"]
    assert losses == 5
    assert told == (5 if life_loss == "terminal" else 0)


@pytest.mark.parametrize("game", ["MsPacman", "ms_pacman", "mspacman"])
def test_games_go_by_their_snake_case_and_camel_case_names(game):
    assert atari.rom_of(game)[0] == "ms_pacman"
    assert atari.card(game=game)["env_id"] == "MsPacmanNoFrameskip-v4"
    assert atari.card(game=game, preset="ale-v5")["env_id"] == "ALE/MsPacman-v5"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"game": "brekout"}, "breakout"),
        ({"game": "joust"}, "two players"),
        ({"preset": "atari"}, "atari100k, ale-v5"),
        ({"obs": "rgb"}, "rgb64"),
        ({"life_loss": "yes"}, "ignored, terminal"),
        ({"stack": 0}, "stack"),
    ],
)
def test_a_wrong_option_is_answered_with_the_right_ones(options, says):
    with pytest.raises(ValueError, match=says):
        atari.make(**options)


def test_the_card_takes_makes_options_and_can_be_written_down():
    made, carded = inspect.signature(atari.make), inspect.signature(atari.card)
    assert [(p.name, p.default) for p in made.parameters.values()] == [
        (p.name, p.default) for p in carded.parameters.values()
    ]
    card = atari.card(preset="ale-v5", obs="rgb64", stack=1)
    assert json.loads(json.dumps(card)) == card
    assert (card["sticky"], card["frame_skip"], card["noops"], card["life_loss"]) == (0.25, 4, 30, "ignored")
