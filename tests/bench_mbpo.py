"""Measures MBPO end to end against mbrl-lib's: environment steps a second on InvertedPendulum-v5 at equal updates.

Run it as ``python -m tests.bench_mbpo``: about a minute on one thread. mbrl-lib's side was measured once, with its own
settings for this task, on one core of a machine whose batched float32 matrix products reached about 78 GFLOP/s: 4.0
steps a second over 2,000 steps that followed 5,000 random ones. Ours is measured here, so the ratio is scaled by what
the matrix products of an update reach here, timed again and again in the same run.

Equal means: after 5,000 random steps that are not timed, 2,000 steps with 8 trainings of 7 networks of 4 x 200 until no
hold-out error has fallen for 5 epochs (for 6 by MBPO's own code, which is our default), the first from scratch; after
each 100,000 rollouts of one step; 10 updates of soft actor-critic after each of 1,751 steps (mbrl-lib makes none before
its first training), batch 256, 2 x 256 units; the termination is given. mbrl-lib compares errors with the one before
the training, we with the first epoch's: one more in vain. Here 500 steps and 3 trainings are lived through, and the
time of 2,000 is added up from them: the first training, 7 like the mean of the other two, 8 times the rollouts, 2,000
steps and 17,510 updates.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import mean, median
from typing import Any

from agents.mbpo import MBPO, make
from agents.protocol import BudgetSpent, Problem
from suites.envs import mujoco
from suites.runner.gate import Gate
from suites.runner.processor import settle
from tests import bench_sac_part

ENV = "InvertedPendulum-v5"
RANDOM, STEPS = 5_000, 500
THEIRS = {"steps": 4.0, "rows": 45_840}  # a second; the latter with HalfCheetah's 17 + 6 numbers and 512 units
THEIR_PRODUCTS = 78.0  # GFLOP/s


def product_flops() -> int:
    """Of `bench_sac_part.products`: two actor passes, three of twin critics, the gradients by hand."""
    batch, hidden, obs, act = (getattr(bench_sac_part, name) for name in ("BATCH", "HIDDEN", "OBS", "ACT"))
    actor = obs * hidden + hidden * hidden + hidden * 2 * act
    critics = 2 * ((obs + act) * hidden + hidden * hidden + hidden)
    through_actor, through_critics = hidden * hidden + hidden * 2 * act, 2 * (hidden * hidden + hidden)
    forward, weights = 2 * actor + 3 * critics, actor + critics
    return 2 * batch * (forward + weights + 2 * through_critics + through_actor + 2 * hidden * act)


class Stopwatch:
    """Processor seconds of each call of an agent's parts, by name, and of the matrix products beside them."""

    def __init__(self, agent: MBPO) -> None:
        self.seconds: dict[str, list[float]] = {"products": []}
        self.epochs: list[float] = []  # of each training
        self.products = bench_sac_part.products()
        for name in ("fit_model", "imagine", "improve_policy"):
            setattr(agent, name, self.watched(name, getattr(agent, name)))

    def watched(self, name: str, run: Callable[[], Any]) -> Callable[[], Any]:
        self.seconds[name] = []

        def watched() -> Any:
            start = time.process_time()
            found = run()
            self.seconds[name].append(time.process_time() - start)
            if name == "fit_model":
                self.epochs.append(found["model/epochs"])
            return found

        return watched

    def time_products(self) -> None:
        start = time.process_time()
        for _ in range(5):
            self.products()
        self.seconds["products"].append((time.process_time() - start) / 5)


def live_through() -> tuple[Stopwatch, float, MBPO]:
    """What the stopwatch shows, the seconds of all timed steps but the products, and the agent."""
    env = mujoco.make(id=ENV)
    budget = RANDOM + STEPS + 1  # one more, before which the last training comes
    known = {"termination": mujoco.known(id=ENV)["termination"]}
    spaces = {"observation_space": env.observation_space, "action_space": env.action_space}
    problem = Problem(**spaces, budget=budget, family="vector", env_id=ENV, known=known)
    agent = make(problem, 0, random_steps=RANDOM, patience=4)  # the fifth epoch in vain is then the last
    watch, begun = Stopwatch(agent), [0.0]
    gate = Gate(lambda: mujoco.make(id=ENV), task="bench", seed=0, budget=budget, log=lambda row: None)

    def report(*_: Any, **__: Any) -> None:
        if gate.steps == RANDOM:  # the first training has just been
            begun[0] = time.process_time()
        elif gate.steps > RANDOM and gate.steps % 20 == 0:
            watch.time_products()
        if gate.steps == RANDOM + STEPS:
            raise BudgetSpent

    try:
        agent.learn(gate, report)
    except BudgetSpent:
        whole = time.process_time() - begun[0] - 5 * sum(watch.seconds["products"])
    return watch, whole, agent


def main() -> None:
    settle()
    watch, whole, agent = live_through()
    seconds, (from_scratch, *again) = watch.seconds, watch.epochs
    first, *others = seconds["fit_model"]
    rollouts = mean(seconds["imagine"])
    updates = sum(seconds["improve_policy"][-STEPS:]) / STEPS
    rest = (whole - sum(others) - sum(seconds["imagine"][1:])) / STEPS - updates
    of_theirs = first + 7 * mean(others) + 8 * rollouts + 2_000 * rest + 1_751 * updates
    rate = product_flops() / median(seconds["products"]) / 1e9
    scale = THEIR_PRODUCTS / rate
    update = updates / agent.task.updates / median(seconds["products"])
    rows = agent.config.rollouts / rollouts
    print(f"{agent.task.updates} updates {1e3 * updates:.0f} ms, the rest of a step {1e3 * rest:.1f} ms,", end=" ")
    print(f"the first training {first:.1f} s ({from_scratch:.0f} epochs),", end=" ")
    print(f"another {mean(others):.1f} s ({mean(again):.1f} epochs), rollouts {rollouts:.2f} s")
    print(f"matrix products reach {rate:.0f} GFLOP/s; an update takes {update:.2f} times those of HalfCheetah's")
    print(f"2,000 steps {of_theirs:.0f} s: {2_000 / of_theirs:.1f} steps/s;", end=" ")
    print(f"mbrl-lib's times {2_000 / of_theirs / THEIRS['steps'] * scale:.2f} at its products' rate (at least 2)")
    print(f"{rows:,.0f} imagined rows/s, mbrl-lib's times {rows / THEIRS['rows'] * scale:.1f}")


if __name__ == "__main__":
    main()
