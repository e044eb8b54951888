"""Plants rows `model` and `virtual` in made-up records, for the tests of what the analysis says of world models."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

HORIZONS = (1, 2, 5, 10, 25, 50)


def plant(record: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Add rows of the final evaluation to a finished record, before its last row."""
    *lines, end = record.read_text().splitlines()
    step = json.loads(end)["step"]
    added = [json.dumps({"step": step, "final": True, **row}) for row in rows]
    record.write_text("\n".join([*lines, *added, end]) + "\n")


def errors(of: Mapping[int, float | None], **more: Any) -> list[dict[str, Any]]:
    """A row `model` for each horizon; None is a prediction that was not finite."""
    return [
        {"kind": "model", "horizon": h, "windows": 32, "unit": "std", "error": error, "diverged": 0 if error else 3}
        | (more if h else {})
        for h, error in of.items()
    ]


def scores(virtual: Sequence[float | None], actual: Sequence[float], where: str = "dream") -> dict[str, Any]:
    """A row `virtual`; as many lengths as returns, all alike."""
    lengths = [int(one or 0) for one in virtual]
    return {
        "kind": "virtual", "where": where, "returns": list(virtual), "lengths": lengths,
        "real_returns": list(actual), "real_lengths": [int(one) for one in actual],
    }  # fmt: skip
