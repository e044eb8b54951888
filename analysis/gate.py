"""The gate on scores: does each agent still reach what its records say? A verdict for every cell, and an exit code.

A cell is a task with an entrant. Its new seeds are compared with its recorded ones by the task's metric at the last
checkpoint. The rules:

1. One side is compared with the other only under one protocol and with the same granted functions; else the cell is
   "not comparable" and the fields that differ are told. Other settings (`config`) are compared, and told.
2. A drop is tested one-sided by Welch's statistic (`analysis.drops`), Holm over the cells: the probability that
   anything is called a drop while nothing has changed is ``alpha`` at most, over all cells together.
3. p at most alpha after Holm: "regress", however few the seeds are.
4. A new seed that failed, is unfinished, ended in a score that is not finite, or left nothing behind although it was
   asked for (or, where that is not told, although another cell has it) makes the cell "missing": those that are left
   were chosen by their luck. So does a side without any seed.
5. "Too few seeds": the test of this cell alone, at level alpha, would see a drop of ``drop`` standard deviations in
   fewer than four cases of five (1.5 unless said otherwise: 5 new against 10 recorded seeds see 1.49, 10 against 20
   see 1.00), or Holm asks for a p that so few seeds can't give.
6. Scores that rose by the same test are "improved": no fault, but a reason to look (an easier environment, a leak)
   and to record anew. All else is "pass".
7. Without variance: where every seed of both sides has one score, nothing has changed. Where each side has one
   score of its own (a deterministic optimum, missed by one step), the smallest difference beyond rounding (1e-9 of
   the score) is as significant as so many seeds allow: p = 1/3003 for 5 against 10.
8. Exit code 3 if any cell regresses; else 5 if any is missing, not comparable or of too few seeds, or if none was
   tested; else 0. A waiver that has not expired takes its cell out of this, but not out of the report nor of Holm.

What Holm costs: the first p of k cells has to be below alpha / k. Measured on normal scores, 5 against 10 seeds find a
drop of 1.5 standard deviations in one cell with a probability of 82 %, as one of three cells with 64 %, as one of six
with 50 %; 10 against 20 seeds with 98, 96 and 88 %. So the drop that every cell could have seen in the worst case, at
alpha / k, stands beside its verdict.

What p means: how likely so low a statistic is if nothing has changed. A change that leaves the mean and doubles the
spread is no drop, but changed: it is called one in 7 % of such cells rather than 5 (fourfold: 9 %).

A seed that both sides hold is told: unchanged code repeats it bit for bit, which makes a drop harder to see, so fresh
seeds (`python -m suites run SUITE --seeds +5`) are the better test.
"""

from __future__ import annotations

import datetime
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from analysis.drops import enough, holm, least_drop, p_values, regroupings, smallest_drop, smallest_p
from analysis.sides import GateError, Side, commits, comparable, read_side, remarks, with_absent
from analysis.waivers import Waiver, WaiverError, read_waivers
from suites.selection import asked_seeds
from suites.spec import Suite, SuiteError, load_suite

Verdict = Literal["pass", "improved", "regress", "too few seeds", "missing", "not comparable"]
OPEN: tuple[Verdict, ...] = ("missing", "not comparable", "too few seeds")  # neither passed nor failed


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One cell, compared."""

    task: str
    entrant: str
    metric: str
    new: Side
    old: Side
    p: float | None = None  # of a drop, after Holm; None: not tested
    p_rise: float | None = None  # of a rise, after Holm over the rises of all cells
    sees: float | None = None  # the drop that 80 % of such tests find, at alpha / cells; None: none, or not tested
    verdict: Verdict = "pass"
    remarks: tuple[str, ...] = ()
    waiver: Waiver | None = None  # only one that holds

    @property
    def name(self) -> str:
        return f"{self.task}/{self.entrant}"

    @property
    def sign(self) -> int:
        """By which a value of the metric becomes one of which more is better."""
        return -1 if self.metric == "length" else 1

    @property
    def drop(self) -> float | None:
        """How much worse the new mean is, in the metric's unit; negative: better."""
        if self.new.mean is None or self.old.mean is None:
            return None
        return self.sign * (self.old.mean - self.new.mean)


@dataclass(frozen=True, kw_only=True)
class Gate:
    """A suite's cells, judged."""

    suite: str
    alpha: float
    visible: float  # standard deviations: the drop that each cell's test alone must see
    cells: tuple[Outcome, ...]
    remarks: tuple[str, ...] = ()

    @property
    def tested(self) -> int:
        return sum(cell.p is not None for cell in self.cells)

    @property
    def exit_code(self) -> int:
        standing = {cell.verdict for cell in self.cells if cell.waiver is None}
        if "regress" in standing:
            return 3
        return 5 if standing.intersection(OPEN) or not self.tested else 0


