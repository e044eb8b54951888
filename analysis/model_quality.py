"""What the records say of world models: error by horizon and its growth, and how agents do in their models and outside.

All numbers are of the final evaluation, as `suites/runner/model_quality.py` defines them, one per seed.

An agent *cheats the model* where it scores more in it than outside, beyond chance: the lower end of the two-sided 95 %
interval of (virtual - actual) is above 0. From three seeds on that is the t interval over seeds of their differences.
Below, it is Welch's interval over the episodes of each agent by itself, and says nothing of other seeds. Where a
smaller metric is the better one, the upper end has to be below 0. Where the model was lived in by another behaviour
than was evaluated there is no verdict: a gap would be the noise's as well as the model's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from analysis import scores
from analysis.index import MODEL
from analysis.rules import quantile, satterthwaite
from analysis.scores import Array, Interval
from analysis.trials import Results, TaskFacts, Trial

DREAM = "dream"  # where: the agent's own model
LEVEL = 0.95
CHEATS, REALITY, NONE, UNKNOWN = "cheats the model", "better in reality", "no gap seen", "no number"
BEHAVIOUR = {"mode": "the mode", "sample": "samples"}  # a `PolicyMode` in words
SAMPLED = ("agents.mbpo", "agents.me_trpo")  # whose rows `virtual` without `policy` are of samples; others' of the mode
FEWEST_WINDOWS = 8  # of which an error by horizon counts for a growth, a figure or a claim


@dataclass(frozen=True, kw_only=True)
class Quality:
    """The models of one entrant on one task."""

    task: TaskFacts
    entrant: str
    seeds: tuple[int, ...]
    pixel: bool  # whether errors are of brightness from 0 to 1; else in standard deviations
    horizons: tuple[int, ...]  # 0 is the reconstruction
    columns: Mapping[str, Array]  # those of the index's MODEL, each [seeds horizons]; NaN where there is no number

    def at(self, name: str, horizon: int) -> Array:
        """One number per seed, NaN where there is none."""
        if horizon not in self.horizons:
            return np.full(len(self.seeds), np.nan)
        return self.columns[name][:, self.horizons.index(horizon)]

    @property
    def ahead(self) -> tuple[int, ...]:
        """The horizons at which the model predicts."""
        return tuple(h for h in self.horizons if h)

    def few(self, horizon: int) -> NDArray[np.bool_]:
        """Whether fewer windows than it takes last so long, per seed."""
        return self.at("windows", horizon) < FEWEST_WINDOWS

    @cached_property
    def errors(self) -> Array:
        """Open-loop errors ``[seeds ahead]``; NaN also where they are of too few windows."""
        return np.stack([np.where(self.few(h), np.nan, self.at("error", h)) for h in self.ahead], axis=1)

    @cached_property
    def gradients(self) -> Array:
        """Norms of the gradient through the model ``[seeds ahead]``; NaN where the agent takes none."""
        return np.stack([self.at("gradient", h) for h in self.ahead], axis=1)

    @cached_property
    def growth(self) -> Array:
        """Per seed the power of the horizon by which the error grows; NaN where too few horizons have one."""
        return np.array([exponent(self.ahead, errors) for errors in self.errors])


def exponent(horizons: Sequence[int], errors: Array) -> float:
    """The slope p of log(error) = c + p log(horizon): least squares over errors above 0, three at least."""
    with np.errstate(invalid="ignore"):
        used = np.isfinite(errors) & (errors > 0)
    if np.count_nonzero(used) < 3:
        return math.nan
    x, y = np.log(np.asarray(horizons, dtype=np.float64)[used]), np.log(errors[used])
    return float(np.sum((x - x.mean()) * (y - y.mean())) / np.sum((x - x.mean()) ** 2))


def qualities(results: Results) -> list[Quality]:
    """Task by task, each entrant whose records have rows `model`."""
    found = []
    for task in results.tasks.values():
        for entrant in results.entrants:
            trials = [trial for trial in results.trials.get((task.name, entrant), ()) if trial.model]
            if trials:
                found.append(_quality(task, entrant, trials))
    return found


def _quality(task: TaskFacts, entrant: str, trials: Sequence[Trial]) -> Quality:
    horizons = sorted({int(h) for trial in trials for h in trial.model["horizon"]})
    columns = {name: np.full((len(trials), len(horizons)), np.nan) for name in MODEL}
    for row, trial in enumerate(trials):
        places = [horizons.index(int(h)) for h in trial.model["horizon"]]
        for name in MODEL:
            columns[name][row, places] = trial.model[name]
    return Quality(
        task=task, entrant=entrant, seeds=tuple(trial.seed for trial in trials), horizons=tuple(horizons),
        pixel=bool(np.nanmax(columns["pixel"])), columns=columns,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Side:
    """One side of a gap in the task's metric; over the episodes of each seed."""

    mean: Array  # [seeds]; NaN where an episode has no finite number
    sd: Array
    count: Array


