"""What a learning curve shows, by the kind that the task declares: where its points lie and what they mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis import scores
from analysis.scores import Array
from analysis.trials import TaskFacts, Trial

EPISODES = 50  # drawn of a task whose curve is "episodes": learning is over by then, and the start is what differs
CROWDED = 6  # entrants of a panel; the bands of more would hide one another
BAND = f"its 95 % t interval, from 3 seeds on (it may run out of a panel), where at most {CROWDED} share the panel"
POINTS = 200  # of a cumulative curve, which is known at every step


@dataclass(frozen=True, kw_only=True)
class Curves:
    """The curves of one entrant on one task, all at the same ``x``."""

    x: Array
    seeds: Array  # [seeds points]; NaN where a seed has no value
    mean: Array  # over seeds; NaN where any has none
    half: Array  # half width of the t interval; NaN below three seeds
    across: str  # what x is
    up: str  # what y is
    measured: bool = True  # whether a point is a measurement, to be marked, or one of a continuous line
    log: bool = False
    comparable: bool = True  # whether threshold and score are in the unit of y


def curves(task: TaskFacts, trials: Sequence[Trial]) -> Curves:
    """Read the trials of one entrant on ``task`` as its ``curve`` says."""
    steps = "steps" if task.action_repeat == 1 else f"steps (1 step = {task.action_repeat} frames)"
    at = scores.marks(task.every, task.budget)
    better = " (lower is better)" if task.lower_is_better else ""
    if task.curve == "evaluation":
        read = [scores.at_marks(trial.step, trial.value, at) for trial in trials]
        return _curves(at, read, across=steps, up=f"{task.metric} in evaluation{better}")
    if task.curve == "training":
        read = [scores.windows(trial.episode_step, _metric(task, trial), at) for trial in trials]
        return _curves(at, read, across=steps, up=f"{task.metric} in training{better}")
    if task.curve == "cumulative":
        at = np.linspace(0, task.budget, POINTS + 1)
        read = [scores.cumulative(trial.episode_step, trial.episode_return, at) for trial in trials]
        return _curves(at, read, across=steps, up="reward so far", measured=False, comparable=False)
    played = min(EPISODES, *(trial.episode_length.size for trial in trials))
    read = [_metric(task, trial)[:played] for trial in trials]
    return _curves(
        np.arange(1.0, played + 1), read, across="training episode", up=f"{task.metric} of the episode{better}",
        measured=False, log=task.lower_is_better,
    )  # fmt: skip


def _metric(task: TaskFacts, trial: Trial) -> Array:
    return trial.episode_length if task.lower_is_better else trial.episode_return


def _curves(
    x: Array,
    read: Sequence[Array],
    *,
    across: str,
    up: str,
    measured: bool = True,
    log: bool = False,
    comparable: bool = True,
) -> Curves:
    seeds = np.array(read)
    mean, half = scores.t_band(seeds)
    return Curves(
        x=x, seeds=seeds, mean=mean, half=half, across=across, up=up, measured=measured, log=log,
        comparable=comparable,
    )  # fmt: skip


def reference_lines(task: TaskFacts) -> dict[float, str]:
    """Values that a reader holds the curves against, by what they are."""
    lines: dict[float, str] = {}
    zero, one = task.score or (None, None)
    for at, what in ((zero, "score 0:"), (one, "score 1:"), (task.threshold, "threshold:")):
        if at is not None:
            lines[at] = f"{lines[at].removesuffix(':')}, {what}" if at in lines else what
    return lines
