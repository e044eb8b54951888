"""Which seeds the option --seeds asks for."""

from __future__ import annotations

from typing import Any

from suites.spec import Suite

MOST = 1000  # fresh seeds


def asked_seeds(suite: Suite, text: str | None) -> tuple[Suite, list[int] | None]:
    """The suite and those of its seeds that are asked for, None for all; raises ValueError.

    ``0,2`` and ``0-4`` are some of the suite's. ``+5`` makes it a suite of five others, all beyond its own: trials that
    its records know nothing of.
    """
    if not text or not text.startswith("+"):
        return suite, _numbers(text) if text else None
    if not text[1:].isdigit() or not 0 < int(text[1:]) <= MOST:
        raise ValueError(f"--seeds: expected a number of fresh seeds like +5, found {text!r}")
    first = max(suite.all_seeds) + 1
    none: dict[str, Any] = {"seeds": None, "seeds_per_task": {}}
    entrants = {name: entrant.model_copy(update=none) for name, entrant in suite.entrants.items()}
    return suite.model_copy(update={"seeds": tuple(range(first, first + int(text[1:]))), "entrants": entrants}), None


def _numbers(text: str) -> list[int]:
    seeds: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if not first.strip().isdigit() or (last and not last.strip().isdigit()):
            raise ValueError(f"--seeds: expected numbers like 0,2 or 0-4, found {text!r}")
        seeds.extend(range(int(first), int(last or first) + 1))
    return seeds