@dataclass(frozen=True, kw_only=True)
class Gap:
    """How an entrant does elsewhere than in its evaluation environment, and in that from the same beginnings."""

    task: TaskFacts
    entrant: str
    where: str  # DREAM, or the name of the environment that stood in for it in training
    seeds: tuple[int, ...]
    virtual: Side
    actual: Side
    unlike: str = ""  # by which behaviours the sides were played, where it is not the same one

    @property
    def gaps(self) -> Array:
        """Virtual less actual, per seed."""
        return self.virtual.mean - self.actual.mean

    @property
    def interval(self) -> Interval | None:
        """Over the seeds that have a number; None if none has."""
        return over_seeds(self.gaps)

    @cached_property
    def alone(self) -> list[tuple[float, float] | None]:
        """Each agent's 95 % interval by itself: Welch's over its episodes; None where it has none."""
        sides = (self.virtual, self.actual)
        mean, sd, count = (np.stack([getattr(side, of) for side in sides], axis=1) for of in ("mean", "sd", "count"))
        return [welch_ends(*of) for of in zip(mean, sd, count, strict=True)]

    @property
    def verdict(self) -> str:
        over = self.interval
        if over is None:
            return UNKNOWN
        if self.unlike:
            return f"no verdict: {self.unlike}"
        if over.low is not None and over.high is not None:
            return self._call(over.low, over.high)
        known = [self._call(*ends) for ends in self.alone if ends is not None]
        if not known:
            return UNKNOWN
        told = [f"{call} ({known.count(call)} of {len(known)} alone)" for call in dict.fromkeys(known)]
        return ", ".join(told)

    def _call(self, low: float, high: float) -> str:
        low, high = (-high, -low) if self.task.lower_is_better else (low, high)
        return self.cheating if low > 0 else REALITY if high < 0 else NONE

    @property
    def cheating(self) -> str:
        return CHEATS if self.where == DREAM else f"better in {self.where}"


def over_seeds(values: Array) -> Interval | None:
    """The t interval over the seeds that have a number; None if none has."""
    finite = values[np.isfinite(values)]
    return scores.t_interval(finite) if finite.size else None


def welch_ends(mean: Array, sd: Array, count: Array) -> tuple[float, float] | None:
    """Welch's 95 % interval of mean[0] - mean[1]; None where a side has one episode, or no finite number."""
    if not np.isfinite(mean).all() or (count < 2).any():
        return None
    variance, freedom = sd**2 / count, count - 1.0
    total, difference = float(variance.sum()), float(mean[0] - mean[1])
    if total == 0:
        return difference, difference
    freedoms = satterthwaite(*(float(of[side]) for side in (0, 1) for of in (variance, freedom)))
    half = quantile(0.5 + LEVEL / 2, freedoms) * math.sqrt(total)
    return difference - half, difference + half


def gaps(results: Results) -> list[Gap]:
    """Task by task, each entrant whose records have rows `virtual`; its dream before the environment it trained in."""
    return list(_gaps(results))


def _gaps(results: Results) -> Iterator[Gap]:
    for task in results.tasks.values():
        for entrant in results.entrants:
            trials = [trial for trial in results.trials.get((task.name, entrant), ()) if trial.virtual]
            for dream, where in ((1.0, DREAM), (0.0, task.env)):
                found = [(trial, np.flatnonzero(trial.virtual["dream"] == dream)) for trial in trials]
                rows = [(trial, int(at[0])) for trial, at in found if at.size]
                if rows:
                    yield Gap(
                        task=task, entrant=entrant, where=where, seeds=tuple(trial.seed for trial, _ in rows),
                        virtual=_side(rows, task.metric), actual=_side(rows, f"real_{task.metric}"),
                        unlike=_unlike(rows) if where == DREAM else "",
                    )  # fmt: skip


def _unlike(rows: Sequence[tuple[Trial, int]]) -> str:
    """`dreamt by samples, played by the mode`, and of how many seeds that is so if not of all; "" of none."""
    sides = [(_dreamt_by(trial, at), _played_by(trial)) for trial, at in rows]
    unlike = [f"dreamt by {BEHAVIOUR[dreamt]}, played by {BEHAVIOUR[played]}" for dreamt, played in sides
              if dreamt != played]  # fmt: skip
    some = f" ({len(unlike)} of {len(rows)} seeds)" if len(unlike) < len(rows) else ""
    return " and ".join(dict.fromkeys(unlike)) + some if unlike else ""


def _dreamt_by(trial: Trial, at: int) -> str:
    mode = trial.virtual["mode"][at]
    if math.isnan(mode):
        return "sample" if trial.header.get("agent") in SAMPLED else "mode"
    return "mode" if mode else "sample"


def _played_by(trial: Trial) -> str:
    evaluate = trial.header.get("protocol", {}).get("evaluate", {})
    return str(evaluate.get("policy") or "mode")


def _side(rows: Sequence[tuple[Trial, int]], of: str) -> Side:
    columns = (f"{of}_mean", f"{of}_sd", f"{of}s")
    mean, sd, count = (np.array([trial.virtual[name][at] for trial, at in rows]) for name in columns)
    return Side(mean=mean, sd=sd, count=count)
