"""What the gate costs a step, alone and in vectors, and what simulators in other processes cost and save.

Run it as ``python -m tests.bench_gate``. What is compared is measured in turn, in one run.
"""

from __future__ import annotations

import os
import time
from typing import Any

import gymnasium as gym
import numpy as np

from suites.runner.gate import Gate
from suites.runner.simulators import Recipe

STEPS, ROUNDS, LENGTH = 100_000, 9, 500
TARGET = 3.0  # microseconds
WIDTH = 16  # environments of a vector
PROCESSES = (0, 1, 2)


class Nothing(gym.Env[Any, Any]):
    """Steps as fast as Python can: what is left of a step's time is the caller's."""

    action_space = gym.spaces.Box(-1.0, 1.0, (2,))

    def __init__(self, *shape: int) -> None:
        self.observation_space = gym.spaces.Box(-1.0, 1.0, shape or (4,))
        self.obs = np.zeros(shape, np.uint8) if shape else np.zeros(4, np.float32)
        self.t = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.t = 0
        return self.obs, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.t += 1
        return self.obs, 1.0, False, self.t >= LENGTH, {}


def make() -> Nothing:
    """For simulators in other processes: frames as CarRacing's."""
    return Nothing(64, 64, 3)


def gate_to(make: Any, simulators: int = 0) -> Gate:
    return Gate(make, task="bench", seed=0, budget=10**9, log=lambda row: None, simulators=simulators)


def seconds_per_step(env: gym.Env[Any, Any]) -> float:
    action = np.zeros(2, np.float32)
    env.reset()
    began = time.perf_counter()
    for _ in range(STEPS):
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()
    return (time.perf_counter() - began) / STEPS


def seconds_per_step_of_many(env: Any, steps: int) -> float:
    """Per step of one environment; ``env`` a vector, or a list of environments that is stepped and stacked."""
    action = np.zeros((WIDTH, 2), np.float32)
    began = time.perf_counter()
    for _ in range(steps):
        if isinstance(env, list):
            answers = [one.step(action[i]) for i, one in enumerate(env)]
            np.stack([answer[0] for answer in answers])
        else:
            env.step(action)
    return (time.perf_counter() - began) / (steps * WIDTH)


def alone() -> None:
    bare, gated = [], []
    for _ in range(ROUNDS):
        bare.append(seconds_per_step(Nothing()))
        gated.append(seconds_per_step(gate_to(Nothing).open()))
    cost = [1e6 * (b - a) for a, b in zip(bare, gated, strict=True)]
    print(f"bare environment     {1e6 * np.median(bare):6.2f} us a step")
    print(
        f"through the gate     {1e6 * np.median(gated):6.2f} us a step, seeding of an episode every {LENGTH} included"
    )
    low, high = min(cost), max(cost)
    print(f"the gate costs       {np.median(cost):6.2f} us a step (from {low:.2f} to {high:.2f}; at most {TARGET:.0f})")


def in_vectors() -> None:
    found: dict[str, list[float]] = {"begin anew": [], "wait": []}
    for _ in range(ROUNDS):
        bare = seconds_per_step_of_many([Nothing() for _ in range(WIDTH)], LENGTH - 1)
        for name, autoreset in (("begin anew", True), ("wait", False)):
            env = gate_to(Nothing).open(WIDTH, autoreset=autoreset)
            env.reset()
            found[name].append(1e6 * (seconds_per_step_of_many(env, LENGTH - 1) - bare))
    for name, cost in found.items():
        print(f"a vector of {WIDTH} costs {np.median(cost):6.2f} us an environment's step, where they {name}")


def pipes() -> None:
    """What a step and its frame need to get here; do-nothing environments, so nothing is gained by more processes."""
    vectors = {n: gate_to(Recipe("tests.bench_gate", {}), n) for n in PROCESSES}
    envs = {n: gate.open(WIDTH) for n, gate in vectors.items()}
    took: dict[int, list[float]] = {n: [] for n in PROCESSES}
    for _ in range(ROUNDS):
        for n, env in envs.items():
            env.reset()
            took[n].append(1e6 * seconds_per_step_of_many(env, LENGTH - 1))
    for n in PROCESSES[1:]:
        cost = np.median(np.subtract(took[n], took[0]))
        print(f"{n} process{'es' if n > 1 else '':2} cost {cost:6.1f} us an environment's step and 64x64x3 frame")
    for gate in vectors.values():
        gate.close()


def racing(steps: int = 15, rounds: int = 7) -> None:
    """Exact CarRacing, driving. Seconds of the computer's own work elsewhere count, too: run it on a quiet one."""
    gates = {n: gate_to(Recipe("carracing", {}), n) for n in PROCESSES}
    envs = {n: gate.open(WIDTH) for n, gate in gates.items()}
    actions = np.tile(np.array([0.1, 0.3, 0.0], np.float32), (WIDTH, 1))
    rates: dict[int, list[float]] = {n: [] for n in PROCESSES}
    resets: dict[int, float] = {}
    for n, env in envs.items():
        began = time.perf_counter()
        env.reset()
        resets[n] = time.perf_counter() - began
    for _ in range(rounds):
        for n, env in envs.items():
            began = time.perf_counter()
            for _ in range(steps):
                env.step(actions)
            rates[n].append(steps * WIDTH / (time.perf_counter() - began))
    for n in PROCESSES:
        ratio = np.median(np.divide(rates[n], rates[0]))
        name = f"{n} process{'' if n == 1 else 'es'}"
        print(
            f"{WIDTH} CarRacing, {name:11} {np.median(rates[n]):6.0f} steps/s, {ratio:.2f} of this process's; "
            f"all reset in {resets[n]:.2f} s"
        )
    for gate in gates.values():
        gate.close()


def main() -> None:
    alone()
    in_vectors()
    pipes()
    print(f"on {os.cpu_count()} cores, of which others took {os.getloadavg()[0]:.1f} in the last minute:")
    racing()


if __name__ == "__main__":
    main()
