"""Waivers: cells that a gate lets through until a day, each for a reason that someone wrote down.

A YAML file, a list of::

    - cell: pendulum/sac          # task/entrant, as the gate prints it
      reason: "the new torch draws other weights; a new reference is being made"
      expires: 2026-12-31         # the last day on which it counts
"""

from __future__ import annotations

import datetime
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suites.faults import nearest

KEYS = ("cell", "reason", "expires")


class WaiverError(Exception):
    """A waiver file that can't be read; the message says what was expected, what was found, and where."""


@dataclass(frozen=True, kw_only=True)
class Waiver:
    cell: str  # task/entrant
    reason: str
    expires: datetime.date  # the last day on which it counts

    def holds(self, today: datetime.date) -> bool:
        return today <= self.expires


def read_waivers(path: Path, cells: Collection[str]) -> dict[str, Waiver]:
    """The waivers of a file by cell; ``cells`` are those that the suite has.

    Raises:
        WaiverError: with everything that is wrong with the file.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        entries = YAML(typ="safe", pure=True, plug_ins=[]).load(path.read_text())
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise WaiverError(f"{path}: expected a YAML file of waivers, found: {' '.join(str(error).split())}") from None
    if entries is None:
        return {}
    if not isinstance(entries, list):
        raise WaiverError(f"{path}: expected a list of waivers with {', '.join(KEYS)}, found {entries!r:.60}")
    waivers: dict[str, Waiver] = {}
    faults: list[str] = []
    for number, entry in enumerate(entries, start=1):
        found = _fault(entry, cells, waivers)
        if found:
            faults.append(f"{path}: waiver {number}: {found}")
        else:
            waivers[entry["cell"]] = Waiver(**entry)
    if faults:
        raise WaiverError("\n".join(faults))
    return waivers


def _fault(entry: Any, cells: Collection[str], before: Collection[str]) -> str | None:
    if not isinstance(entry, dict) or set(entry) != set(KEYS):
        found = ", ".join(map(str, entry)) if isinstance(entry, dict) else repr(entry)
        return f"expected {', '.join(KEYS)} and nothing else, found {found:.60}"
    cell, reason, expires = (entry[key] for key in KEYS)
    if cell not in cells:
        near = nearest(str(cell), cells)
        hint = f"; did you mean {near}?" if near else ""
        return f"expected a cell of the suite as task/entrant, found {cell!r}{hint}"
    if cell in before:
        return f"expected one waiver for a cell, found another for {cell}"
    if not isinstance(reason, str) or not reason.strip():
        return f"expected a reason in words, found {reason!r}"
    if not isinstance(expires, datetime.date) or isinstance(expires, datetime.datetime):
        return f"expected the last day as 2026-12-31, found {expires!r}"
    return None
