"""What a suite's records say on what a claim measures: one number per seed, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from analysis import scores
from analysis.cells import Cell, cells
from analysis.model_quality import DREAM, FEWEST_WINDOWS, Quality, gaps, qualities
from analysis.tables import decimals, number
from analysis.trials import Results, Trial
from suites.spec import Claim

NO_RECORDS, NOT_COMPARABLE = "no records yet", "not comparable"

Values = tuple[float | None, ...]  # per seed; None is a time that is censored at the budget


class Refused(Exception):
    """A claim that the records can't answer; ``verdict`` says which way."""

    def __init__(self, verdict: str, reason: str) -> None:
        super().__init__(reason)
        self.verdict = verdict


@dataclass(frozen=True)
class Case:
    """A claim with the records that speak to it."""

    claim: Claim
    results: Results
    seed: int

    def values(self, entrant: str) -> Values:
        """One number per seed, of what the claim measures."""
        cell = self._cell(entrant)
        trials = self.results.trials.get((self.claim.task, entrant), [])
        if not trials:
            raise Refused(NO_RECORDS, f"{entrant} has no finished record of {self.claim.task}")
        if self.claim.measure == "steps":
            return cell.times
        if self.claim.measure == "final":
            return cell.values
        if self.claim.measure in ("virtual", "gap"):
            return self._dreamt(entrant, trials)
        if self.claim.measure in ("error", "growth"):
            return self._predicted(entrant, trials)
        of = self._episodes if self.claim.measure == "episodes" else _reward
        return tuple(of(trial) for trial in trials)

    def numbers(self, entrant: str) -> list[float]:
        """The same where every seed must have one."""
        values = self.values(entrant)
        numbers = [one for one in values if one is not None]
        if len(numbers) < len(values) or not np.isfinite(numbers).all():
            missing = f"{len(values) - len(numbers)} of {len(values)} seeds of {entrant}"
            raise Refused(NOT_COMPARABLE, f"{missing} did not reach the threshold, and a mean needs all of them")
        return numbers

    def ranked(self, entrant: str) -> list[float]:
        """The same where a censored time may stand as the longest."""
        return [np.inf if one is None else one for one in self.values(entrant)]

    def since(self, entrant: str) -> tuple[float, ...]:
        """Of steps: the last at which each seed was measured short of the threshold."""
        return self._cell(entrant).since

    def told(self, entrant: str, *, named: bool = False) -> str:
        """The values as text, after the name if ``named``; n beside the number that there should be."""
        text = shown(self.values(entrant), self.results.expected(self.claim.task, entrant))
        return f"{entrant} {text}" if named else text

    @property
    def entrants(self) -> tuple[str, ...]:
        """All whose records speak to the claim."""
        return tuple(dict.fromkeys(name for name in (self.claim.entrant, *self.claim.entrants) if name))

    @property
    def header(self) -> Mapping[str, Any] | None:
        """How the first of its records was made; None where there is none."""
        cells = (self.results.trials.get((self.claim.task, name)) for name in self.entrants)
        return next((cell[0].header for cell in cells if cell), None)

    @property
    def by_ranks(self) -> bool:
        return self.claim.measure in ("steps", "episodes")

    @property
    def lower_is_better(self) -> bool:
        lower, measure = self.results.tasks[self.claim.task].lower_is_better, self.claim.measure
        if measure in ("error", "growth"):
            return True
        # Who scores too well in the model has a gap above 0, or below it where less is better.
        return self.by_ranks or (not lower if measure == "gap" else lower and measure in ("final", "virtual"))

    def _dreamt(self, entrant: str, trials: list[Trial]) -> Values:
        """The score inside the agent's own model, or its distance from the actual one."""
        for gap in gaps(self.results):
            if (gap.task.name, gap.entrant, gap.where) == (self.claim.task, entrant, DREAM):
                values = gap.virtual.mean if self.claim.measure == "virtual" else gap.gaps
                if len(values) < len(trials) or not np.isfinite(values).all():
                    n = int(np.isfinite(values).sum())
                    raise Refused(
                        NOT_COMPARABLE, f"only {n} of {len(trials)} seeds of {entrant} have a finite virtual score"
                    )
                if gap.unlike and self.claim.measure == "gap":
                    raise Refused(NOT_COMPARABLE, f"the gap of {entrant} is the noise's too: {gap.unlike}")
                return tuple(map(float, values))
        raise Refused(NO_RECORDS, f"no record of {entrant} on {self.claim.task} has a score inside its own model")

    def _predicted(self, entrant: str, trials: list[Trial]) -> Values:
        """The error of the agent's model after a number of steps, or by which power of that number it grows."""
        one = self._models.get(entrant)
        if one is None:
            raise Refused(NO_RECORDS, f"no record of {entrant} on {self.claim.task} tells of a model")
        values = one.growth if self.claim.measure == "growth" else one.errors[:, one.ahead.index(self._horizon)]
        if len(values) < len(trials) or not np.isfinite(values).all():
            n = f"{np.isfinite(values).sum()} of {len(trials)}"
            raise Refused(NOT_COMPARABLE, f"only {n} seeds of {entrant} have a finite error of their model{_on(one)}")
        return tuple(map(float, values))

    @cached_property
    def _models(self) -> dict[str, Quality]:
        """Those of the claim's entrants that have one."""
        found = {one.entrant: one for one in qualities(self.results) if one.task.name == self.claim.task}
        return {entrant: found[entrant] for entrant in self.entrants if entrant in found}

    @cached_property
    def _horizon(self) -> int:
        """After how many steps errors are compared; all models compared were asked for it."""
        shared = set.intersection(*(set(one.ahead) for one in self._models.values()))
        wanted = self.claim.horizon or max(shared, default=0)
        if wanted not in shared:
            asked = "; ".join(f"{name}: {', '.join(map(str, one.ahead))}" for name, one in self._models.items())
            what = f"after {wanted} steps" if wanted else "after equally many steps"
            raise Refused(NOT_COMPARABLE, f"not all models have an error {what} (steps asked for: {asked})")
        return wanted

    @cached_property
    def _cells(self) -> dict[tuple[str, str], Cell]:
        return {(cell.task.name, cell.entrant): cell for cell in cells(self.results)}

    def _cell(self, entrant: str) -> Cell:
        try:
            return self._cells[self.claim.task, entrant]
        except KeyError:
            raise Refused(NO_RECORDS, f"the records loaded have no task {self.claim.task} with {entrant}") from None

    def _episodes(self, trial: Trial) -> float | None:
        """The first training episode, counted from 1, that reaches the task's threshold."""
        task = self.results.tasks[self.claim.task]
        assert task.threshold is not None  # `suites check` sees to it
        played = trial.episode_length if task.metric == "length" else trial.episode_return
        reached = played <= task.threshold if task.lower_is_better else played >= task.threshold
        return float(np.argmax(reached)) + 1 if reached.any() else None


