"""The probe `tests.probes.Sides` as an environment that a suite may name: pictures, a true end, learnt in seconds."""

from __future__ import annotations

from typing import Any

from tests.probes import Sides

FAMILY = "vector"  # no published settings of any family fit it
PACKAGES = ("gymnasium",)
EXTRA = None


def make(*, steps: int = 20, deadly: bool = True) -> Sides:
    return Sides(steps, deadly)


def card(*, steps: int = 20, deadly: bool = True) -> dict[str, Any]:
    return {
        "env_id": "Sides",
        "observation": "uint8 64x64x3, one half bright",
        "action": "discrete: left, right",
        "reward": "1 a step; the wrong side ends the episode" if deadly else "1 for the bright side",
        "time_limit": steps,
    }
