"""CMA-ES that maximises a return, by the library cma, with a generator of its own and an exact state without pickle.

Hansen, "The CMA Evolution Strategy: A Tutorial", arXiv 1604.00772; World Models (1803.10122, appendix) trains C by it.
"""

from __future__ import annotations

from typing import Any

import cma
import numpy as np
import torch
from cma.sigma_adaptation import CMAAdaptSigmaCSA
from cma.utilities.utils import ElapsedWCTime
from jaxtyping import Float

# All of cma's own variables on which a later ask or tell depends, by the object that holds them, when its options are
# those below: no bounds, no injected solutions, no restarts. tests/test_evolution.py compares everything else, too.
_KEPT = {
    "": ("countiter", "countevals", "sigma", "mean", "mean_old", "pc", "pc2"),
    "adapt_sigma": ("ps",),
    "sigma_vec": ("scaling", "is_identity", "dim"),
    "sm": ("C", "B", "D", "last_update", "count_tell", "count_eigen", "standard_deviations"),
}


class Evolution:
    """Ask for candidates, tell their returns; the higher the better. Only the order of the returns matters.

    Antithetic: candidates i and i + P/2 are mirror images about the mean, and of each such pair the better one takes
    part in the new mean, the worse one counts against (pairwise selection: Auger, Brockhoff & Hansen, "Mirrored
    sampling in evolution strategies with weighted recombination", GECCO 2011). Without this selection the two of a pair
    cancel in the mean, the path of the mean looks too short, and the step size shrinks: under noise alone it halves
    every 220 generations (867 parameters, P = 64), and a search that starts far off freezes. On noisy quadratics
    mirrored pairs with selection come at least as far as independent samples (`tests.bench_evolution`).
    The code released with World Models mirrors only with its other optimisers; its CMA-ES gives candidates i and
    i + P/2 the same episodes.

    A return that is nan counts as -inf, the worst; among equal returns the candidate asked for first is the better.

    Nothing depends on the clock, and nothing touches numpy's global generator. Bits depend on the number of threads of
    numpy's linear algebra, as they do everywhere.
    """

    def __init__(
        self,
        size: int,
        *,
        population: int,
        sigma: float = 0.1,
        seed: int,
        antithetic: bool = True,
        diagonal: bool = False,
        start: Float[np.ndarray, " size"] | None = None,
    ) -> None:
        """``size`` parameters (2 or more), first mean ``start`` (zeros), first standard deviation ``sigma`` of each.

        ``diagonal``: separable CMA-ES (Ros & Hansen 2008), linear in ``size`` in place of cubic.
        """
        if size < 2:
            raise ValueError(f"expected 2 parameters or more, found {size}: CMA-ES has no use for fewer")
        if population < 4 or (antithetic and population % 2):
            raise ValueError(f"expected a population of at least 4, even if antithetic, found {population}")
        self.size, self.population, self.antithetic, self.diagonal = size, population, antithetic, diagonal
        self._rng = np.random.default_rng(seed)
        self._before = self._rng.bit_generator.state  # of the generator, when the population was asked for
        self._solutions: list[np.ndarray] | None = None  # cma's own, while they wait to be told
        self._asked: np.ndarray | None = None  # the caller's copy
        self._start, self._sigma = np.zeros(size) if start is None else start.copy(), sigma
        self._es = self._new()

    def _new(self) -> Any:
        options = {
            "popsize": self.population,
            "seed": np.nan,  # leaves numpy's global generator alone
            "randn": self._normal,
            "CMA_diagonal": self.diagonal,
            "CMA_mirrors": 0,  # with fewer than 6 candidates cma would mirror some itself
            "AdaptSigma": CMAAdaptSigmaCSA,  # from 300 parameters on, cma would choose a two-point test
            "conditioncov_alleviate": [1e8, 0],  # its second measure hides part of the state in a change of variables
            "verbose": -10,  # no output, and no option file read from the working folder
            "verb_log": 0,
        }
        return cma.CMAEvolutionStrategy(self._start, self._sigma, options)

    def _normal(self, count: int, size: int) -> np.ndarray:
        if not self.antithetic:
            return self._rng.standard_normal((count, size))
        half = self._rng.standard_normal((count // 2, size))
        return np.concatenate([half, -half])

    def ask(self) -> Float[np.ndarray, "P size"]:
        """The candidates of this generation: the same array until their returns are told."""
        if self._asked is None:
            self._before = self._rng.bit_generator.state
            self._solutions = self._es.ask()
            self._asked = np.array(self._solutions)
        return self._asked

    def tell(self, returns: Float[np.ndarray, " P"]) -> None:
        """What each candidate returned, in the order in which they were asked for."""
        if self._asked is None or self._solutions is None:
            raise RuntimeError("told returns of candidates that nobody asked for: ask() comes before each tell()")
        if len(returns) != self.population:
            raise ValueError(f"expected {self.population} returns, one of each candidate, found {len(returns)}")
        values = np.where(np.isnan(returns), -np.inf, returns).astype(np.float64)
        self._es.tell(self._solutions, self._ranks(values).tolist())
        self._before, self._solutions, self._asked = self._rng.bit_generator.state, None, None

    def _ranks(self, values: np.ndarray) -> np.ndarray:
        """Places from 0, the best, in the order that selection goes by; all different, so cma has no ties to break."""
        lost = np.zeros(len(values), np.bool_)
        if self.antithetic:
            first, second = np.split(values, 2)
            lost = np.concatenate([first < second, first >= second])
        ranks = np.empty(len(values))
        ranks[np.lexsort((-values, lost))] = np.arange(len(values))
        return ranks

    @property
    def mean(self) -> Float[np.ndarray, " size"]:
        """Centre of the search: under noise a better estimate of the optimum than any candidate."""
        return np.array(self._es.mean)

    @property
    def sigma(self) -> float:
        """Overall step size; the standard deviation of each parameter is `deviations`."""
        return float(self._es.sigma)

    @property
    def deviations(self) -> Float[np.ndarray, " size"]:
        """Standard deviation of each parameter over candidates."""
        return np.broadcast_to(self._es.stds, self.size).copy()

    @property
    def generation(self) -> int:
        """Generations told so far."""
        return int(self._es.countiter)

    def state(self) -> dict[str, Any]:
        """Tensors and plain values; also between ask and tell. Of ``size`` squared numbers unless diagonal."""
        return {
            "settings": self._settings(),
            "asked": self._asked is not None,
            "generator": self._before if self._asked is not None else self._rng.bit_generator.state,
            "cma": {holder: _kept(self._part(holder), names) for holder, names in _KEPT.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on bit for bit as the one, made with the same settings, whose `state` this was."""
        if state["settings"] != self._settings():
            raise ValueError(
                f"expected the state of an evolution with {self._settings()}, found one with {state['settings']}; "
                "make this one with the same settings"
            )
        self._rng.bit_generator.state = state["generator"]
        self._es = self._new()
        for holder, names in state["cma"].items():
            for name, value in names.items():
                # A copy, but in the same memory layout: linear algebra rounds differently over rows than over columns.
                array = np.array(value.numpy(), order="K") if isinstance(value, torch.Tensor) else value
                setattr(self._part(holder), name, array)
        self._es._updateBDfromSM(self._es.sm)
        self._es.timer = ElapsedWCTime()  # which cma starts in the first generation and reads when asked to stop
        self._before, self._solutions, self._asked = state["generator"], None, None
        if state["asked"]:
            self.ask()  # as it was asked before: from the same distribution and the same numbers

    def _settings(self) -> dict[str, Any]:
        names = ("size", "population", "antithetic", "diagonal")
        return {name: getattr(self, name) for name in names}

    def _part(self, holder: str) -> Any:
        return getattr(self._es, holder) if holder else self._es


def _kept(holder: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """Copies, in the memory layout that they have in cma; what a holder of this kind does not have is left out."""
    found = {name: getattr(holder, name) for name in names if hasattr(holder, name)}
    return {
        name: torch.from_numpy(np.array(value, order="K")) if isinstance(value, np.ndarray) else _plain(value)
        for name, value in found.items()
    }


def _plain(value: Any) -> bool | int | float:
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, bool | int | float):
        return plain
    raise TypeError(f"expected an array or a number in cma's state, found {type(value).__name__}")
