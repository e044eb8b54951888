"""The report's graphs as places in drawings: learning curves, profiles, and rows of dots with intervals."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis import scores
from analysis.curves import CROWDED, Curves, curves, reference_lines
from analysis.figures import COLOURS, seed_counts, short
from analysis.forests import Forest, Row
from analysis.profiles import Profiles
from analysis.report.scales import Scale, listed, roomy, simplified
from analysis.scores import Array
from analysis.trials import Results, TaskFacts, Trial, spans

WIDTH, HEIGHT = 420, 240  # of a panel, in units that are pixels where it has room
LEFT, RIGHT, TOP, BOTTOM = 46, 400, 10, 206
STRIP_LEFT, STRIP_RIGHT = 8, 412
APART = 12  # between labels of two lines


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line, band or dot; ``say`` is what pointing at it shows."""

    points: str
    look: str  # classes: its colour and dash
    say: str = ""
    key: str = ""  # which seed of which task; the same wherever this seed is drawn


@dataclass(frozen=True, kw_only=True)
class Panel:
    title: str
    under: tuple[str, ...]
    across: str
    x: list[tuple[float, str]]
    y: list[tuple[float, str]]
    bands: list[Line]
    seeds: list[Line]
    means: list[Line]
    references: list[tuple[float, float, str]]  # height of the line and of its label
    empty: str = ""  # why there is nothing

    @property
    def crowded(self) -> bool:
        """Whether bands are shown of one at a time only."""
        return len(self.means) > CROWDED


@dataclass(frozen=True, kw_only=True)
class Dot:
    """All seeds of one value."""

    place: float
    size: float
    say: str
    key: str  # the key of each, with spaces between them


@dataclass(frozen=True, kw_only=True)
class Strip:
    """One row of dots: places along the axis."""

    label: str
    said: str
    look: str
    dots: list[Dot]
    interval: tuple[float, float] | None
    open_low: bool
    open_high: bool
    point: float | None


@dataclass(frozen=True, kw_only=True)
class Strips:
    title: str
    under: str
    across: str
    x: list[tuple[float, str]]
    even: float | None
    rows: list[Strip]


def look(results: Results, entrant: str) -> str:
    place = list(results.entrants).index(entrant)
    return f"c{place % len(COLOURS)} d{place // len(COLOURS) % 4}"


def key(results: Results, task: str, entrant: str, seed: int) -> str:
    return f"{list(results.tasks).index(task)}.{list(results.entrants).index(entrant)}.{seed}"


def spoken(results: Results, task: str, entrant: str, seeds: Sequence[int], value: float) -> str:
    of = f"seed{'s' if len(seeds) > 1 else ''} {spans(seeds)}"
    return f"{results.label(entrant)}, {of}: {results.tasks[task].metric} {value:,.6g}"


def curve_panel(results: Results, task: TaskFacts) -> Panel:
    """The same curves as the figure's, in its limits."""
    found = {
        name: (trials, curves(task, trials))
        for name in results.entrants
        if (trials := results.trials.get((task.name, name)))
    }
    drawn = {name: of for name, of in found.items() if np.isfinite(of[1].seeds).any()}
    bare = [name for name in found if name not in drawn]
    facts = f"{task.length}; {seed_counts(results, task)}"
    under = (f"no curve: {', '.join(bare)}",) if bare else ()
    if not drawn:
        return Panel(
            title=task.name, under=(facts, *under), across="", x=[], y=[], bands=[], seeds=[], means=[],
            references=[], empty="nothing to draw" if found else "no finished trial",
        )  # fmt: skip
    one = next(iter(drawn.values()))[1]
    x, y, references, off = _axes(task, [of for _, of in drawn.values()])
    panel = Panel(
        title=task.name, under=(f"{one.up}; {facts}", *under, *off), across=one.across, x=x.ticks(), y=y.ticks(5),
        bands=[], seeds=[], means=[], references=references,
    )  # fmt: skip
    for name, (trials, of) in drawn.items():
        _draw(panel, results, name, trials, of, x, y)
    return panel


def _axes(task: TaskFacts, drawn: Sequence[Curves]) -> tuple[Scale, Scale, list[tuple[float, float, str]], list[str]]:
    """Both axes; the lines that a reader holds the curves against; and those that would squeeze them."""
    one = drawn[0]
    values = np.concatenate([of.seeds[np.isfinite(of.seeds)] for of in drawn])
    low, high = float(values.min()), float(values.max())
    low = max(low, 1.0) if one.log else low
    marks = reference_lines(task) if one.comparable else {}
    room = math.log(4) if one.log else 0.6 * (high - low)
    least, most = (low / 4, high * 4) if one.log else (low - room, high + room)
    near = [at for at in sorted(marks) if least <= at <= most]
    y = roomy(min(low, *near, low), max(high, *near, high), BOTTOM, TOP, log=one.log)
    x = Scale(low=float(one.x[0]), high=max(float(of.x[-1]) for of in drawn) or 1.0, start=LEFT, end=RIGHT - 4)
    references: list[tuple[float, float, str]] = []
    for at in sorted(near, reverse=True):
        height = round(float(y.at(at)), 1)
        close = references and height - references[-1][0] < APART + 4
        label = max(height + 11, references[-1][1] + APART) if close else height - 4
        references.append((height, label, f"{marks[at]} {short(at)}"))
    off = [f"{what} {short(at)}" for at, what in marks.items() if at not in near]
    return x, y, references, [f"off the panel: {', '.join(off)}"] if off else []