def gate_from_files(
    suite: str,
    new: Path,
    old: Path,
    alpha: float,
    visible: float,
    tasks: Sequence[str] | None = None,
    entrants: Sequence[str] | None = None,
    waivers: Path | None = None,
    seeds: str | None = None,
) -> Gate:
    """`judge`, of the suite's name or file, a waiver file, and the seeds as `python -m suites run --seeds` takes them.

    Raises:
        GateError: with whatever can't be read.
    """
    if not 0 < alpha < 1 or not visible > 0:
        raise GateError(f"expected 0 < --alpha < 1 and --drop above 0, found {alpha:g} and {visible:g}.")
    try:
        loaded = load_suite(suite)
        names = list(dict.fromkeys(f"{trial.task}/{trial.entrant}" for trial in loaded.trials()))
        waived = read_waivers(waivers, names) if waivers else {}
        run, asked = asked_seeds(loaded, seeds)
        asked = run.all_seeds if seeds and asked is None else asked
        rng = np.random.default_rng(0)  # the same regroupings whenever the same records are compared
        return judge(
            loaded, new, old, rng=rng, alpha=alpha, visible=visible, tasks=tasks, entrants=entrants, waivers=waived,
            asked=asked,
        )  # fmt: skip
    except (SuiteError, WaiverError, ValueError) as error:
        raise GateError(str(error)) from None


def judge(
    suite: Suite,
    new: Path,
    old: Path,
    *,
    rng: np.random.Generator,
    alpha: float = 0.05,
    visible: float = 1.5,
    tasks: Sequence[str] | None = None,
    entrants: Sequence[str] | None = None,
    waivers: Mapping[str, Waiver] | None = None,
    asked: Collection[int] | None = None,
    today: datetime.date | None = None,
) -> Gate:
    """Compare what the results folder ``new`` holds of a suite with what ``old`` holds of it.

    ``asked``: the new seeds that there should be.

    Raises:
        GateError: a folder without records, one folder for both sides, or a record that can't be read.
        ValueError: no such task or entrant.
    """
    pairs = list(dict.fromkeys((trial.task, trial.entrant) for trial in suite.trials(tasks, entrants)))
    if not pairs:
        raise GateError(f"expected a task of {suite.name} that one of these entrants meets, found none.")
    if new.resolve() == old.resolve():
        raise GateError(f"expected two folders to compare, found {new} for both. Run into another one with --results.")
    metrics = {name: task.metric for name, task in suite.tasks.items()}
    news, olds = (read_side(folder / suite.name, pairs, metrics) for folder in (new, old))
    news = with_absent(suite, news, asked)
    cells = [
        Outcome(
            task=pair[0], entrant=pair[1], metric=metrics[pair[0]], new=news[pair], old=olds[pair],
            remarks=tuple(remarks(news[pair], olds[pair])),
        )
        for pair in pairs
    ]  # fmt: skip
    cells = _tested(cells, alpha, rng)
    tested = sum(cell.p is not None for cell in cells)
    cells = [replace(cell, verdict=_verdict(cell, alpha, visible, tested)) for cell in cells]
    cells, told = _waived(cells, waivers or {}, today or datetime.date.today())
    made = (f"new: made by {commits(news)}", f"recorded: made by {commits(olds)}")
    return Gate(suite=suite.name, alpha=alpha, visible=visible, cells=tuple(cells), remarks=(*made, *told))


def _tested(cells: Sequence[Outcome], alpha: float, rng: np.random.Generator) -> list[Outcome]:
    """The cells, those with their p that can be compared and whose seeds could give a p of alpha at all."""
    chosen = [
        cell
        for cell in cells
        if least_drop(cell.new.n, cell.old.n, alpha) is not None and comparable(cell.new, cell.old)
    ]
    ways = {size: regroupings(*size, rng) for size in sorted({(cell.new.n, cell.old.n) for cell in chosen})}
    scores = [[np.multiply(cell.sign, side.values) for side in (cell.new, cell.old)] for cell in chosen]
    ps = [p_values(new, old, ways[new.size, old.size]) for new, old in scores]
    falls, rises = holm([p[0] for p in ps]), holm([p[1] for p in ps])
    found = {
        cell.name: replace(cell, p=fall, p_rise=rise, sees=smallest_drop(new, old, alpha / len(chosen)))
        for cell, (new, old), fall, rise in zip(chosen, scores, falls, rises, strict=True)
    }
    return [found.get(cell.name, cell) for cell in cells]


def _verdict(cell: Outcome, alpha: float, visible: float, tested: int) -> Verdict:
    """Rules 1 to 6, in the order in which they take precedence."""
    n, m = cell.new.n, cell.old.n
    if n and m and not comparable(cell.new, cell.old):
        return "not comparable"
    if cell.p is not None and cell.p <= alpha:
        return "regress"
    if not n or not m or cell.new.holes:
        return "missing"
    if cell.p is None or not enough(n, m, alpha, visible) or smallest_p(n, m) > alpha / tested:
        return "too few seeds"
    return "improved" if cell.p_rise is not None and cell.p_rise <= alpha else "pass"


def _waived(
    cells: Sequence[Outcome], waivers: Mapping[str, Waiver], today: datetime.date
) -> tuple[list[Outcome], list[str]]:
    """The cells with the waivers that hold for them, and what is to be said of the other waivers."""
    told, judged = [], []
    for cell in cells:
        waiver = waivers.get(cell.name)
        needed = cell.verdict == "regress" or cell.verdict in OPEN
        if waiver and not waiver.holds(today):
            told.append(f"{cell.name}: the waiver expired on {waiver.expires} and does not count: {waiver.reason}")
        elif waiver and not needed:
            told.append(f"{cell.name}: the waiver is not needed, take it out: {waiver.reason}")
        judged.append(replace(cell, waiver=waiver if waiver and needed and waiver.holds(today) else None))
    return judged, told
