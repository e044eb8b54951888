"""What is known of a suite's trials: Trial or Hole for each, TaskFacts for each task, Results for all."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.scores import Array

if TYPE_CHECKING:
    import pandas as pd

Key = tuple[str, str, int]  # task, entrant, seed


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One finished record; its evaluations and its training episodes as columns."""

    task: str
    entrant: str
    seed: int
    header: Mapping[str, Any] = field(repr=False)
    step: Array  # of each evaluation; the last is the final one
    value: Array  # mean over the evaluation's episodes
    sd: Array  # over the same episodes; NaN for one episode
    count: Array  # how many they were
    episode_step: Array  # the step at which each training episode ended
    episode_return: Array
    episode_length: Array
    model: Mapping[str, Array] = field(default_factory=dict, repr=False)  # rows `model` of the final evaluation, as
    virtual: Mapping[str, Array] = field(default_factory=dict, repr=False)  # columns; rows `virtual`; {} without any

    @property
    def final(self) -> float:
        """The last checkpoint over `final_episodes` episodes: the headline number of this seed."""
        return float(self.value[-1])


@dataclass(frozen=True, kw_only=True)
class Hole:
    """An expected trial that has no number to show."""

    task: str
    entrant: str
    seed: int
    reason: str

    @property
    def outstanding(self) -> bool:
        """Whether it has only not been run to its end yet: what has failed, or has no finite score, has been."""
        return self.reason == "missing" or self.reason.startswith("unfinished")


@dataclass(frozen=True, kw_only=True)
class TaskFacts:
    """What a reader must know to read the numbers of one task."""

    name: str
    env: str
    budget: int  # steps
    action_repeat: int
    every: int  # steps between two marks
    final_episodes: int
    metric: str  # "return" | "length"
    threshold: float | None
    score: tuple[float, float] | None  # the values that count as 0 and 1
    curve: str  # "evaluation" | "training" | "cumulative" | "episodes"
    protocol: str | None  # the hash; None while there is no record

    @property
    def frames(self) -> int:
        return self.budget * self.action_repeat

    @property
    def length(self) -> str:
        """The budget in words: a frame is a tick of the simulator, a step a decision."""
        return f"{self.budget:,} steps" + (f" ({self.frames:,} frames)" if self.action_repeat > 1 else "")

    @property
    def lower_is_better(self) -> bool:
        return self.metric == "length"


def spans(seeds: Sequence[int]) -> str:
    """Ascending seeds as `0, 2, 4-29`, the way `--seeds` takes them."""
    runs: list[list[int]] = []
    for seed in seeds:
        if runs and seed == runs[-1][-1] + 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


@dataclass(kw_only=True)
class Results:
    """All that is known of a suite: trials and holes together are exactly the expected trials."""

    suite: str
    title: str
    folder: Path
    tasks: dict[str, TaskFacts]
    entrants: dict[str, tuple[str, ...]]  # name -> known functions that the suite grants; in the suite's order
    trials: dict[tuple[str, str], list[Trial]]  # by task and entrant, sorted by seed
    holes: list[Hole]
    notes: list[str]  # what else a reader must know, e.g. seeds that ran under two configs
    imported: dict[str, tuple[str, ...]] = field(default_factory=dict)  # entrant -> what is not known of its runs

    def label(self, entrant: str) -> str:
        """The name as it is printed: with the known functions granted to it, or that its runs were imported."""
        if unknown := self.imported.get(entrant):
            return f"{entrant} (imported; unknown: {len(unknown)} fields)"
        known = self.entrants[entrant]
        return f"{entrant} [known {', '.join(known)}]" if known else entrant

    @property
    def total(self) -> int:
        return sum(map(len, self.trials.values())) + len(self.holes)

    def expected(self, task: str, entrant: str) -> int:
        """How many seeds of a cell there should be."""
        return len(self.trials.get((task, entrant), ())) + self._holes[task, entrant]

    @cached_property
    def _holes(self) -> Counter[tuple[str, str]]:
        return Counter((hole.task, hole.entrant) for hole in self.holes)

    def hole_lines(self, task: str | None = None, entrants: Sequence[str] = ()) -> list[str]:
        """One line for all holes of one task, entrant and reason; without ``task`` no hole is left out."""
        seeds: dict[tuple[str, str, str], list[int]] = defaultdict(list)
        for hole in self.holes:
            if task is None or (hole.task == task and hole.entrant in entrants):
                seeds[hole.task, hole.entrant, hole.reason].append(hole.seed)
        return [
            f"{task} / {entrant} / seed{'s' if len(of) > 1 else ''} {spans(of)}: {reason}"
            for (task, entrant, reason), of in seeds.items()
        ]

    @cached_property
    def evaluations(self) -> pd.DataFrame:
        """Tidy: one row per evaluation, in the task's metric: mean and sd over its episodes."""
        frame = self._frame("step", {"step": "step", "value": "value", "sd": "sd", "count": "episodes"})
        frame["final"] = ~frame.duplicated(["task", "entrant", "seed"], keep="last")
        return frame

    @cached_property
    def episodes(self) -> pd.DataFrame:
        """Tidy: one row per training episode."""
        names = {"episode_step": "step", "episode_return": "return", "episode_length": "length"}
        return self._frame("episode_step", names)

    @cached_property
    def missing(self) -> pd.DataFrame:
        """Tidy: one row per hole."""
        import pandas as pd

        rows = [(hole.task, hole.entrant, hole.seed, hole.reason) for hole in self.holes]
        return pd.DataFrame(rows, columns=["task", "entrant", "seed", "reason"])

    def _frame(self, counted: str, columns: Mapping[str, str]) -> pd.DataFrame:
        import pandas as pd

        trials = [trial for cell in self.trials.values() for trial in cell]
        sizes = [getattr(trial, counted).size for trial in trials]
        data: dict[str, Any] = {
            who: np.repeat(np.array([getattr(trial, who) for trial in trials], dtype=kind), sizes)
            for who, kind in (("task", object), ("entrant", object), ("seed", int))
        }
        for attribute, name in columns.items():
            data[name] = np.concatenate([np.empty(0), *(getattr(trial, attribute) for trial in trials)])
        return pd.DataFrame(data)
