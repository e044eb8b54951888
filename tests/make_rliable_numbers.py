"""Writes tests/rliable_numbers.json: what rliable 1.2.0 says of the matrices of tests/score_matrices.py.

It was run once. rliable wants older packages than this project, so it has an environment of its own:

    python -m venv /tmp/rliable && /tmp/rliable/bin/pip install "rliable==1.2.0" "pandas<3" "arch<8" "numpy<2.3"
    /tmp/rliable/bin/python -m tests.make_rliable_numbers
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.score_matrices import MATRICES, pair, taus

NUMBERS = Path(__file__).with_name("rliable_numbers.json")


def said_of(number: int) -> dict[str, Any]:
    from rliable import library, metrics  # type: ignore[import-not-found]

    x, y = pair(number)
    at = taus(number)
    return {
        "shape": [*x.shape, len(y)],
        "first": float(x[0, 0]),
        "iqm": float(metrics.aggregate_iqm(x)),
        "mean": float(metrics.aggregate_mean(x)),
        "median": float(metrics.aggregate_median(x)),
        "optimality_gap": float(metrics.aggregate_optimality_gap(x)),
        "half_gap": float(metrics.aggregate_optimality_gap(x, gamma=0.5)),
        "probability_of_improvement": float(metrics.probability_of_improvement(x, y)),
        "performance_profile": library.score_distributions(x, at).tolist(),
        "average_score_distribution": library.average_score_distributions(x, at).tolist(),
    }


def main() -> None:
    packages = {name: version(name) for name in ("rliable", "arch", "numpy", "scipy")}
    head = json.dumps({"made_by": "python -m tests.make_rliable_numbers", "packages": packages})[:-1]
    rows = ",\n".join(json.dumps(said_of(number)) for number in range(MATRICES))
    NUMBERS.write_text(f'{head}, "matrices": [\n{rows}\n]}}\n')
    print(f"{NUMBERS}: {MATRICES} matrices, {NUMBERS.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
