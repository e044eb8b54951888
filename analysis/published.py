"""Published scores: reads and checks results/published/*.csv, finds rows by id, paper, environment or method."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from suites.faults import nearest

FOLDER = Path(__file__).resolve().parents[1] / "results" / "published"

ID = re.compile(r"[a-z0-9][a-z0-9.-]*/[a-z0-9][a-z0-9.-]*/[a-z0-9][a-z0-9.-]*")
UNITS = ("env_steps", "agent_steps", "frames", "generations", "episodes")
SPREADS = ("seeds", "episodes", "candidates", "standard_error", "unknown")
PROVENANCES = ("exact_table", "score_file", "secondary", "memory")
METRICS = (
    "a100_gpu_days", "accelerator_days", "best_eval_return", "bsuite_score", "capped_mean", "clipped_record_mean",
    "episodes_to_epsilon_optimal", "gamer_mean", "gamer_median", "human_normalised_iqm", "human_normalised_mean",
    "human_normalised_median", "latent_dim", "mean_return", "mean_survival_steps", "mean_training_return",
    "model_calls_per_level", "normalised_mean", "parameter_count", "population_mean_return", "record_mean",
    "sample_efficiency_ratio", "steps_in_first_episode", "steps_per_episode", "success_rate", "task_mean",
    "task_mean_return", "wall_clock_hours",
)  # fmt: skip


class PublishedError(Exception):
    """A file of published scores with a fault, or an id that no row has; the message says where and what."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One published number, and all that is known of what it means."""

    id: str  # arXiv number or short name of the work, table, row
    paper: str
    year: int
    version: str  # of the paper, where its versions differ
    place: str  # table, figure or file
    env: str  # as it is named there
    gymnasium_id: str  # nearest of today, no promise of equal rewards; empty where there is none
    method: str
    method_arxiv: str  # of the method's own paper, where that is another
    budget: float | None
    unit: str  # of the budget
    metric: str
    mean: float
    spread: float | None
    spread_means: str  # over what: one of SPREADS; empty where there is no spread
    n_seeds: int | None  # trained agents; None with a spread over episodes: a policy that is not trained
    n_episodes: int | None
    provenance: str
    source: str  # repository and commit, or the paper
    note: str

    @property
    def standard_error(self) -> float | None:
        """Of the mean, over whatever the spread is over; None where that can't be said."""
        if self.spread is None or self.spread_means in ("unknown", "candidates"):
            return None
        if self.spread_means == "standard_error":
            return self.spread
        n = self.n_seeds if self.spread_means == "seeds" else self.n_episodes
        return self.spread / math.sqrt(n) if n and n > 1 else None

    def __str__(self) -> str:
        episodes = "sd over episodes" + ("" if self.n_seeds is None else " of one agent")
        over = {"seeds": "sd over seeds", "episodes": episodes, "unknown": "± not defined"}
        over |= {"candidates": "sd over candidates", "standard_error": "standard error"}
        said = f"{self.mean:,g}" if self.mean < 1e6 else f"{self.mean:,.0f}"
        if self.spread is not None:
            said += f" ± {self.spread:,g} ({over[self.spread_means]})"
        told = [
            f"{n} {what}{'' if n == 1 else 's'}"
            for n, what in ((self.n_seeds, "seed"), (self.n_episodes, "episode"))
            if n
        ]
        told += [f"at {self.budget:,g} {self.unit.replace('_', ' ')}"] if self.budget else []
        return ", ".join([said, *told])


COLUMNS = tuple(field.name for field in fields(Row))
WHOLE = ("year", "n_seeds", "n_episodes")
REAL = ("budget", "mean", "spread")
NEEDED = ("paper", "place", "env", "method", "source")


def load_published(folder: Path = FOLDER) -> list[Row]:
    """Every row, in the order of files and lines.

    Raises:
        PublishedError: with every fault of every file.
    """
    return list(_all(folder))


def find(row_id: str, folder: Path = FOLDER) -> Row:
    """The row of that id. Reads the one file that it would be in."""
    path = folder / f"{row_id.partition('/')[0]}.csv"
    known = {row.id: row for row in _file(path)} if ID.fullmatch(row_id) and path.is_file() else {}
    if row_id in known:
        return known[row_id]
    near = nearest(row_id, known or [row.id for row in _all(folder)])
    hint = f" Did you mean {near}?" if near else ""
    remedy = "Look for it with `python -m analysis published --paper --env --method`."
    raise PublishedError(f"expected the id of a row of results/published/, found {row_id!r}.{hint} {remedy}")


