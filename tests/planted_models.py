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


def made_by(record: Path, agent: str, policy: str = "mode") -> None:
    """Let a finished record be of this agent, evaluated so."""
    header, *lines = record.read_text().splitlines()
    told = json.loads(header)
    told["protocol"]["evaluate"]["policy"] = policy
    record.write_text("\n".join([json.dumps({**told, "agent": agent}), *lines]) + "\n")


def errors(of: Mapping[int, float | None], last: int = 32, **more: Any) -> list[dict[str, Any]]:
    """A row `model` for each horizon, the longest on ``last`` windows; None is a prediction that was not finite."""
    return [
        {"kind": "model", "horizon": h, "windows": last if h == max(of) else 32, "unit": "std", "error": error}
        | {"diverged": 0 if error else 3, **(more if h else {})}
        for h, error in of.items()
    ]


def scores(
    virtual: Sequence[float | None], actual: Sequence[float], where: str = "dream", **more: Any
) -> dict[str, Any]:
    """A row `virtual`; as many lengths as returns, all alike."""
    lengths = [int(one or 0) for one in virtual]
    return {
        "kind": "virtual", "where": where, "returns": list(virtual), "lengths": lengths,
        "real_returns": list(actual), "real_lengths": [int(one) for one in actual], **more,
    }  # fmt: skip
