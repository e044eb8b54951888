"""The tables of world models: error by horizon, rewards, ends, calibration; virtual and actual scores. Also as CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from analysis import scores
from analysis.model_quality import DREAM, FEWEST_WINDOWS, Gap, Quality, gaps, over_seeds, qualities
from analysis.scores import Array
from analysis.tables import NOTHING, Column, Content, number
from analysis.trials import Results

READING = {
    "error": "error at h steps: root mean squared error of the observation that the model predicts from the actions "
    "alone, h steps after the last one it saw; (sd) each dimension in its standard deviations, where an error of 1.4 "
    "is as bad as another observation of the same windows; (0-1) brightness of images. Mean ± half width of the 95 % t "
    "interval over n seeds; below 3 seeds every seed's value. Diverged: not finite. Each entrant is measured on "
    "windows of its own evaluation episodes: where behaviour differs, so does what is to be predicted.",
    "few": f"few windows: fewer than {FEWEST_WINDOWS} stretches of the episodes kept last so long. No growth is fitted "
    "on such an error, no claim decided by it, and figures leave it out.",
    "reconstruction": "reconstruction: the same of the last observation seen, through the model's bottleneck.",
    "growth": "growth: the power of h by which the error grows, fitted per seed in log-log; a saturated error flattens "
    "it.",
    "reward": "reward error: root mean squared, in the reward's unit.",
    "ends": "ends: balanced accuracy (half the share of true ends found, half the share of other steps left alone) "
    "over all predicted steps; 0.5 is chance. Where no end occurred, only the share of false alarms is known.",
    "within": "within 1 sd, 2 sd: the share of errors one step ahead that are no larger than the model expects; 0.683 "
    "and 0.954 if its errors are Gaussian and its deviations true.",
    "gap": "virtual: the task's metric inside the agent's own model (dream), or in the environment that stood in for "
    "the true one in training; actual: from the same first observations, in evaluation. Gap: virtual less actual. "
    "Cheats the model: the lower end of the gap's 95 % interval is above 0 (where less is better: the upper below 0). "
    "From 3 seeds on that is the t interval over seeds; below, Welch's over the episodes of each agent alone, which "
    "says nothing of other seeds. Each is judged by itself, without correction for their number.",
    "unlike": "no verdict: the two sides are of two behaviours, so that the gap is the noise's as well as the model's.",
}
MARKS = {"few": "few windows", "unlike": "no verdict"}  # entries that need more to be said

SMALL = 1e-3  # what is less is written with its power of ten


@dataclass(frozen=True)
class Part:
    """A column to be: its head, what it reads of a model, its legend, and which horizon's windows that is over."""

    head: tuple[str, str]
    read: Callable[[Quality], Array]
    legend: str
    horizon: int | None = None
    lost: bool = False  # whether to say how often the prediction was not finite


def content(results: Results) -> Content | None:
    """The tables, or None where no record tells of a model."""
    groups = [group for task in results.tasks for group in (_quality(results, task), *_scores(results, task)) if group]
    if not groups:
        return None
    used = {column.legend for group in groups for column in group}
    entries = [entry for group in groups for column in group for entry in column.entries]
    used |= {READING[name] for name, mark in MARKS.items() if any(mark in entry for entry in entries)}
    below = [("How to read it", [legend for legend in READING.values() if legend in used])]
    if holes := results.hole_lines():
        below.append((f"Holes: {len(results.holes)} of {results.total} trials have no number", holes))
    if results.notes:
        below.append(("Notes", results.notes))
    widest = max(len(results.label(entrant)) for entrant in results.entrants) + 3
    return Content(
        title=f"{results.title}: world models", label=f"{results.suite}-models",
        pages=lambda width: (page for group in groups for page in _pages(group, width - widest)), below=below,
    )  # fmt: skip


def _pages(columns: Sequence[Column], width: int) -> Iterator[list[Column]]:
    """As many at a time as fit."""
    page: list[Column] = []
    for column in columns:
        if page and sum(one.width for one in (*page, column)) > width:
            yield page
            page = []
        page.append(column)
    yield page


def _quality(results: Results, task: str) -> list[Column]:
    """What the models of a task are worth."""
    of_task = {one.entrant: one for one in qualities(results) if one.task.name == task}
    columns = []
    for part in _parts(list(of_task.values())) if of_task else ():
        entries = [_entry(results, part, of_task.get(entrant)) for entrant in results.entrants]
        if any(entry not in ("", NOTHING) for entry in entries):
            columns.append(_column(task, part.head, entries, part.legend))
    return columns


def _scores(results: Results, task: str) -> Iterator[list[Column]]:
    """Virtual and actual scores of a task, for each place where it was played."""
    played = [one for one in gaps(results) if one.task.name == task]
    for where in dict.fromkeys(one.where for one in played):
        there = {one.entrant: one for one in played if one.where == where}
        heads = ("virtual", "in its dream" if where == DREAM else f"in {where}"), ("actual", "in evaluation")
        columns = []
        for head, read in zip((*heads, ("gap", "virtual - actual"), ("verdict", "on the gap")), _SIDES, strict=True):
            entries = [read(results, there[one]) if one in there else "" for one in results.entrants]
            columns.append(_column(task, head, entries, READING["gap"]))
        yield columns


def _column(task: str, head: tuple[str, str], entries: Sequence[str], legend: str) -> Column:
    none = (None,) * len(entries)
    return Column(
        task=task, head=(task, *head), entries=tuple(entries), best=frozenset(), merits=none, legend=legend
    )  # fmt: skip


