"""A restored gate goes on as if nothing had happened, wherever it was saved."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suites.runner.gate import Gate
from suites.runner.seeds import common_seed, training_seed
from suites.runner.vector import GatedVector
from tests.walking import Walk, action, gate_with, seed_where, through_a_checkpoint

pytestmark = pytest.mark.usefixtures("nothing_walked")


def drive(gate: Gate, envs: list[Any], counts: list[int], rng: np.random.Generator, steps: int) -> list[Any]:
    """What ``envs`` answer to ``steps`` seeded decisions, each in one of them."""
    seen: list[Any] = []
    for _ in range(steps):
        i = int(rng.integers(len(envs)))
        draws = [action(rng) for _ in range(counts[i] or 1)]
        obs, reward, terminated, truncated, infos = envs[i].step(np.stack(draws) if counts[i] else draws[0])
        over = not counts[i] and (terminated or truncated)
        final = infos.get("final_obs", [])
        seen.append([np.asarray(part).tolist() for part in (obs, reward, terminated)] + [str(final)])
        for given_away in draws:
            given_away[:] = 9.0  # what an agent does to its arrays afterwards is its own affair
        if over:
            seen.append(envs[i].reset()[0].tolist())
    return seen


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    counts=st.lists(st.integers(0, 3), min_size=1, max_size=3),
    before=st.integers(0, 40),
    again=st.integers(0, 12),
    seed=st.integers(0, 10**6),
)
def test_a_restored_gate_goes_on_as_if_nothing_had_happened(
    counts: list[int], before: int, again: int, seed: int
) -> None:
    """Checkpoint after ``before`` decisions and, in the resumed gate, after ``again`` more."""

    def opened(gate: Gate) -> tuple[list[Any], list[Any]]:
        envs = [gate.open(count) if count else gate.open() for count in counts]
        return envs, [env.reset()[0].tolist() for env in envs]

    whole, whole_rows = gate_with(seed=seed)
    envs, _ = opened(whole)
    rng = np.random.default_rng(seed)
    expected = drive(whole, envs, counts, rng, before + again + 20)

    gate, rows = gate_with(seed=seed)
    envs, _ = opened(gate)
    rng = np.random.default_rng(seed)
    found: list[Any] = []
    for steps in (before, again):
        found += drive(gate, envs, counts, rng, steps)
        last = [running_observation(env) for env in envs]
        saved, taken = copy.deepcopy(gate.state()), gate.steps
        gate, _ = gate_with(seed=seed, rows=rows)
        gate.restore(saved)
        envs, shown = opened(gate)
        assert gate.steps == taken
        assert shown == last, "the first reset has to show the running observation"
    found += drive(gate, envs, counts, rng, 20)
    assert found == expected
    assert rows == whole_rows


def running_observation(env: Any) -> Any:
    """The last observation that ``env`` gave out."""
    if isinstance(env, GatedVector):
        return [running_observation(one) for one in env._envs]
    inner = env._env_step.__self__
    return [inner.place, inner.left]


def test_what_was_not_yet_opened_again_is_kept_by_the_next_save(tmp_path: Path) -> None:
    gate, _ = gate_with(seed=2)
    env = gate.open(4)
    env.reset()
    for _ in range(3):
        last = env.step(np.ones((4, 1), np.float32))[0]
    second, _ = gate_with(seed=2)
    second.restore(gate.state())
    third, _ = gate_with(seed=2)
    third.restore(through_a_checkpoint(second.state(), tmp_path))
    assert third.open(4).reset()[0].tolist() == last.tolist()


def stacked(env: Any) -> Any:
    return np.stack(env._last).tolist()


class Generations:
    """An agent that has a vector play common and ordinary episodes, begins some late, and breaks some off."""

    def __init__(self, gate: Gate, num_envs: int, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.num_envs = num_envs
        self.open(gate)

    def open(self, gate: Gate) -> None:
        self.env = gate.open(self.num_envs, autoreset=False)

    def act(self, times: int) -> list[Any]:
        seen: list[Any] = []
        for _ in range(times):
            if self.rng.random() < 0.3:
                mask = self.rng.random(self.num_envs) < 0.4
                options: dict[str, Any] = {"reset_mask": mask}
                if self.rng.random() < 0.5:
                    options["episode_seed"] = self.rng.integers(0, 5, self.num_envs)
                obs, infos = self.env.reset(options=options)
                seen.append([obs.tolist(), infos["active"].tolist()])
            answer = self.env.step(np.stack([action(self.rng) for _ in range(self.num_envs)]))
            seen.append([part.tolist() for part in answer[:4]] + [answer[4]["active"].tolist()])
        return seen


@settings(derandomize=True, deadline=None, max_examples=30)
@given(
    num_envs=st.integers(1, 4),
    before=st.integers(0, 30),
    again=st.integers(0, 12),
    seed=st.integers(0, 10**6),
    bare=st.booleans(),
)
def test_environments_that_run_and_that_wait_go_on_as_if_nothing_had_happened(
    num_envs: int, before: int, again: int, seed: int, bare: bool
) -> None:
    """Checkpoint after ``before`` decisions and, in the resumed gate, after ``again`` more."""
    whole, whole_rows = gate_with(seed=seed)
    expected = Generations(whole, num_envs, seed).act(before + again + 20)

    gate, rows = gate_with(seed=seed)
    agent = Generations(gate, num_envs, seed)
    found: list[Any] = []
    for steps in (before, again):
        found += agent.act(steps)
        shown, running = stacked(agent.env), [env.running for env in agent.env._envs]
        steps_taken = gate.steps
        with tempfile.TemporaryDirectory() as folder:
            saved = through_a_checkpoint(gate.state(), Path(folder))
        gate, _ = gate_with(seed=seed, rows=rows)
        gate.restore(saved)
        agent.open(gate)
        if bare and any(running):
            obs, infos = agent.env.reset()
        else:  # nothing is to be resumed, so a bare reset would begin episodes
            obs, infos = agent.env.reset(options={"reset_mask": np.zeros(num_envs, np.bool_)})
        assert infos["active"].tolist() == running
        assert obs.tolist() == shown
        assert gate.steps == steps_taken
    found += agent.act(20)
    assert found == expected
    assert rows == whole_rows
    assert gate._episodes == whole._episodes


COMMON = 3
MIXED = next(
    s for s in range(999) if training_seed("walk", s, 1, 0) % 9 == 0 and common_seed("walk", s, COMMON) % 9 > 4
)


def mixed(gate: Gate) -> Any:
    """A vector of which 0 runs a common episode, 1 waits at its end, 2 was never reset."""
    env = gate.open(3, autoreset=False)
    env.reset(options={"reset_mask": np.array([True, True, False]), "episode_seed": [COMMON, 0, 0]})
    env.reset(options={"reset_mask": np.array([False, True, False])})
    env.step(np.ones((3, 1), np.float32))
    assert [slot.running for slot in env._envs] == [True, False, False]
    return env


def resumed_from(gate: Gate, folder: Path, num_envs: int = 3) -> tuple[Gate, Any]:
    folder.mkdir(exist_ok=True)
    second, _ = gate_with(seed=gate.seed)
    second.restore(through_a_checkpoint(gate.state(), folder))
    return second, second.open(num_envs, autoreset=False)


def test_the_first_reset_of_a_resumed_trial_goes_on_whatever_its_options(tmp_path: Path) -> None:
    first, _ = gate_with(seed=MIXED)
    shown = stacked(mixed(first))
    for mask in ([True, True, False], [False, True, False]):
        _, env = resumed_from(first, tmp_path / str(mask))
        obs, infos = env.reset(options={"reset_mask": np.array(mask), "episode_seed": [8, 9, 8]})
        assert infos["active"].tolist() == [True, True, False]
        assert obs[0].tolist() == shown[0], "what was running goes on"
        assert obs[1, 0] == common_seed("walk", MIXED, 9), "what waited begins, for the mask says so"
        assert obs[2].tolist() == [0, 0]
        again, _ = env.reset(options={"reset_mask": np.array([True, False, True])})
        own = [training_seed("walk", MIXED, slot, 0) for slot in (0, 2)]
        assert again[[0, 2], 0].tolist() == own, "the second reset is like any other"


def test_where_nothing_ran_the_first_reset_of_a_resumed_trial_begins_episodes(tmp_path: Path) -> None:
    first, _ = gate_with(seed=seed_where(lambda lengths: lengths == [1, 1], 2))
    env = first.open(2, autoreset=False)
    env.reset()
    env.step(np.ones((2, 1), np.float32))
    _, env = resumed_from(first, tmp_path, 2)
    taken = Walk.taken
    obs, infos = env.reset()
    assert infos["active"].all()
    assert obs[:, 0].tolist() == [training_seed("walk", first.seed, slot, 1) for slot in (0, 1)]
    assert Walk.taken == taken, "an end that nobody looks at is not played again"


def test_what_was_opened_but_not_yet_reset_is_kept_by_the_next_save(tmp_path: Path) -> None:
    first, _ = gate_with(seed=MIXED)
    shown = stacked(mixed(first))
    second, env = resumed_from(first, tmp_path / "second")
    assert not env.step(np.ones((3, 1), np.float32))[4]["active"].any(), "who was not reset waits"
    for _ in range(2):
        second, env = resumed_from(second, tmp_path / "third")
    assert env.reset()[0].tolist() == shown


def test_a_single_environment_is_stepped_in_a_resumed_trial_only_after_its_reset(tmp_path: Path) -> None:
    first, _ = gate_with(seed=seed_where(lambda lengths: lengths[0] > 4, 1))
    env = first.open()
    env.reset()
    shown = env.step(np.ones(1, np.float32))[0]
    gate, _ = gate_with(seed=first.seed)
    gate.restore(through_a_checkpoint(first.state(), tmp_path))
    env = gate.open()
    with pytest.raises(gym.error.ResetNeeded):
        env.step(np.ones(1, np.float32))
    assert env.reset(options={"episode_seed": 1})[0].tolist() == shown.tolist()
