"""Measures an ensemble's epoch, its steps of many rows and its particles against their matrix products alone.

Run it as ``python -m tests.bench_ensemble``. MBPO's ensemble (7 members of 4 x 200 swish, 5 elites) at HalfCheetah's
sizes, 17 observations and 6 actions in, 18 means out; one thread:

- an epoch on 25,000 transitions, batch 256, a fifth held out: 79 gradient steps and the hold-out error;
- a sampled step of 100,000 rows through a random elite each (MBPO's rollout at horizon 1);
- 5 steps of a plan's 400 candidates with 20 particles, both kinds of trajectory sampling.

The floor of each is its matrix products, at the rate at which this run's batched products of these shapes go. The
sides take turns, in changing order, because a machine's speed drifts; the median of the ratios of processor times
counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from statistics import median

import torch

from agents.parts.ensemble import Ensemble, EnsembleConfig
from agents.parts.particles import Particles
from suites.runner.processor import settle

OBS, ACT, COUNT = 17, 6, 25_000
CONFIG = EnsembleConfig()
ROWS, CANDIDATES, PARTICLES, HORIZON = 100_000, 400, 20, 5
ROUNDS, STEPS = 9, 10  # rounds of every side in turn; gradient steps whose products are timed in each
Timed = Callable[[], float]


def products(sizes: list[int]) -> tuple[Timed, Timed]:
    """Seconds of a gradient step's batched matrix products, and of those that give the outputs alone."""
    members, batch = CONFIG.members, CONFIG.batch_size
    weights = [torch.randn(members, inputs, outputs) for inputs, outputs in pairwise(sizes)]
    layers, slopes = ([torch.randn(members, batch, size) for size in sizes] for _ in range(2))
    outs = [torch.empty_like(layer) for layer in layers]
    by_weight = [torch.empty_like(weight) for weight in weights]

    def forward() -> None:
        for i, weight in enumerate(weights):
            torch.bmm(layers[i], weight, out=outs[i + 1])

    def backward() -> None:
        for i in range(len(weights)):
            torch.bmm(layers[i].mT, slopes[i + 1], out=by_weight[i])
            if i > 0:
                torch.bmm(slopes[i + 1], weights[i].mT, out=outs[i])

    def step() -> None:
        forward()
        backward()

    return lambda: timed(step, STEPS), lambda: timed(forward, STEPS)


def timed(run: Callable[[], object], times: int = 1) -> float:
    start = time.process_time()
    for _ in range(times):
        run()
    return (time.process_time() - start) / times


def data(generator: torch.Generator) -> dict[str, torch.Tensor]:
    obs, action = (torch.randn(COUNT, size, generator=generator) for size in (OBS, ACT))
    noise = torch.randn(COUNT, OBS, generator=generator)
    return {
        "obs": obs,
        "action": action,
        "next_obs": 0.9 * obs + 0.1 * action.sum(1, keepdim=True) + 0.1 * noise,
        "reward": obs[:, 0],
    }


def main() -> None:
    settle()
    generator = torch.Generator().manual_seed(0)
    ensemble = Ensemble(OBS, ACT, CONFIG, generator, reward=True, termination=False)
    transitions = data(generator)
    step, forward = products([OBS + ACT, *CONFIG.hidden, ensemble.heads.size])
    obs, action = torch.randn(ROWS, OBS), torch.randn(ROWS, ACT)
    sequences = torch.randn(HORIZON, ACT, CANDIDATES)
    ensemble.fit(transitions, epochs=1)
    particles = Particles(ensemble)
    sides: dict[str, Timed] = {
        "step": step,
        "forward": forward,
        "epoch": lambda: timed(lambda: ensemble.fit(transitions, epochs=1)),
        "rows": lambda: timed(lambda: ensemble.sample(obs, action, generator)),
        "TSinf": lambda: timed(lambda: particles.rollout(obs[0], sequences, generator, particles=PARTICLES)),
        "TS1": lambda: timed(lambda: particles.rollout(obs[0], sequences, generator, particles=PARTICLES, mode="TS1")),
    }
    rounds: list[dict[str, float]] = []
    for turn in range(ROUNDS + 1):
        names = [*sides][turn % len(sides) :] + [*sides][: turn % len(sides)]
        rounds.append({name: sides[name]() for name in names})
    held_out = int(CONFIG.holdout * COUNT)
    evaluations = CONFIG.members * CONFIG.batch_size  # a forward pass's
    batches = (COUNT - held_out) / CONFIG.batch_size
    floors: dict[str, Callable[[dict[str, float]], float]] = {
        "epoch": lambda r: batches * r["step"] + held_out / CONFIG.batch_size * r["forward"],
        "rows": lambda r: ROWS / evaluations * r["forward"],
        "TSinf": lambda r: HORIZON * CANDIDATES * PARTICLES / evaluations * r["forward"],
        "TS1": lambda r: HORIZON * CANDIDATES * PARTICLES / evaluations * r["forward"],
    }
    says = {
        "epoch": "an epoch takes {} times its matrix products (at most 1.5)",
        "rows": "a sampled step of 100,000 rows takes {} times its matrix products",
        "TSinf": "5 steps of 400 candidates x 20 particles, TSinf, take {} times their matrix products",
        "TS1": "the same, TS1: {} times",
    }
    for name, text in says.items():
        ratios = sorted(r[name] / floors[name](r) for r in rounds[1:])
        seconds = median(r[name] for r in rounds[1:])
        print(text.format(f"{median(ratios):.2f}"), f"- rounds {ratios[0]:.2f} to {ratios[-1]:.2f}; {seconds:.3f} s")


if __name__ == "__main__":
    main()
