"""The shipped suites in a line each, remembered from call to call: reading them all anew takes a second."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
REMEMBERED = FOLDER.parent / ".cache" / "suites.json"


@dataclass(frozen=True)
class Line:
    name: str
    trials: int
    title: str


def lines(folder: Path = FOLDER, remembered: Path = REMEMBERED) -> list[Line]:
    """By name. What changed since the last call, or all where the reader of suites did, is read; raises SuiteError."""
    reader = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(FOLDER.glob("*.py"))))
    known = _known(remembered)
    found: dict[str, Line] = {}
    for path in sorted(folder.glob("*.yaml")):
        digest = reader.copy()
        digest.update(f"{path}\0".encode() + path.read_bytes())
        key = digest.hexdigest()
        found[key] = known[key] if key in known else _read(path)
    if found.keys() != known.keys():
        _remember(remembered, found)
    return list(found.values())


def _read(path: Path) -> Line:
    from suites.spec import load_suite

    suite = load_suite(path)
    return Line(suite.name, len(suite.trials()), suite.title)


def _known(path: Path) -> dict[str, Line]:
    try:
        return {key: Line(**line) for key, line in json.loads(path.read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError):  # none yet, or not ours
        return {}


def _remember(path: Path, found: dict[str, Line]) -> None:
    with suppress(OSError):  # a checkout that can't be written is read anew each time
        path.parent.mkdir(exist_ok=True)
        unfinished = path.with_name(f"{path.name}.{os.getpid()}")
        unfinished.write_text(json.dumps({key: asdict(line) for key, line in found.items()}))
        unfinished.replace(path)
