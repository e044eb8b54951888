"""Measures one update of our soft actor-critic against its matrix products alone and against stable-baselines3's.

Run it as ``python -m tests.bench_sac_part``. HalfCheetah's sizes: 17 observations, 6 actions, batch 256, two hidden
layers of 256, twin critics; one thread. The three sides take turns in one run, in changing order, because a machine's
speed drifts; each round gives ratios of processor times, the median counts. stable-baselines3 gets its batch for
nothing, as we do.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import SAC as TheirSAC
from stable_baselines3.common.logger import Logger

from agents.parts.soft_actor_critic import SAC, SACConfig
from suites.runner.processor import settle

OBS, ACT, BATCH, HIDDEN = 17, 6, 256, 256
ROUNDS, UPDATES = 31, 10  # rounds of every side in turn; updates in each


def products() -> Callable[[], None]:
    """Every matrix product of an update, forward and backward, into tensors that are there already."""
    calls = []

    def add(copies: int, rows: int, inner: int, columns: int, left: bool = False, right: bool = False) -> None:
        """``left``, ``right``: which operand comes transposed, as it does in a backward pass."""
        a = torch.randn(copies, inner, rows).mT if left else torch.randn(copies, rows, inner)
        b = torch.randn(copies, columns, inner).mT if right else torch.randn(copies, inner, columns)
        out = torch.empty(copies, rows, columns)
        if copies == 1:
            calls.append((torch.mm, a[0], b[0], out[0]))
        else:
            calls.append((torch.bmm, a, b, out))

    def forward(copies: int, inputs: int, outputs: int) -> None:
        for inner, columns in ((inputs, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, outputs)):
            add(copies, BATCH, inner, columns)

    def through(copies: int, outputs: int) -> None:
        for inner in (outputs, HIDDEN):
            add(copies, BATCH, inner, HIDDEN, right=True)

    def weights(copies: int, inputs: int, outputs: int) -> None:
        for rows, columns in ((inputs, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, outputs)):
            add(copies, rows, BATCH, columns, left=True)

    forward(1, OBS, 2 * ACT)  # the actor at next_obs
    forward(2, OBS + ACT, 1)  # the target critics there
    forward(2, OBS + ACT, 1)  # the critics at the batch
    through(2, 1)
    weights(2, OBS + ACT, 1)
    forward(1, OBS, 2 * ACT)  # the actor at obs
    forward(2, OBS + ACT, 1)  # the critics there
    through(2, 1)
    add(2, BATCH, HIDDEN, ACT, right=True)  # their gradient by the action
    through(1, 2 * ACT)
    weights(1, OBS, 2 * ACT)

    def run() -> None:
        for product, a, b, out in calls:
            product(a, b, out=out)

    return run


def ours() -> Callable[[], object]:
    generator = torch.Generator().manual_seed(0)
    sac = SAC(OBS, -torch.ones(ACT), torch.ones(ACT), SACConfig(), generator)
    batch = {
        "obs": torch.randn(BATCH, OBS, generator=generator),
        "action": torch.rand(BATCH, ACT, generator=generator) * 2 - 1,
        "reward": torch.randn(BATCH, generator=generator),
        "next_obs": torch.randn(BATCH, OBS, generator=generator),
        "terminated": torch.zeros(BATCH),
    }
    return lambda: sac.update(batch)


def theirs() -> Callable[[int], None]:
    """So many gradient steps of theirs; their logging comes once for all of them, as it does in their training."""
    env = gym.make("HalfCheetah-v5")
    model = TheirSAC("MlpPolicy", env, seed=0, device="cpu", buffer_size=2 * BATCH)
    model.set_logger(Logger(None, []))
    generator = np.random.default_rng(0)
    for _ in range(2 * BATCH):
        obs, next_obs = generator.standard_normal((2, 1, OBS))
        action = generator.uniform(-1, 1, (1, ACT))
        model.replay_buffer.add(obs, next_obs, action, generator.standard_normal(1), np.zeros(1), [{}])
    batch = model.replay_buffer.sample(BATCH)
    model.replay_buffer.sample = lambda *_, **__: batch
    return lambda steps: model.train(steps, BATCH)


def main() -> None:
    settle()
    floor, update, train = products(), ours(), theirs()

    def repeat(run: Callable[[], object]) -> Callable[[], None]:
        return lambda: [run() for _ in range(UPDATES)] and None

    sides = {"products": repeat(floor), "ours": repeat(update), "theirs": lambda: train(UPDATES)}
    for run in sides.values():
        run()
    rounds = []
    for turn in range(ROUNDS):
        names = list(sides)
        seconds = {}
        for name in names[turn % 3 :] + names[: turn % 3]:
            start = time.process_time()
            sides[name]()
            seconds[name] = (time.process_time() - start) / UPDATES
        rounds.append(seconds)
    for name in sides:
        print(f"{name}: {1e3 * median(r[name] for r in rounds):.2f} ms")
    for says, over, under in (
        ("an update of ours takes {} times its matrix products (at most 1.7)", "ours", "products"),
        ("an update of ours is {} times as fast as stable-baselines3's (at least 1.5)", "theirs", "ours"),
    ):
        ratios = sorted(r[over] / r[under] for r in rounds)
        print(says.format(f"{median(ratios):.2f}"), f"- rounds {ratios[0]:.2f} to {ratios[-1]:.2f}")


if __name__ == "__main__":
    main()
