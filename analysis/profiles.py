"""Performance profiles: the share of an entrant's runs that score above each level, with a band over seeds."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from analysis import scores
from analysis.aggregates import Band, bootstrap_band, performance_profile
from analysis.comparison import Comparison, Field
from analysis.forests import over
from analysis.scores import Array
from analysis.trials import Results

LEVELS = 101  # at which a profile is read
RESAMPLES = 2000


@dataclass(frozen=True, kw_only=True)
class Profiles:
    """The profiles of all entrants of one field, at the same levels."""

    under: str
    taus: Array
    bands: dict[str, Band]  # by entrant


def profiles(results: Results, said: Comparison) -> list[Profiles]:
    return [_of_field(results, field) for field in said.fields]


def _of_field(results: Results, field: Field) -> Profiles:
    runs = {entrant: {task: _scores(results, task, entrant) for task in field.tasks} for entrant in field.entrants}
    values = np.concatenate([of for tasks in runs.values() for of in tasks.values()])
    taus = np.linspace(min(0.0, float(values.min())), float(values.max()), LEVELS)
    bands = {}
    for entrant, tasks in runs.items():
        seed = hashlib.sha256("\0".join(("profile", entrant, *field.tasks)).encode()).digest()
        bands[entrant] = bootstrap_band(
            tasks, lambda x: performance_profile(x, taus), resamples=RESAMPLES, rng=np.random.default_rng(list(seed))
        )
    return Profiles(under=over(field), taus=taus, bands=bands)


def _scores(results: Results, task: str, entrant: str) -> Array:
    score = results.tasks[task].score
    assert score is not None  # a field is made of tasks that declare one
    return scores.normalised([trial.final for trial in results.trials[task, entrant]], zero=score[0], one=score[1])
