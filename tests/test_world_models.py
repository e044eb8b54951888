"""World Models whole: sizes as published, charged as promised, shared phases, and C learns in reality and in dreams."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete

from agents import world_models
from agents.parts.recording import Recording
from agents.protocol import Problem
from results import record
from suites.runner.trial import Trial
from suites.spec import TrialSpec
from tests.in_process import problem_of, train
from tests.probes import Sides

FRAMES = Box(0, 255, (64, 64, 3), np.uint8)
CAR = Box(np.array([-1, 0, 0], np.float32), np.array([1, 1, 1], np.float32))
SMALL: dict[str, Any] = {
    "latent": 4, "hidden": 8, "vision_epochs": 2, "vision_batch": 20, "memory_updates": 5, "memory_batch": 4,
    "sequence": 8, "population": 8, "rollouts": 2, "games": 8,
}  # fmt: skip


def problem(family: str, space: Any, budget: int = 20_000_000) -> Problem:
    return Problem(observation_space=FRAMES, action_space=space, budget=budget, family=family, env_id="test")


def parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    ("family", "space", "published"),
    [("carracing", CAR, (4_348_547, 422_368, 867)), ("take_cover", Discrete(3), (4_446_915, 1_678_785, 1_088))],
)
def test_the_defaults_have_the_published_numbers_of_parameters(family: str, space: Any, published: tuple) -> None:
    agent = world_models.make(problem(family, space), 0)
    assert (parameters(agent.vae), parameters(agent.memory), agent.controller.size) == published


def test_the_ablations_have_the_published_numbers_of_parameters() -> None:
    v_only = world_models.make(problem("carracing", CAR), 0, sees="z")
    hidden = world_models.make(problem("carracing", CAR), 0, sees="z", controller_hidden=40)
    assert (v_only.controller.size, hidden.controller.size) == (32 * 3 + 3, 1_443)


def mean_return(agent: Any, env: Sides, episodes: int = 10) -> float:
    policy, returns = agent.policy("mode"), []
    for episode in range(episodes):
        obs, _ = env.reset(seed=1000 + episode)
        policy.reset(episode)
        total, over = 0.0, False
        while not over:
            obs, reward, terminated, truncated, _ = env.step(policy.act(obs))
            total, over = total + reward, terminated or truncated
        returns.append(total)
    return float(np.mean(returns))


def test_c_learns_from_pictures_in_reality() -> None:
    env = Sides(steps=8)
    agent = world_models.make(
        problem_of(env, 4_000), 0, **SMALL, random_policy="uniform", random_steps=200, sees="z", sigma=0.5
    )
    assert mean_return(train(agent, lambda: Sides(steps=8), 4_000), env) > 7.5  # by chance 4


def test_c_learns_in_dreams_what_holds_in_reality() -> None:
    env = Sides(steps=20, deadly=True)
    config = SMALL | {
        "hidden": 16,
        "memory_updates": 300,
        "memory_batch": 32,
        "rollouts": 8,
        "memory_learning_rate": 5e-3,
    }
    agent = world_models.make(
        problem_of(env, 800), 0, **config, random_policy="uniform", learn_in="dream", done=True, sees="z", sigma=0.5,
        time_limit=20, generations=25, vision_learning_rate=1e-3,
    )  # fmt: skip
    train(agent, lambda: Sides(steps=20, deadly=True), 800)
    assert mean_return(agent, env) > 12  # by chance 2
    world = agent.world_model()
    assert world is not None
    returns, _ = world.imagined_returns(np.stack([env.reset(seed=k)[0] for k in range(20)]), 20, 0) or ([], [])
    assert np.mean(returns) > 2.5  # M has seen few long episodes; by chance 2


def trial(temperature: float, entrant: str) -> TrialSpec:
    config = SMALL | {"latent": 6, "generations": 2, "time_limit": 30, "temperature": temperature, "population": 4}
    return TrialSpec.model_validate(
        {
            "suite": "shared", "task": "cover", "entrant": entrant, "seed": 0, "env": "take_cover",
            "options": {"time_limit": 25}, "budget": 90, "agent": "agents.world_models", "config": config,
            "evaluate": {"every": 45, "episodes": 1, "final_episodes": 2, "policy": "sample"},
        }
    )  # fmt: skip


def run(spec: TrialSpec, results: Path) -> list[dict[str, Any]]:
    path = record.record_path(results, spec.suite, spec.task, spec.entrant, spec.seed)
    record.work_folder(path).mkdir(parents=True)
    Trial(spec, results, checkpoint_every=float("inf")).run()
    return record.read(path).rows


def without_volatile(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name not in record.VOLATILE} for row in rows]


def test_a_phase_that_was_taken_over_leaves_the_record_of_one_that_was_lived_through(tmp_path: Path) -> None:
    alone = run(trial(0.5, "cool"), tmp_path / "alone")
    first = run(trial(1.0, "warm"), tmp_path / "together")
    second = run(trial(0.5, "cool"), tmp_path / "together")
    taken = [(row["phase"], row["taken_from"], row["steps"]) for row in second if row["kind"] == "phase"]
    assert taken == [("vision", "cover/warm/0", 90), ("memory", "cover/warm/0", 0)]
    assert all(row["taken_from"] is None for row in first + alone if row["kind"] == "phase")
    assert without_volatile(second) == without_volatile(alone)
    assert second[-1]["step"] == 90


def test_a_phase_of_other_settings_is_not_taken_over(tmp_path: Path) -> None:
    run(trial(1.0, "warm"), tmp_path)
    other = trial(1.0, "other")
    changed = other.model_copy(update={"config": {**other.config, "memory_updates": 4}})
    rows = run(changed, tmp_path)
    assert [row["taken_from"] for row in rows if row["kind"] == "phase"] == ["cover/warm/0", None]
    another_seed = other.model_copy(update={"seed": 1})
    assert [row["taken_from"] for row in run(another_seed, tmp_path) if row["kind"] == "phase"] == [None, None]


def test_every_real_step_is_charged_and_dreams_are_free(tmp_path: Path) -> None:
    rows = run(trial(1.0, "warm"), tmp_path)
    played = sum(row["length"] for row in rows if row["kind"] == "episode")
    assert rows[-1]["step"] == 90 >= played > 50
    assert json.dumps(rows)


def recording_of(lengths: list[int]) -> Recording:
    """Two games side by side; frame k of episode e is full of 10 e + k."""
    recording = Recording(None, (1, 1, 3), 1)
    episodes = [recording.begin_episode() for _ in lengths]
    for step in range(max(lengths) + 1):
        for episode, length in zip(episodes, lengths, strict=True):
            if step <= length:
                row = recording.add(episode, np.full((1, 1, 3), 10 * episode + step, np.uint8))
                if step < length:
                    recording.act(row, np.array([step]), float(step), terminated=step == length - 1 and episode == 0)
    return recording


def test_a_stream_runs_episode_after_episode_and_knows_what_followed() -> None:
    recording = recording_of([3, 2])
    stream = recording.stream()
    shown = [int(recording.frames([row])[0, 0, 0, 0]) for row in stream["row"]]
    after = [int(recording.frames([row])[0, 0, 0, 0]) for row in stream["next_row"]]
    assert (shown, after) == ([0, 1, 2, 10, 11], [1, 2, 3, 11, 12])
    assert stream["first"].tolist() == [True, False, False, True, False]
    assert stream["known"].all()


def test_a_batch_stays_in_its_episode_or_runs_on_with_a_restart() -> None:
    recording = recording_of([3, 2])
    stream = recording.stream()
    inside = recording.batch(stream, np.array([1]), 4, across=False)
    assert inside["mask"].tolist() == [[True, True, False, False]]
    across = recording.batch(stream, np.array([1]), 4, across=True)
    assert across["mask"].tolist() == [[True, True, True, True]]
    assert across["restart"].tolist() == [[0, 0, 1, 0]]
    assert across["done"].tolist() == [[0, 1, 0, 0]]
    assert across["reward"].tolist() == [[1, 2, 0, 1]]


def test_starts_are_moved_back_so_that_no_sequence_is_cut_short() -> None:
    recording = recording_of([6, 6])
    stream = recording.stream()
    starts = recording.starts(stream, 200, 4, False, np.random.default_rng(0))
    assert set(starts) == {0, 1, 2, 6, 7, 8}
    assert set(recording.starts(stream, 200, 4, True, np.random.default_rng(0))) == set(range(9))


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"random_steps": 500}, "lower random_steps"),
        ({"learn_in": "dream"}, "set done: true or reward: true"),
        ({"rounds": 2}, "learn_in: dream"),
        ({"learn_in": "dream", "done": True, "finetune_steps": 500}, "lower one of them"),
    ],
)
def test_settings_that_cannot_work_are_refused_with_a_remedy(config: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        world_models.make(problem("carracing", CAR, 500), 0, **config)


def test_frames_of_another_size_are_refused() -> None:
    wrong = Problem(
        observation_space=Box(0, 255, (84, 84, 1), np.uint8), action_space=CAR, budget=10, family="x", env_id="Small"
    )
    with pytest.raises(ValueError, match="size: 64, grey: false"):
        world_models.make(wrong, 0)
