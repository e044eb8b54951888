"""What the report shows of world models: tables, error by horizon, virtual beside actual scores, and their pictures."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from analysis import scores
from analysis.figures_models import growth, sorted_by_panel
from analysis.forests import Forest, Row
from analysis.model_quality import DREAM, Gap, Quality, gaps, over_seeds, qualities
from analysis.model_tables import content, steps, told
from analysis.report.graphs import BOTTOM, LEFT, RIGHT, TOP, Line, Panel, Strips, key, look, strips
from analysis.report.scales import Scale, listed, roomy
from analysis.tables import Column, met
from analysis.trials import Results


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A GIF as the page carries it."""

    name: str
    source: str


@dataclass(frozen=True, kw_only=True)
class Models:
    """All that is shown of the world models of a suite; empty where no record tells of one."""

    tables: Sequence[tuple[str, Sequence[Column], Sequence[tuple[int, str]]]]  # task, columns, places and labels
    reading: Sequence[str]
    errors: Sequence[Panel]
    scores: Sequence[Strips]
    pictures: Sequence[Picture]


def models(results: Results) -> Models:
    told_of = content(results)
    labels = [results.label(entrant) for entrant in results.entrants]
    pages, below = (told_of.pages(MANY), told_of.below) if told_of else ((), ())
    found = [one for one in qualities(results) if one.ahead]
    return Models(
        tables=[(page[0].task, page, [(row, labels[row]) for row in met(page)]) for page in pages],
        reading=[line for title, lines in below if title == "How to read it" for line in lines],
        errors=[_panel(results, list(of)) for _, of in groupby(found, key=lambda one: one.task.name)],
        scores=[strips(results, forest, task) for task, forest in _forests(results)],
        pictures=list(_pictures(results)),
    )  # fmt: skip


MANY = 10**6  # characters: on the page a table may be as wide as it is


def _panel(results: Results, of: Sequence[Quality]) -> Panel:
    """The same as the figure's panel: error by horizon, both axes logarithmic."""
    task, ahead = of[0].task, sorted({h for one in of for h in one.ahead})
    drawn = np.concatenate([one.errors[one.errors > 0] for one in of])
    unit = "error in brightness (0-1)" if of[0].pixel else "error in standard deviations"
    grown = tuple(f"{results.label(one.entrant)} {growth(results, one)}" for one in of)
    if not drawn.size:
        return Panel(
            title=task.name, under=(unit, *grown), across="", x=[], y=[], bands=[], seeds=[], means=[], references=[],
            empty="no error above 0",
        )  # fmt: skip
    x = Scale(low=ahead[0] / 1.1, high=ahead[-1] * 1.1, start=LEFT, end=RIGHT - 4, log=True)
    y = roomy(float(drawn.min()), float(drawn.max()), BOTTOM, TOP, log=True)
    panel = Panel(
        title=task.name, under=(unit, *grown), across="steps ahead, from the actions alone",
        x=[(round(float(x.at(h)), 1), str(h)) for h in ahead], y=y.ticks(5), bands=[], seeds=[], means=[],
        references=[],
    )  # fmt: skip
    for one in of:
        _lines(panel, results, one, x, y)
    return panel


def _lines(panel: Panel, results: Results, one: Quality, x: Scale, y: Scale) -> None:
    colour, across = look(results, one.entrant), x.at(np.asarray(one.ahead, dtype=np.float64))
    errors = np.where(one.errors > 0, one.errors, np.nan)
    for seed, of in zip(one.seeds, errors, strict=True):
        there = np.isfinite(of)
        if there.any():
            last = int(np.flatnonzero(there)[-1])
            say = f"{results.label(one.entrant)}, seed {seed}: error {of[last]:,.4g} at {steps(one.ahead[last])}"
            points = listed(np.stack([across[there], y.at(of[there])], axis=1))
            panel.seeds.append(
                Line(points=points, look=colour, say=say, key=key(results, one.task.name, one.entrant, seed))
            )
    mean, half = scores.t_band(errors)
    there = np.isfinite(mean)
    if there.any():
        panel.means.append(Line(points=listed(np.stack([across[there], y.at(mean[there])], axis=1)), look=colour))
    there = np.isfinite(half)
    if there.any():
        ends = [np.stack([across[there], y.at(end[there])], axis=1) for end in (mean + half, mean - half)]
        panel.bands.append(Line(points=listed(np.concatenate([ends[0], ends[1][::-1]])), look=colour))


def _forests(results: Results) -> Iterator[tuple[str, Forest]]:
    """Each task and place with the virtual and the actual score of each entrant, one below the other."""
    for (task, where), of in groupby(sorted_by_panel(gaps(results)), key=lambda one: (one.task.name, one.where)):
        found = list(of)
        place = "in its dream" if where == DREAM else f"in {where}"
        better = " (lower is better)" if found[0].task.lower_is_better else ""
        forest = Forest(
            name=f"{task}: {place} and in evaluation",
            under="from the same first observations; the verdict is on virtual less actual",
            across=f"{found[0].task.metric}{better}",
            rows=tuple(_row(results, gap, side) for gap in found for side in ("virtual", "actual")),
        )
        yield task, forest


def _row(results: Results, gap: Gap, side: str) -> Row:
    values = getattr(gap, side).mean
    mean, said = over_seeds(values), told(values, results.expected(gap.task.name, gap.entrant))
    return Row(
        label=f"{results.label(gap.entrant)}: {side}" + (f", {gap.verdict}" if side == "virtual" else ""),
        entrant=gap.entrant, point=mean.mean if mean else None, low=mean.low if mean else None,
        high=mean.high if mean else None, said=said,
        dots=tuple((seed, float(value)) for seed, value in zip(gap.seeds, values, strict=True) if np.isfinite(value)),
    )  # fmt: skip


def _pictures(results: Results) -> Iterator[Picture]:
    for path in sorted((results.folder / "figures").glob("dream-*.gif")):
        yield Picture(
            name=path.stem.removeprefix("dream-").replace("-", " "),
            source=f"data:image/gif;base64,{base64.b64encode(path.read_bytes()).decode()}",
        )