def _on(one: Quality) -> str:
    """At which horizons an error was passed over for its few windows."""
    few = [str(h) for h in one.ahead if one.few(h).any()]
    return f" on {FEWEST_WINDOWS} windows or more (not so after {', '.join(few)} steps)" if few else ""


def _reward(trial: Trial) -> float:
    total = float(trial.episode_return.sum())
    if not np.isfinite(total):
        raise Refused(NOT_COMPARABLE, f"a training episode of seed {trial.seed} has a return that is not finite")
    return total


def shown(values: Values, expected: int) -> str:
    """`14.20 ± 0.23 (n=30)`, `(n=27 of 30)` where seeds are missing; with censored times the median."""
    of = "" if len(values) == expected else f" of {expected}"
    if any(one is None for one in values):
        median = scores.median_time(values)
        reached = f"{sum(one is not None for one in values)} of {len(values)} reached it"
        missing = f"; n={len(values)}{of}" if of else ""
        return f"median {'censored' if median is None else f'{median:,g}'} ({reached}{missing})"
    interval = scores.t_interval([one for one in values if one is not None])
    if interval.half is None:
        return f"{interval.mean:,.4g} (n={interval.n}{of})"
    places = decimals(interval.half or abs(interval.mean) / 20)
    return f"{number(interval.mean, places)} ± {number(interval.half, places)} (n={interval.n}{of})"
