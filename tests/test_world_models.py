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
from agents.parts.world_settings import refuse_impossible
from agents.protocol import Problem
from results import record
from suites.runner.trial import Trial
from suites.spec import TrialSpec
from tests.in_process import Alone, problem_of, spend, train
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
    assert mean_return(train(agent, lambda: Sides(steps=8), 4_000), env) > 6.5  # by chance 4


def test_c_learns_in_dreams_what_holds_in_reality() -> None:
    env = Sides(steps=20, deadly=True)
    config = SMALL | {
        "hidden": 16,
        "vision_epochs": 2,
        "memory_updates": 600,
        "memory_batch": 16,
        "rollouts": 8,
        "memory_learning_rate": 5e-3,
    }
    agent = world_models.make(
        problem_of(env, 800), 0, **config, random_policy="uniform", learn_in="dream", done=True, sees="z", sigma=0.5,
        time_limit=20, generations=20, vision_learning_rate=1e-3,
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
    """Two games side by side; frame k of episode e is full of 10 e + k, modulo 256."""
    recording = Recording(None, (1, 1, 3), 1)
    episodes = [recording.begin_episode() for _ in lengths]
    for step in range(max(lengths) + 1):
        for episode, length in zip(episodes, lengths, strict=True):
            if step <= length:
                row = recording.add(episode, np.full((1, 1, 3), (10 * episode + step) % 256, np.uint8))
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


def test_many_sequences_begin_with_the_episode_and_all_of_it_is_seen() -> None:
    recording = recording_of([500, 500])
    stream = recording.stream()
    starts = recording.starts(stream, 20_000, 250, False, np.random.default_rng(0)) % 500
    assert starts.max() == 250
    assert np.mean(starts == 0) == pytest.approx(250 / 749, abs=0.02)  # where every dream begins
    assert np.mean(starts == 250) == pytest.approx(250 / 749, abs=0.02)
    seen = np.array([np.mean((starts <= step) & (step < starts + 250)) for step in range(500)])
    assert seen.min() > 0.3
    assert np.mean((starts > 0) & (starts < 125)) == pytest.approx(124 / 749, abs=0.02)  # and others anywhere between


@pytest.mark.parametrize("length", [6, 7, 100])
def test_a_sequence_as_long_as_the_episode_begins_with_it(length: int) -> None:
    recording = recording_of([6, 3])
    starts = recording.starts(recording.stream(), 100, length, False, np.random.default_rng(0))
    assert set(starts) == {0, 6}


@pytest.mark.parametrize("length", [10, 50, 200])
def test_rows_of_short_and_of_long_episodes_are_seen_as_often(length: int) -> None:
    recording = recording_of([20, 200])
    stream = recording.stream()
    starts = recording.starts(stream, 20_000, length, False, np.random.default_rng(0))
    mask = recording.batch(stream, starts, length, False)["mask"].numpy()
    of_the_short = mask[starts < 20].sum() / 20, mask[starts >= 20].sum() / 200
    assert of_the_short[0] / of_the_short[1] == pytest.approx(1.0, rel=0.1)


def test_the_spread_of_rewards_is_that_of_what_was_done() -> None:
    assert recording_of([3, 2]).reward_spread() == pytest.approx(np.std([0, 1, 2, 0, 1]))
    assert recording_of([1]).reward_spread() == 1.0


DREAMING: dict[str, Any] = SMALL | {
    "random_policy": "uniform", "learn_in": "dream", "done": True, "sees": "z", "time_limit": 5, "generations": 2,
    "test_rollouts": 2,
}  # fmt: skip


def learned(env: Sides, budget: int, door: type[Alone] = Alone, **config: Any) -> tuple[Any, list[dict[str, Any]]]:
    """An agent that has spent its budget, and its reports, with what it was like at each."""
    agent, told = world_models.make(problem_of(env, budget), 0, **config), []

    def report(metrics: Any = None, **given: Any) -> None:
        told.append({**given, "best": agent.best_tested, "generation": agent.evolution.generation, "steps": gate.steps})

    gate = door(lambda: Sides(env.limit, env.deadly), task="test", seed=0, budget=budget, log=lambda row: None)
    spend(agent, gate, report)
    return agent, told


@pytest.mark.parametrize("learner", ["cma", "ppo"])
def test_what_fell_due_in_recording_is_evaluated_when_the_dreams_are_over(learner: str) -> None:
    small = {"learner": learner, "dream_steps": 64 * 256, "memory_updates": 1, "vision_epochs": 1}
    _, told = learned(Sides(steps=4, deadly=True), 60, **DREAMING | small | {"sees": "zh"}, rounds=2)
    dreamt = [row for row in told if "dream" in row["phase"].name]
    assert len(dreamt) > 4  # there is much to be saved at
    due = [row for row in told if not row.get("unchanged")]
    assert [(row["steps"], row["phase"].done == row["phase"].total) for row in due] == [(30, True), (60, True)]
    if learner == "cma":
        assert [row["generation"] for row in due] == [2, 4]
        assert [row["phase"].done for row in dreamt] == [0, 1, 2, 0, 1, 2]


def test_each_round_has_its_own_curiosity_and_its_own_tests() -> None:
    config = DREAMING | {"memory_updates": 1, "vision_epochs": 1, "population": 4, "curious_generations": 1}
    agent, told = learned(Sides(steps=4, deadly=True), 180, **config, rounds=3, test_every=1)
    assert agent.wondering.generation == 2
    dreamt = [row["best"] for row in told if row["phase"].name == "evolve in the dream"]
    assert [best == -np.inf for best in dreamt] == [True, False, False] * 3


REAL: dict[str, Any] = SMALL | {"random_policy": "uniform", "random_steps": 20, "memory_updates": 0, "sees": "z"}


def test_before_the_first_test_c_is_the_mean() -> None:
    agent, _ = learned(Sides(steps=4), 150, **REAL, test_every=10)  # a generation takes 64 steps
    assert agent.evolution.generation == 2
    assert agent.parameters.any()
    assert np.array_equal(agent.parameters, agent.evolution.mean)


def test_the_last_mean_is_tested_where_a_test_is_due() -> None:
    agent, _ = learned(Sides(steps=4), 1000, **REAL, generations=2, test_every=2, test_rollouts=2)
    assert agent.tested == 2
    assert agent.best_tested > -np.inf


def test_where_the_reward_teaches_v_the_m_that_it_taught_is_taken_over_with_v(tmp_path: Path) -> None:
    class Shelf(Alone):
        def remember(self, phase: str, key: Any, write: Any) -> None:
            (tmp_path / phase).mkdir()
            write(tmp_path / phase)

    config = REAL | {"reward": True, "reward_weight": 1.0, "generations": 0}
    agent, _ = learned(Sides(steps=4), 50, Shelf, **config)
    other = world_models.make(problem_of(Sides(steps=4), 50), 0, **config)
    drawn = other.memory.output.clone()
    other._take(tmp_path / "vision")
    assert not torch.equal(other.memory.output, drawn)
    assert torch.equal(other.memory.output, agent.memory.output)
    assert other.memory.reward_unit == pytest.approx(agent.recording.reward_spread()) != 1.0


def test_a_dream_lasts_no_longer_than_the_runner_asks_nor_than_its_own_limit() -> None:
    agent = world_models.make(problem_of(Sides(steps=4), 50), 0, **DREAMING)
    agent.at = len(agent.phases)
    with torch.no_grad():
        agent.memory.output_bias[agent.memory.gaussians] = -50.0  # M never ends it
    world = agent.world_model()
    assert world is not None
    for steps, expected in ((3, 3), (100, 5)):
        assert world.imagined_returns(np.zeros((2, 64, 64, 3), np.uint8), steps, 0) == ([expected] * 2, [expected] * 2)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"random_steps": 500}, "lower random_steps"),
        ({"reward_weight": 1.0}, "found reward_weight 1.0 alone; set reward: true"),
        ({"temperature": 0.0}, "expected a temperature above 0, found 0.0"),
        ({"temperature": float("nan")}, "expected a temperature above 0, found nan"),
        ({"rollouts": 0}, "expected rollouts of at least 1, found 0; raise rollouts"),
        (
            {"learn_in": "dream", "done": True, "learner": "ppo", "controller_hidden": 40},
            "set it to 0, or learner: cma",
        ),
        ({"learn_in": "dream", "done": True, "learner": "ppo", "sees": "z"}, "take sees: zh"),
        ({"learn_in": "dream", "done": True, "curious_generations": 2}, "raise rounds, or set curious_generations: 0"),
        ({"learn_in": "dream"}, "set done: true or reward: true"),
        ({"rounds": 2}, "learn_in: dream"),
        ({"learn_in": "dream", "done": True, "finetune_steps": 500}, "lower one of them"),
    ],
)
def test_settings_that_cannot_work_are_refused_with_a_remedy(config: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        world_models.make(problem("carracing", CAR, 500), 0, **config)


@pytest.mark.parametrize(("name", "known"), [("sees", "z, zh, zhc"), ("learner", "cma, ppo")])
def test_names_that_nobody_knows_are_refused(name: str, known: str) -> None:
    config = world_models.Config()
    object.__setattr__(config, name, "q")  # in tests its types are checked before
    with pytest.raises(ValueError, match=f"expected {name} to be one of {known}; found 'q'"):
        refuse_impossible(config, problem("carracing", CAR))


def test_frames_of_another_size_are_refused() -> None:
    wrong = Problem(
        observation_space=Box(0, 255, (84, 84, 1), np.uint8), action_space=CAR, budget=10, family="x", env_id="Small"
    )
    with pytest.raises(ValueError, match="size: 64, grey: false"):
        world_models.make(wrong, 0)
