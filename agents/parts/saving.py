"""Writes and reads an agent's state: tensors and plain Python values in one file, never pickled objects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

_FILE = "agent.pt"


def write(folder: Path, state: dict[str, Any]) -> None:
    """``state`` may nest dicts, lists, tuples, numbers, strings, tensors and ``torch.Generator``."""
    torch.save(_packed(state), folder / _FILE)


def read(folder: Path) -> dict[str, Any]:
    """What `write` wrote; a generator comes back as the tensor that ``generator.set_state`` takes."""
    state: dict[str, Any] = torch.load(folder / _FILE, map_location="cpu", weights_only=True)
    return state


def _packed(value: Any) -> Any:
    if isinstance(value, torch.Generator):
        return value.get_state()
    if isinstance(value, torch.Tensor):
        return value.detach().clone()  # a view would drag its whole storage into the file
    if isinstance(value, dict):
        return {key: _packed(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_packed(entry) for entry in value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(
        f"expected tensors, generators and plain values to save, found {type(value).__name__}; "
        "turn it into one of these (numpy arrays: torch.from_numpy)"
    )
