"""What CMA-ES costs a generation and a resume, and how far its ways of sampling come on noisy quadratics."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from agents.parts.controllers import Controller
from agents.parts.evolution import Evolution
from suites.runner.processor import settle

POPULATION = 64
GENERATIONS = 12  # timed; the covariance is decomposed every third of them
LONG = 500  # generations after which a resume is wanted
SEEDS = 3


class Unselected(Evolution):
    """Mirrored pairs that are ranked like any other candidates."""

    def _ranks(self, values: np.ndarray) -> np.ndarray:
        return np.argsort(np.argsort(-values, kind="stable"), kind="stable").astype(float)


def milliseconds(work: Callable[[], Any], times: int = 1) -> float:
    began = time.perf_counter()
    for _ in range(times):
        work()
    return 1e3 * (time.perf_counter() - began) / times


def generation(evolving: Evolution, rng: np.random.Generator) -> None:
    evolving.ask()
    evolving.tell(rng.standard_normal(evolving.population))


def costs() -> None:
    print(f"ms, population {POPULATION}; a resume by replay: {LONG} generations anew from the seed and the returns")
    print("parameters  diagonal  generation  resume by replay  state()  restore()  restore(), asked  MB of state")
    for size in (867, 1088):
        for diagonal in (False, True):
            rng = np.random.default_rng(0)
            evolving = Evolution(size, population=POPULATION, seed=0, diagonal=diagonal)
            generation(evolving, rng)
            each = milliseconds(lambda e=evolving, r=rng: generation(e, r), GENERATIONS)
            state = evolving.state()
            resumed = Evolution(size, population=POPULATION, seed=0, diagonal=diagonal)
            kept, restored = milliseconds(evolving.state, 3), milliseconds(lambda e=resumed, s=state: e.restore(s), 3)
            evolving.ask()
            asked = evolving.state()
            again = milliseconds(lambda e=resumed, s=asked: e.restore(s), 3)
            arrays = [x for part in state["cma"].values() for x in part.values() if isinstance(x, torch.Tensor)]
            megabytes = sum(x.nbytes for x in arrays) / 1e6
            print(
                f"{size:10d}  {diagonal!s:>8s}  {each:10.1f}  {LONG * each:16.0f}  {kept:7.1f}  {restored:9.1f}"
                f"  {again:16.1f}  {megabytes:11.1f}"
            )


def distance_left(kind: type[Evolution], far: float, noise: float, count: int, seed: int, **settings: Any) -> float:
    """Share of the first value that is left of a sphere whose noise has a deviation of ``noise`` first values."""
    rng = np.random.default_rng([seed, 7])
    target = far * rng.standard_normal(867)
    evolving = kind(867, population=POPULATION, seed=seed, diagonal=True, **settings)
    for _ in range(count):
        values = -((evolving.ask() - target) ** 2).sum(1)
        evolving.tell(values + noise * (target**2).sum() * rng.standard_normal(POPULATION))
    return float(((evolving.mean - target) ** 2).sum() / (target**2).sum())


def samplings() -> None:
    kinds: dict[str, tuple[type[Evolution], dict[str, Any]]] = {
        "independent": (Evolution, {"antithetic": False}),
        "mirrored": (Unselected, {}),
        "mirrored, selected": (Evolution, {}),
    }
    print(f"\nShare left of a noisy sphere, 867 parameters, population {POPULATION}, mean of {SEEDS} seeds")
    print("optimum at  noise  generations  " + "  ".join(f"{name:>18s}" for name in kinds))
    for far, noise, count in ((0.2, 0.005, 400), (0.2, 0.1, 400), (2.0, 0.02, 1200)):
        left = [
            np.mean([distance_left(kind, far, noise, count, seed, **settings) for seed in range(SEEDS)])
            for kind, settings in kinds.values()
        ]
        print(f"{far:10.1f}  {noise:5.3f}  {count:11d}  " + "  ".join(f"{share:18.3f}" for share in left))


def controllers() -> None:
    print("\nus a step of C for all games; the floor is one bmm over games in the candidates' order")
    print("parameters  candidates  games  floor  in order  owner given  three quarters left")
    for inputs, outputs, bias in ((288, 3, True), (1088, 1, False)):
        for candidates, rollouts in ((4, 16), (64, 1), (64, 16)):
            controller, drawn = Controller(inputs, outputs, bias=bias), torch.Generator().manual_seed(0)
            vectors = torch.randn(candidates, controller.size, generator=drawn)
            games = candidates * rollouts
            seen = torch.randn(games, inputs, generator=drawn)
            owner = torch.arange(candidates).repeat_interleave(rollouts)
            left = torch.randperm(games, generator=drawn)[: games * 3 // 4].sort().values
            weights = vectors[:, bias * outputs :].view(candidates, inputs, outputs)
            laid_out = seen.view(candidates, rollouts, inputs)
            work: tuple[Callable[[], Any], ...] = (
                lambda x=laid_out, w=weights: torch.bmm(x, w),
                lambda c=controller, v=vectors, x=seen: c.act(v, x),
                lambda c=controller, v=vectors, x=seen, o=owner: c.act(v, x, o),
                lambda c=controller, v=vectors, x=seen[left], o=owner[left]: c.act(v, x, o),
            )
            floor, *rest = [np.median([1e3 * milliseconds(each) for _ in range(60)]) for each in work]
            print(
                f"{controller.size:10d}  {candidates:10d}  {games:5d}  {floor:5.0f}  {rest[0]:8.0f}  {rest[1]:11.0f}"
                f"  {rest[2]:19.0f}"
            )


if __name__ == "__main__":
    settle()
    costs()
    samplings()
    controllers()