def select(rows: Iterable[Row], *, paper: str = "", env: str = "", method: str = "") -> list[Row]:
    """The rows in whose paper (or id), environment and method the words occur, in whatever spelling."""
    wanted = (_plain(paper), _plain(env), _plain(method))
    return [row for row in rows if all(word in text for word, text in zip(wanted, _searched(row), strict=True))]


def near_names(rows: Sequence[Row], *, paper: str = "", env: str = "", method: str = "") -> dict[str, str]:
    """For every word that occurs nowhere, the nearest name that does; empty text if none is near."""
    names = {
        "paper": (paper, {row.paper for row in rows} | {row.id.partition("/")[0] for row in rows}),
        "env": (env, {row.env for row in rows} | {row.gymnasium_id for row in rows}),
        "method": (method, {row.method for row in rows}),
    }
    found = {}
    for option, (word, known) in names.items():
        if word and not any(_plain(word) in _plain(name) for name in known):
            found[option] = nearest(word, sorted(known)) or ""
    return found


def _searched(row: Row) -> tuple[str, str, str]:
    return _plain(f"{row.paper} {row.id}"), _plain(f"{row.env} {row.gymnasium_id}"), _plain(row.method)


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


@lru_cache(maxsize=2)
def _all(folder: Path) -> tuple[Row, ...]:
    rows: list[Row] = []
    faults: list[str] = []
    for path in sorted(folder.glob("*.csv")):
        try:
            rows += _file(path)
        except PublishedError as error:
            faults.append(str(error))
    if faults or not rows:
        raise PublishedError("\n".join(faults) or f"expected files of published scores in {folder}, found none")
    return tuple(rows)


@lru_cache(maxsize=64)
def _file(path: Path) -> tuple[Row, ...]:
    rows: list[Row] = []
    faults: list[str] = []
    seen: set[str] = set()
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        head = tuple(next(reader, ()))
        if head != COLUMNS:
            raise PublishedError(f"{path}:1: expected the columns {','.join(COLUMNS)}, found {','.join(head)}")
        for cells in reader:
            found = list(_faults(cells, path.stem, seen))
            faults += [f"{path}:{reader.line_num}: {fault}" for fault in found]
            if not found:
                rows.append(_row(cells))
                seen.add(cells[0])
    if faults:
        raise PublishedError("\n".join(faults))
    return tuple(rows)


def _row(cells: Sequence[str]) -> Row:
    told: dict[str, Any] = dict(zip(COLUMNS, cells, strict=True))
    for name in WHOLE:
        told[name] = int(told[name]) if told[name] else None
    for name in REAL:
        told[name] = float(told[name]) if told[name] else None
    return Row(**told)


def _faults(cells: Sequence[str], stem: str, seen: set[str]) -> Iterator[str]:
    """What is wrong with one line."""
    if len(cells) != len(COLUMNS):
        yield f"expected {len(COLUMNS)} cells, found {len(cells)}"
        return
    told = dict(zip(COLUMNS, cells, strict=True))
    row_id = told["id"]
    if not ID.fullmatch(row_id) or row_id.partition("/")[0] != stem:
        yield f"expected an id of the form {stem}/table/row in small letters, found {row_id!r}"
    if row_id in seen:
        yield f"expected each id once, found {row_id} again"
    for name in NEEDED:
        if not told[name].strip():
            yield f"expected `{name}`, found nothing: a number without it can't be judged"
    for name, needed in (*((name, name == "year") for name in WHOLE), *((name, name == "mean") for name in REAL)):
        if not _is_number(told[name], whole=name in WHOLE, needed=needed):
            yield f"expected a finite {'whole ' if name in WHOLE else ''}number as `{name}`, found {told[name]!r}"
    choices = {"unit": ("", *UNITS), "spread_means": ("", *SPREADS), "metric": METRICS, "provenance": PROVENANCES}
    for name, known in choices.items():
        if told[name] not in known:
            yield f"expected one of {', '.join(filter(None, known))} as `{name}`, found {told[name]!r}"
    for one, other in (("budget", "unit"), ("spread", "spread_means")):
        if bool(told[one]) != bool(told[other]):
            yield f"expected `{one}` and `{other}` together, found {told[one]!r} and {told[other]!r}"


def _is_number(text: str, *, whole: bool, needed: bool) -> bool:
    if not text:
        return not needed
    try:
        return bool(text.isascii() and text.isdecimal() and int(text) > 0) if whole else math.isfinite(float(text))
    except ValueError:
        return False
