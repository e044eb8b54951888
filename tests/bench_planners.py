"""Measures a CEM plan through an ensemble against its matrix products alone, at the sizes of PETS' cartpole.

Run it as ``python -m tests.bench_planners``. As mbrl-lib's measured settings (0.25 actions/s there): 350 candidates,
horizon 15, 5 iterations, 20 particles, so 525,000 model evaluations; 5 networks of 4 hidden layers of 200, swish; 4
observations, 1 action; reward and end are granted, as in the paper; one thread. The floor is every layer's product,
batched over the networks, into tensors that are there already; a stricter one computes it network by network in small
pieces that stay in the cache. All take turns in one run, in changing order, because a machine's speed
drifts; each round gives ratios of processor times, the median counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from statistics import median

import numpy as np
import torch
from gymnasium.spaces import Box

from agents import pets
from agents.protocol import Problem
from suites.envs import mujoco
from suites.runner.processor import settle

OBS, ACT, MEMBERS, HIDDEN, LAYERS = 4, 1, 5, 200, 4
CANDIDATES, HORIZON, ITERATIONS, PARTICLES = 350, 15, 5, 20
PIECE = 350  # columns of a product: what fits into the cache beside the weights
ROUNDS = 9
EVALUATIONS = CANDIDATES * HORIZON * ITERATIONS * PARTICLES
SIZES = [OBS + ACT + 1, *[HIDDEN] * LAYERS, 2 * OBS]  # in: a one for the biases; out: Gaussians


def pieces() -> Callable[[], None]:
    """Every layer's product of a plan, network by network and in pieces of columns."""
    weights = [[torch.randn(b, a) for a, b in pairwise(SIZES)] for _ in range(MEMBERS)]
    layers = [torch.randn(size, PIECE) for size in SIZES]
    count = CANDIDATES * PARTICLES // MEMBERS // PIECE

    def run() -> None:
        for _ in range(HORIZON * ITERATIONS):
            for member in weights:
                for _ in range(count):
                    for weight, x, out in zip(member, layers[:-1], layers[1:], strict=True):
                        torch.mm(weight, x, out=out)

    return run


def batched() -> Callable[[], None]:
    """The same products, batched over the networks."""
    columns = CANDIDATES * PARTICLES // MEMBERS
    weights = [torch.randn(MEMBERS, b, a) for a, b in pairwise(SIZES)]
    layers = [torch.randn(MEMBERS, size, columns) for size in SIZES]

    def run() -> None:
        for _ in range(HORIZON * ITERATIONS):
            for weight, x, out in zip(weights, layers[:-1], layers[1:], strict=True):
                torch.bmm(weight, x, out=out)

    return run


def plan() -> Callable[[], object]:
    """One action of an agent that has been trained a little, so that its numbers are ordinary ones."""
    problem = Problem(
        observation_space=Box(-np.inf, np.inf, (OBS,), np.float32),
        action_space=Box(-3.0, 3.0, (ACT,), np.float32),
        budget=1000,
        family="vector",
        env_id="bench",
        known=mujoco.known(id="InvertedPendulum-v5"),
    )
    agent = pets.make(problem, 0, candidates=CANDIDATES, elites=35, horizon=HORIZON, least_variance=0.0)
    rng = np.random.default_rng(0)
    for _ in range(500):
        obs, action = rng.standard_normal(OBS), rng.uniform(-3.0, 3.0, ACT)
        next_obs = obs + 0.1 * np.tanh(obs[::-1]) + 0.02 * action + 0.01 * rng.standard_normal(OBS)
        agent.replay.add(obs, action, float(-np.square(obs).sum()), next_obs, terminated=False)
    agent.fit()
    obs = np.zeros(OBS, np.float32)
    return lambda: agent.controller.plan(obs, agent.planner, agent.acting)


def main() -> None:
    settle()
    sides = {"batched": batched(), "in pieces": pieces(), "plan": plan()}
    for run in sides.values():
        run()
    rounds = []
    for turn in range(ROUNDS):
        names, seconds = list(sides), {}
        for name in names[turn % 3 :] + names[: turn % 3]:
            start = time.process_time()
            sides[name]()
            seconds[name] = time.process_time() - start
        rounds.append(seconds)
    flops = 2 * EVALUATIONS * sum(a * b for a, b in pairwise(SIZES))
    for name in sides:
        took = median(r[name] for r in rounds)
        print(f"{name}: {took:.2f} s, {flops / took / 1e9:.0f} GFLOP/s")
    for under, bound in (("batched", " (at most 1.3)"), ("in pieces", "")):
        ratios = sorted(r["plan"] / r[under] for r in rounds)
        says = f"a plan takes {median(ratios):.2f} times its matrix products {under}{bound}"
        print(says, f"- rounds {ratios[0]:.2f} to {ratios[-1]:.2f}")
    print(f"{1.0 / median(r['plan'] for r in rounds):.2f} actions/s of processor time ({EVALUATIONS:,} evaluations)")


if __name__ == "__main__":
    main()
