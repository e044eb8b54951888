"""Which entrants of the suite `ci` this commit is checked with: `python -m tests.ci_share` prints them as options.

All of them would take continuous integration minutes more on every commit. So they are divided into shares that last
about as long, by the seconds that their reference records took, and the commit's hash draws one. An entrant that would
last longer alone has fewer fresh seeds, three at least: what they could still see is under `tests/test_ci_suite.py`.
"""

from __future__ import annotations

import datetime
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from results.record import finished_records, read
from suites.spec import load_suite

ROOT = Path(__file__).resolve().parents[1]
SEEDS = 5  # fresh ones in each cell
FEWEST = 3  # of them, for what is too dear
PROCESSOR_SECONDS = 200.0  # of a share, if it is of several: a hundred seconds on two cores
START = 3.0  # processor seconds until a trial's process has imported torch and its agent; not in its record


def costs(reference: Path) -> dict[str, float]:
    """Processor seconds of each entrant's fresh seeds, after what its reference records took."""
    seconds: dict[str, dict[str, list[float]]] = {name: {} for name in load_suite("ci").entrants}
    for path in finished_records(reference):
        record = read(path)
        of_entrant = seconds.get(record.header["entrant"])
        if of_entrant is not None:
            of_entrant.setdefault(record.header["task"], []).append(START + record.rows[-1]["seconds"])
    return {name: SEEDS * sum(sum(of) / len(of) for of in tasks.values()) for name, tasks in seconds.items()}


def shares(cost: Mapping[str, float], limit: float) -> list[list[str]]:
    """All entrants, in as few shares as first-fit finds; one that lasts longer than ``limit`` has its own."""
    found: list[list[str]] = []
    for name in sorted(cost, key=lambda name: (-cost[name], name)):
        room = (share for share in found if sum(cost[one] for one in share) + cost[name] <= limit)
        share = next(room, None)
        if share is None:
            found.append([name])
        else:
            share.append(name)
    return found


def seeds(share: list[str], cost: Mapping[str, float], limit: float) -> int:
    """How many fresh seeds of each cell a share has time for."""
    total = sum(cost[name] for name in share)
    return SEEDS if total <= limit else max(FEWEST, int(SEEDS * limit / total))


def ticket() -> int:
    """A number that the commit draws; without git, the day does."""
    asked = ["git", "rev-parse", "HEAD"]
    told = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    commit = os.environ.get("GITHUB_SHA") or told.stdout.strip()
    return int(commit[:12], 16) if commit else datetime.date.today().toordinal()


def main() -> None:
    cost = costs(ROOT / "results" / "ci")
    drawn = shares(cost, PROCESSOR_SECONDS)
    share = drawn[ticket() % len(drawn)]
    print(f"--seeds +{seeds(share, cost, PROCESSOR_SECONDS)}", *(f"--entrant {name}" for name in share))


if __name__ == "__main__":
    main()