def _parts(found: Sequence[Quality]) -> Iterator[Part]:
    unit = "(0-1)" if found[0].pixel else "(sd)"
    ahead = sorted({h for one in found for h in one.ahead})
    for h in (0, *ahead):
        head = ("error at", f"{steps(h)} {unit}") if h else ("reconstruction", unit)
        yield Part(head, _reads("error", h), READING["error" if h else "reconstruction"], h, lost=True)
    yield Part(("growth", "of the error"), lambda one: one.growth, READING["growth"])
    for h in dict.fromkeys((ahead[0], ahead[-1])) if ahead else ():
        yield Part(("reward error", f"at {steps(h)}"), _reads("reward_error", h), READING["reward"], h)
    if ahead:
        for what, name in (("accuracy", "accuracy"), ("false alarms", "false_alarms")):
            yield Part(("ends:", what), _reads(name, ahead[-1]), READING["ends"])
        for k, wanted in ((1, "0.683"), (2, "0.954")):
            read, head = _reads(f"within_{k}", ahead[0]), (f"within {k} sd", f"of {wanted}")
            yield Part(head, read, READING["within"], ahead[0])


def _reads(name: str, horizon: int) -> Callable[[Quality], Array]:
    return lambda one: one.at(name, horizon)


def steps(h: int) -> str:
    return f"{h} step{'' if h == 1 else 's'}"


def _entry(results: Results, part: Part, one: Quality | None) -> str:
    if one is None:
        return ""
    values, h = part.read(one), part.horizon
    few = 0 if h is None else int(np.count_nonzero(one.few(h) & np.isfinite(values)))
    diverged = int(np.count_nonzero(one.at("diverged", h) > 0)) if part.lost and h is not None else 0
    return told(values, results.expected(one.task.name, one.entrant), diverged, few)


def told(values: Array, expected: int, diverged: int = 0, few: int = 0) -> str:
    """`0.213 ± 0.014 (n=3)`; below three seeds every value; how many have none because the model diverged.

    And how many have one of too few windows.
    """
    finite = values[np.isfinite(values)]
    if not finite.size:
        return f"diverged ({diverged} of {expected})" if diverged else NOTHING
    n = f"n={finite.size}" + (f" of {expected}" if finite.size < expected else "")
    n += f", {diverged} diverged" if diverged else ""
    n += "" if not few else f", {MARKS['few']}" if few == finite.size else f", {few} on {MARKS['few']}"
    interval = scores.t_interval(finite)
    if interval.half is None:
        return f"{', '.join(_written(value, abs(value) / 20) for value in finite)} ({n})"
    mean = abs(interval.mean)
    off = interval.half if interval.half > 1e-6 * mean else mean / 20
    if max(mean, off) < SMALL:
        return f"{interval.mean:.1e} ± {interval.half:.1e} ({n})"
    return f"{_written(interval.mean, off)} ± {_written(interval.half, off)} ({n})"


def _written(value: float, off: float) -> str:
    """With two figures of what it may be off by; errors may be far smaller than scores."""
    if 0 < abs(value) < SMALL and off < SMALL:
        return f"{value:.1e}"
    return number(value, 0 if off == 0 else min(max(1 - math.floor(math.log10(off)), 0), 6))


def _reads_side(name: str) -> Callable[[Results, Gap], str]:
    def read(results: Results, gap: Gap) -> str:
        values = gap.gaps if name == "gap" else getattr(gap, name).mean
        return told(values, results.expected(gap.task.name, gap.entrant), int(np.count_nonzero(~np.isfinite(values))))

    return read


def _reads_verdict(_: Results, gap: Gap) -> str:
    return gap.verdict


_SIDES = (_reads_side("virtual"), _reads_side("actual"), _reads_side("gap"), _reads_verdict)

FIELDS = ("suite", "task", "entrant", "where", "quantity", "unit", "horizon", "n", "expected", "mean", "low", "high",
          "seeds", "values", "verdict")  # fmt: skip
NUMBERS = ("windows", "error", "reward_error", "reward_correlation", "accuracy", "brier", "false_alarms", "within_1",
           "within_2")  # fmt: skip


def tidy_csv(results: Results) -> str:
    """One row for each number of each entrant on each task; an empty field is a number that does not exist."""
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS, lineterminator="\n", restval="")
    writer.writeheader()
    for one in qualities(results):
        unit = "0-1" if one.pixel else "sd"
        for name in NUMBERS:
            for h in one.horizons:
                if not np.isnan(values := one.at(name, h)).all() or (name == "error" and one.at("diverged", h).any()):
                    told_unit = {"unit": unit} if name == "error" else {}
                    writer.writerow(_row(results, one, values) | {"quantity": name, "horizon": h, **told_unit})
        writer.writerow(_row(results, one, one.growth) | {"quantity": "growth"})
    for gap in gaps(results):
        for name, values in (("virtual", gap.virtual.mean), ("actual", gap.actual.mean), ("gap", gap.gaps)):
            verdict = {"verdict": gap.verdict} if name == "gap" else {}
            told_where = {"where": gap.where, "quantity": name, "unit": gap.task.metric, **verdict}
            writer.writerow(_row(results, gap, values) | told_where)
    return text.getvalue()


def _row(results: Results, of: Quality | Gap, values: Array) -> dict[str, object]:
    interval = over_seeds(values)
    ends = {"mean": interval.mean, "low": interval.low, "high": interval.high} if interval else {}
    return {
        "suite": results.suite, "task": of.task.name, "entrant": of.entrant, "n": interval.n if interval else 0,
        "expected": results.expected(of.task.name, of.entrant), "seeds": ";".join(map(str, of.seeds)),
        "values": ";".join("" if np.isnan(value) else f"{value:.8g}" for value in values),
        **{name: f"{end:.8g}" for name, end in ends.items() if end is not None},
    }  # fmt: skip
