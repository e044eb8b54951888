"""Simulators in other processes answer as those in this one do, fail loudly, and leave nobody behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from agents.protocol import BudgetSpent
from suites.runner.gate import Gate
from suites.runner.simulators import Recipe, SimulatorError
from tests import unruly
from tests.walking import through_a_checkpoint

ROOT = Path(__file__).resolve().parents[1]
UNRULY = Recipe("tests.unruly", {})

Open = Callable[..., tuple[Gate, list[dict[str, Any]]]]


@pytest.fixture
def gate_to() -> Iterator[Open]:
    """Makes gates and closes them in the end."""
    made: list[Gate] = []

    def gate_with(
        recipe: Any = UNRULY, simulators: int = 2, budget: int = 1000, rows: list[dict[str, Any]] | None = None
    ) -> tuple[Gate, list[dict[str, Any]]]:
        rows = [] if rows is None else rows
        made.append(Gate(recipe, task="t", seed=3, budget=budget, log=rows.append, simulators=simulators))
        return made[-1], rows

    yield gate_with
    for gate in made:
        gate.close()


def children() -> list[psutil.Process]:
    """The simulator processes of this one."""
    return [one for one in psutil.Process().children() if "suites.runner.simulators" in " ".join(one.cmdline())]


def gone_within(seconds: float, pids: list[int]) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not any(alive(pid) for pid in pids):
            return True
        time.sleep(0.02)
    return False


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def full(num_envs: int, value: float) -> Any:
    return np.full((num_envs, 1), value, np.float32)


# -- the same answers ----------------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """Exact, and with the types that the environment gave."""
    if isinstance(value, np.ndarray) and value.dtype != object:
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, np.ndarray | list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    return type(value).__name__, value


def played(env: Any, steps: int, autoreset: bool, rng: np.random.Generator) -> list[Any]:
    """What ``env`` answers to a course of actions that are the same whenever it answers the same."""
    num_envs = env.num_envs
    continuous = hasattr(env.single_action_space, "low")
    seen: list[Any] = []
    for _ in range(steps):
        if not autoreset and rng.random() < 0.2:
            mask, seeds = rng.random(num_envs) < 0.5, rng.integers(0, 3, num_envs)
            seen.append(plain(env.reset(options={"reset_mask": mask, "episode_seed": seeds})))
        draws = rng.uniform(-0.5, 0.5, env.action_space.shape).astype(np.float32)
        seen.append(plain(env.step(draws if continuous else rng.integers(0, 2, num_envs))))
    return seen


CASES = {
    "pendulum": (Recipe("classic", {"id": "Pendulum-v1"}, 4), 60),  # 50 decisions an episode
    "cartpole": (Recipe("classic", {"id": "CartPole-v1"}), 60),
    "carracing": (Recipe("carracing", {"time_limit": 24}, 2), 14),
    "take-cover": (Recipe("take_cover", {"time_limit": 25}), 35),
}


@pytest.mark.parametrize("autoreset", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_other_processes_answer_bit_for_bit_as_this_one(case: str, autoreset: bool, gate_to: Open) -> None:
    recipe, steps = CASES[case]
    results = []
    for simulators in (0, 2):
        gate, rows = gate_to(recipe, simulators)
        env = gate.open(3, autoreset=autoreset)
        first = plain(env.reset())
        seen = played(env, steps, autoreset, np.random.default_rng(1))
        results.append((first, seen, json.dumps(rows), gate.steps, gate._episodes, plain(gate.state()["running"])))
        assert rows, "some episode has to end"
    assert results[0] == results[1]


def test_a_trial_resumed_in_other_processes_goes_on_bit_for_bit(gate_to: Open, tmp_path: Path) -> None:
    """Saved with two processes and resumed with none, one and three; some run at the save, some wait."""
    recipe, whole = CASES["cartpole"][0], np.random.default_rng(2)
    gate, _ = gate_to(recipe, 0)
    env = gate.open(4, autoreset=False)
    env.reset()
    expected = played(env, 70, False, whole)

    gate, _ = gate_to(recipe, 2)
    env = gate.open(4, autoreset=False)
    env.reset()
    rng = np.random.default_rng(2)
    start = played(env, 40, False, rng)
    running = [one.running for one in env._envs]
    assert any(running)
    assert not all(running)
    shown, drawn = np.stack(env._last), rng.bit_generator.state
    saved = through_a_checkpoint(gate.state(), tmp_path)
    for simulators in (0, 1, 3):
        gate, _ = gate_to(recipe, simulators)
        gate.restore(saved)
        env = gate.open(4, autoreset=False)
        obs, infos = env.reset()
        assert plain(obs) == plain(shown)
        assert infos["active"].tolist() == running
        rng.bit_generator.state = drawn
        assert start + played(env, 30, False, rng) == expected


@pytest.mark.parametrize("autoreset", [True, False])
def test_other_processes_take_no_step_beyond_the_budget(autoreset: bool, gate_to: Open) -> None:
    gate, _ = gate_to(budget=8)
    env = gate.open(3, autoreset=autoreset)
    env.reset()
    for _ in range(2):
        env.step(full(3, 1.0))
    for _ in range(3):
        with pytest.raises(BudgetSpent):
            env.step(full(3, 1.0))
    assert gate.steps == 8
    assert [len(one._actions) for one in env._envs] == [3, 3, 2]


def test_actions_arrive_as_they_would_here(gate_to: Open) -> None:
    for actions in (full(2, 1.0), list(full(2, 1.0))):
        gate, _ = gate_to()
        env = gate.open(2)
        env.reset()
        assert [info["type"] for info in env.step(actions)[4]["each"]] == ["ndarray", "ndarray"]


# -- where they are ------------------------------------------------------------------------------------------------


def test_environment_i_lives_in_process_i_modulo_their_number(gate_to: Open) -> None:
    gate, _ = gate_to(simulators=3)
    pids = gate.open(7).reset()[0][:, 0].tolist()
    assert sorted(set(pids)) == sorted(one.pid for one in children())
    assert pids == [pids[i % 3] for i in range(7)]
    assert len(set(pids)) == 3
    assert os.getpid() not in pids


def test_a_single_environment_stays_in_this_process(gate_to: Open) -> None:
    gate, _ = gate_to()
    assert gate.open().reset()[0][0] == os.getpid()
    assert children() == []


def test_no_more_processes_are_started_than_there_are_environments_and_later_vectors_use_the_same(
    gate_to: Open,
) -> None:
    gate, _ = gate_to(simulators=3)
    first = gate.open(2)
    pids = first.reset()[0][:, 0].tolist()
    assert len(children()) == 2
    first.close()
    assert gate.open(3, autoreset=False).reset()[0][:2, 0].tolist() == pids
    assert len(children()) == 3
    gate.close()
    assert children() == []


def test_processes_work_at_the_same_time(gate_to: Open) -> None:
    """Two resets of a second each: at once, they do not take two seconds."""
    gate, _ = gate_to(Recipe("tests.unruly", {"nap": 1.0}))
    env = gate.open(2)
    began = time.monotonic()
    env.reset()
    assert 1.0 <= time.monotonic() - began < 1.9


def test_a_closure_cannot_be_sent_to_another_process() -> None:
    with pytest.raises(TypeError, match="expected a Recipe"):
        Gate(lambda: UNRULY(), task="t", seed=0, budget=1, log=lambda row: None, simulators=1)


# -- when something goes wrong -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "said"),
    [
        (unruly.FAIL, r"tests\.unruly failed in simulator process 1:\n(.|\n)*in step(.|\n)*the bridge is out"),
        (unruly.SEGFAULT, r"simulator process 1 \(tests\.unruly\), found it gone: killed by SIGSEGV"),
        (unruly.EXIT, r"simulator process 1 \(tests\.unruly\), found it gone: ended with exit code 7"),
        (unruly.BAD_INFO, r"tests\.unruly failed in simulator process 1:\n(.|\n)*pickle"),
    ],
)
def test_what_goes_wrong_in_another_process_is_said_here(action: float, said: str, gate_to: Open) -> None:
    gate, _ = gate_to()
    env = gate.open(2)
    env.reset()
    with pytest.raises(SimulatorError, match=said):
        env.step(np.array([[1.0], [action]], np.float32))
    assert gate.steps == 0
    assert children() == []
    with pytest.raises(SimulatorError, match="found them closed"):
        env.step(full(2, 1.0))
    env.close()  # still no error


def test_a_process_killed_from_outside_is_an_error_here(gate_to: Open) -> None:
    gate, _ = gate_to()
    env = gate.open(3)
    pids = env.reset()[0][:, 0].tolist()
    os.kill(pids[0], signal.SIGKILL)
    with pytest.raises(SimulatorError, match=r"process 0 \(tests\.unruly\), found it gone: killed by SIGKILL"):
        env.step(full(3, 1.0))
    assert gone_within(1, pids)


def test_an_environment_that_cannot_be_made_says_so_here(gate_to: Open) -> None:
    gate, _ = gate_to(Recipe("tests.unruly", {"refuse": True}))
    with pytest.raises(SimulatorError, match="no such simulator: pip install it"):
        gate.open(2)


def test_a_signal_to_the_whole_group_leaves_the_simulators_at_work_for_the_last_save(gate_to: Open) -> None:
    gate, _ = gate_to()
    env = gate.open(2)
    for pid in env.reset()[0][:, 0].tolist():
        os.kill(pid, signal.SIGINT)
        os.kill(pid, signal.SIGTERM)
    env.step(full(2, 1.0))
    assert gate.steps == 2


ORPHANS = """
import sys, threading
import numpy as np
from suites.runner.gate import Gate
from suites.runner.simulators import Recipe

gate = Gate(Recipe("tests.unruly", {}), task="t", seed=0, budget=99, log=print, simulators=2)
env = gate.open(2)
print(*env.reset()[0][:, 0].tolist(), flush=True)
if sys.argv[1] == "at work":
    env.step(np.full((2, 1), -2.0, np.float32))
sys.stdin.read()
"""


@pytest.mark.parametrize("moment", ["idle", "at work"])
def test_no_simulator_outlives_a_killed_parent(moment: str) -> None:
    """At work: in the midst of a step that would take an hour."""
    parent = subprocess.Popen(
        [sys.executable, "-c", ORPHANS, moment], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        assert all(alive(pid) for pid in pids)
        time.sleep(0.1)
        parent.kill()
    left = [] if gone_within(2, pids) else [pid for pid in pids if alive(pid)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left


def test_no_simulator_outlives_a_parent_that_ends_without_a_word() -> None:
    parent = subprocess.run(
        [sys.executable, "-c", ORPHANS, "idle"], cwd=ROOT, input="", capture_output=True, text=True, check=True
    )
    assert gone_within(2, [int(pid) for pid in parent.stdout.split()])
