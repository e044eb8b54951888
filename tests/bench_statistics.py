"""What intervals of the IQM cost: 26 games x 5 runs x 6 methods, against scipy's bootstrap called naively, in turns.

With the interpreter of an environment that has rliable (tests/make_rliable_numbers.py says how to make one), against
rliable as well: `python -m tests.bench_statistics /tmp/rliable/bin/python`. Times are those of the processor.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import stats

from analysis import aggregates
from analysis.scores import Array

GAMES, RUNS, METHODS, RESAMPLES = 26, 5, 6, 50_000
ROUNDS = 3
PART = 25  # the slow ways are given one resample in so many; their time is proportional to them
LIMIT = 95.31 / 30  # seconds: a thirtieth of what rliable 1.2.0 took where it was first measured
RLIABLE = f"""
import time
import numpy as np
from rliable import library, metrics
methods = {{str(m): np.random.default_rng(m).normal(0.7, 0.4, ({RUNS}, {GAMES})) for m in range({METHODS})}}
began = time.process_time()
library.get_interval_estimates(methods, lambda x: np.array([metrics.aggregate_iqm(x)]), reps={RESAMPLES // PART})
print(time.process_time() - began)
"""


def ours(x: Array) -> None:
    aggregates.bootstrap(x, aggregates.iqm, resamples=RESAMPLES, rng=np.random.default_rng(0))


def naive(x: Array) -> None:
    """One call of the statistic for each resample, as one writes it down first."""
    _scipy(x, lambda *tasks: stats.trim_mean(np.concatenate(tasks), 0.25), RESAMPLES // PART, vectorized=False)


def vectorised(x: Array) -> None:
    """All resamples at once, with scipy's own trimmed mean."""
    statistic = lambda *tasks, axis: stats.trim_mean(np.concatenate(tasks, axis=axis), 0.25, axis=axis)
    _scipy(x, statistic, RESAMPLES, vectorized=True)


def _scipy(x: Array, statistic: Callable[..., Any], resamples: int, vectorized: bool) -> None:
    stats.bootstrap(
        tuple(x.T), statistic, n_resamples=resamples, vectorized=vectorized, method="percentile",
        rng=np.random.default_rng(0),
    )  # fmt: skip


def seconds(way: Callable[[Array], None], methods: list[Array]) -> float:
    began = time.process_time()
    for x in methods:
        way(x)
    return time.process_time() - began


def main() -> None:
    methods = [np.random.default_rng(method).normal(0.7, 0.4, (RUNS, GAMES)) for method in range(METHODS)]
    ours(methods[0])  # imports
    took: dict[str, list[float]] = {"ours": [], "scipy, a call per resample": [], "scipy, vectorised trim_mean": []}
    for _ in range(ROUNDS):
        took["ours"].append(seconds(ours, methods))
        took["scipy, a call per resample"].append(seconds(naive, methods) * PART)
        took["scipy, vectorised trim_mean"].append(seconds(vectorised, methods))
        for interpreter in sys.argv[1:2]:
            said = subprocess.run([interpreter, "-c", RLIABLE], check=True, capture_output=True, text=True).stdout
            took.setdefault("rliable", []).append(float(said) * PART)
    print(f"IQM and interval of {METHODS} methods, {GAMES} games x {RUNS} runs, {RESAMPLES:,} resamples, {ROUNDS} x")
    for name, of in took.items():
        longer = float(np.median(np.divide(of, took["ours"])))
        print(f"{name:28} {np.median(of):7.2f} s (from {min(of):.2f} to {max(of):.2f}), {longer:6.1f} times ours")
    print(f"{'promised at most':28} {LIMIT:7.2f} s")


if __name__ == "__main__":
    main()