def _draw(panel: Panel, results: Results, name: str, trials: Sequence[Trial], of: Curves, x: Scale, y: Scale) -> None:
    colour = look(results, name)
    for trial, seed in zip(trials, of.seeds, strict=True):
        there = np.isfinite(seed)
        if there.any():
            points = listed(simplified(x.at(of.x[there]), y.at(seed[there])))
            say = spoken(results, trial.task, name, [trial.seed], trial.final)
            panel.seeds.append(
                Line(points=points, look=colour, say=say, key=key(results, trial.task, name, trial.seed))
            )
    there = np.isfinite(of.mean)
    if not there.any():
        return
    across, mean = x.at(of.x[there]), of.mean[there]
    panel.means.append(Line(points=listed(simplified(across, y.at(mean))), look=colour))
    if len(of.seeds) >= scores.FEWEST_SEEDS:
        panel.bands.append(_band(across, y.at(mean - of.half[there]), y.at(mean + of.half[there]), colour))


def _band(across: Array, low: Array, high: Array, colour: str) -> Line:
    ends = np.concatenate([simplified(across, high), simplified(across, low)[::-1]])
    return Line(points=listed(ends), look=colour)


def profile_panel(results: Results, of: Profiles) -> Panel:
    x = Scale(low=float(of.taus[0]), high=float(of.taus[-1]), start=LEFT, end=RIGHT - 4)
    y = Scale(low=0.0, high=1.0, start=BOTTOM, end=TOP)
    across = np.repeat(x.at(of.taus), 2)[1:]  # steps: a share holds until the next level
    panel = Panel(
        title="Performance profiles", under=("share of runs that score above a level; " + of.under, _n(results, of)),
        across="normalised score", x=x.ticks(), y=y.ticks(), bands=[], seeds=[], means=[], references=[],
    )  # fmt: skip
    for entrant, band in of.bands.items():
        colour = look(results, entrant)
        ends = [None if end is None else np.repeat(y.at(end), 2)[:-1] for end in (band.low, band.high)]
        line = np.stack([across, np.repeat(y.at(band.point), 2)[:-1]], axis=1)
        panel.means.append(Line(points=listed(line[_turns(line)]), look=colour))
        if ends[0] is not None and ends[1] is not None:
            lower, upper = (np.stack([across, end], axis=1) for end in ends if end is not None)
            points = np.concatenate([upper[_turns(upper)], lower[_turns(lower)][::-1]])
            panel.bands.append(Line(points=listed(points), look=colour))
    return panel


def _n(results: Results, of: Profiles) -> str:
    counts = {band.n for band in of.bands.values()}
    if len(counts) == 1:
        return f"n={counts.pop()}"
    return ", ".join(f"{results.label(entrant)} n={band.n}" for entrant, band in of.bands.items())


def _turns(line: Array) -> NDArray[np.intp]:
    """Where a line of steps has corners."""
    level = np.diff(line[:, 1]) != 0
    return np.flatnonzero(np.concatenate(([True], level)) | np.concatenate((level, [True])))


def strips(results: Results, forest: Forest, task: str | None = None) -> Strips:
    """Rows of dots; ``task``: the one whose seeds they are."""
    low, high = forest.span or (0.0, 1.0)
    x = roomy(low, high, STRIP_LEFT, STRIP_RIGHT, log=forest.log)
    return Strips(
        title=forest.name, under=forest.under, across=forest.across, x=x.ticks() if forest.span else [],
        even=None if forest.even is None else round(float(x.at(forest.even)), 1),
        rows=[_strip(results, row, x, task) for row in forest.rows],
    )  # fmt: skip


def _strip(results: Results, row: Row, x: Scale, task: str | None) -> Strip:
    interval = None
    if row.low is not None and row.high is not None:
        interval = (round(float(x.at(row.low)), 1), round(float(x.at(row.high)), 1))
    return Strip(
        label=row.label, said=row.said, look=look(results, row.entrant) if row.entrant else "pair",
        dots=list(_dots(results, row, x, task)) if task else [],
        interval=interval, point=None if row.point is None else round(float(x.at(row.point)), 1),
        open_low=x.log and row.low == 0, open_high=row.high is not None and math.isinf(row.high),
    )  # fmt: skip


def _dots(results: Results, row: Row, x: Scale, task: str) -> Iterator[Dot]:
    assert row.entrant is not None  # whose seeds they are
    for value in dict.fromkeys(value for _, value in row.dots):
        seeds = [seed for seed, of in row.dots if of == value]
        yield Dot(
            place=round(float(x.at(value)), 1), size=round(min(2.7 + 0.6 * math.sqrt(len(seeds)), 5), 1),
            say=spoken(results, task, row.entrant, seeds, value),
            key=" ".join(key(results, task, row.entrant, seed) for seed in seeds),
        )  # fmt: skip


def legend(results: Results) -> Mapping[str, str]:
    """Labels of the entrants that meet any of the tasks shown, with how they look."""
    met = [name for name in results.entrants if any(results.expected(task, name) for task in results.tasks)]
    return {results.label(name): look(results, name) for name in met}
