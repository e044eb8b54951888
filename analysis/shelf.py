"""Where a suite's trials lie on disk: finished records, and the folders of those that have none yet."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from analysis.trials import Key


def scan(folder: Path) -> Iterator[tuple[Key, Path]]:
    """Records, and for trials without one the folders that they run in."""
    for task in folders(folder):
        for entrant in folders(task):
            names = {entry.name: entry.path for entry in os.scandir(entrant)}
            for name, path in names.items():
                stem, _, suffix = name.partition(".")
                if stem.isdigit() and (suffix == "jsonl" or (suffix == "work" and f"{stem}.jsonl" not in names)):
                    yield (os.path.basename(task), os.path.basename(entrant), int(stem)), Path(path)


def folders(folder: str | Path) -> list[str]:
    if not os.path.isdir(folder):
        return []
    return sorted(entry.path for entry in os.scandir(folder) if entry.is_dir())


def why_unfinished(work: Path) -> str:
    if failure := _json(work / "failed.json"):
        return f"failed: {' '.join(str(failure.get('reason', 'no reason given')).split())}"
    progress = _json(work / "progress.json")
    if "step" in progress and "budget" in progress:
        return f"unfinished at step {progress['step']:,} of {progress['budget']:,}"
    return "unfinished: started, no progress reported yet"


def _json(path: Path) -> dict[str, Any]:
    """A small file of a running trial; empty while it is not there or just being written."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
