"""What one entrant reached on one task: the numbers that tables, and later verdicts, are made of; also as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from analysis import scores
from analysis.trials import Results, TaskFacts, Trial


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Per-seed values of one entrant on one task, and what follows from them."""

    task: TaskFacts
    entrant: str
    expected: int  # seeds that there should be; those not in `seeds` are holes
    seeds: tuple[int, ...]
    values: tuple[float, ...]  # per seed: the last checkpoint over `final_episodes` episodes
    passages: tuple[scores.Passage, ...]  # per seed: when the task's threshold was reached
    rewards: tuple[float, ...]  # per seed: reward of all training episodes, where the task's curve is "cumulative"
    near: tuple[int, float] | None  # first episode short enough in the mean over seeds, where it is "episodes"
    played: int  # training episodes that every seed has played

    @property
    def final(self) -> scores.Interval | None:
        return scores.t_interval(self.values) if self.values else None

    @property
    def reward(self) -> scores.Interval | None:
        return scores.t_interval(self.rewards) if self.rewards else None

    @property
    def sd(self) -> float | None:
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else None

    @property
    def median(self) -> float | None:
        return float(np.median(self.values)) if self.values else None

    @property
    def times(self) -> tuple[float | None, ...]:
        """Per seed: the mark at which the threshold was seen to be reached; None is censored at the budget."""
        return tuple(one.by for one in self.passages)

    @property
    def since(self) -> tuple[float, ...]:
        """Per seed: the last step at which it was measured short of the threshold."""
        return tuple(one.after for one in self.passages)

    @property
    def median_time(self) -> float | None:
        return scores.median_time(self.times)

    @property
    def median_is_bound(self) -> bool:
        """Whether the median may be earlier than it was seen: marks before it were not measured."""
        return any(one.gap for one in self.passages if one.by is not None and one.by == self.median_time)

    @property
    def reached(self) -> int:
        """How many seeds reached the threshold within the budget."""
        return sum(time is not None for time in self.times)


def cells(results: Results) -> list[Cell]:
    """Every task with every entrant, in the suite's order; a pair that the suite does not declare expects 0 seeds."""
    return [_cell(results, task, entrant) for task in results.tasks.values() for entrant in results.entrants]


def _cell(results: Results, task: TaskFacts, entrant: str) -> Cell:
    trials = results.trials.get((task.name, entrant), [])
    lengths = [trial.episode_length for trial in trials]
    bound = task.threshold
    return Cell(
        task=task,
        entrant=entrant,
        expected=results.expected(task.name, entrant),
        seeds=tuple(trial.seed for trial in trials),
        values=tuple(trial.final for trial in trials),
        passages=() if bound is None else tuple(_passage(trial, task, bound) for trial in trials),
        rewards=tuple(float(t.episode_return.sum()) for t in trials) if task.curve == "cumulative" else (),
        near=None if bound is None or task.curve != "episodes" else scores.episodes_to_threshold(lengths, bound),
        played=min((of.size for of in lengths), default=0),
    )


def _passage(trial: Trial, task: TaskFacts, threshold: float) -> scores.Passage:
    marks = scores.marks(task.every, task.budget)
    curve, measured = (scores.at_marks(trial.step, of, marks) for of in (trial.value, trial.step))
    return scores.passage(marks, curve, threshold, lower_is_better=task.lower_is_better, measured=measured)


FIELDS = (
    "suite", "task", "entrant", "known", "protocol", "metric", "budget", "frames", "n", "expected", "mean", "low",
    "high", "sd", "median", "score", "threshold", "steps_to_threshold", "reached", "reward_mean", "reward_low",
    "reward_high", "episodes_to_threshold", "length_there", "seeds", "values", "times", "rewards",
    "times_after",
)  # fmt: skip


def tidy_csv(results: Results) -> str:
    """One row for each task and entrant; an empty field is a number that does not exist (no interval, censored)."""
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS, lineterminator="\n", restval="")
    writer.writeheader()
    for cell in cells(results):
        if cell.expected:
            writer.writerow(_csv_row(results, cell))
    return text.getvalue()


def _csv_row(results: Results, cell: Cell) -> dict[str, object]:
    task, final, reward = cell.task, cell.final, cell.reward
    row: dict[str, object] = {
        "suite": results.suite, "task": task.name, "entrant": cell.entrant,
        "known": ";".join(results.entrants[cell.entrant]), "metric": task.metric,
        "protocol": "imported" if cell.entrant in results.imported else task.protocol,
        "budget": task.budget, "frames": task.frames, "n": len(cell.seeds), "expected": cell.expected,
        "seeds": _joined(cell.seeds), "values": _joined(cell.values), "rewards": _joined(cell.rewards),
        "threshold": _exact(task.threshold),
    }  # fmt: skip
    if final:
        row |= {"mean": _exact(final.mean), "low": _exact(final.low), "high": _exact(final.high)}
        row |= {"sd": _exact(cell.sd), "median": _exact(cell.median)}
        if task.score:
            zero, one = task.score
            row["score"] = _exact(float(scores.normalised(final.mean, zero=zero, one=one)))
    if cell.times:
        row |= {"steps_to_threshold": _exact(cell.median_time), "times": _joined(cell.times)}
        row |= {"times_after": _joined(cell.since), "reached": cell.reached}
    if reward:
        row |= {
            "reward_mean": _exact(reward.mean),
            "reward_low": _exact(reward.low),
            "reward_high": _exact(reward.high),
        }
    if cell.near:
        row |= {"episodes_to_threshold": cell.near[0], "length_there": _exact(cell.near[1])}
    return row


def _exact(value: float | None) -> str:
    return "" if value is None else f"{value:.8g}"


def _joined(values: Iterable[float | None]) -> str:
    return ";".join("censored" if value is None else _exact(value) for value in values)
