"""Saves a running trial whole and atomically, and finds the newest save again."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from results.record import sync_folder


@dataclass(frozen=True)
class Checkpoint:
    """A finished save: the runner's state, the record up to it, and the folder that the agent wrote."""

    folder: Path

    @property
    def agent(self) -> Path:
        return self.folder / "agent"

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads((self.folder / "state.json").read_text())
        with np.load(self.folder / "actions.npz", allow_pickle=False) as actions:
            for index, running in state["gate"]["running"].items():
                if running["running"]:
                    running["actions"] = actions[index]
        return state

    def record(self) -> bytes:
        return (self.folder / "record.jsonl").read_bytes()


def newest(work: Path) -> Checkpoint | None:
    """The last save in ``work``; what a killed attempt left half-written is not among them."""
    saved = [folder for folder in work.glob("checkpoint-*") if _number(folder) is not None]
    return Checkpoint(max(saved, key=lambda folder: _number(folder) or 0)) if saved else None


def _number(folder: Path) -> int | None:
    digits = folder.name.removeprefix("checkpoint-")
    return int(digits) if digits.isdigit() else None


def write(work: Path, number: int, state: dict[str, Any], record: bytes, save: Callable[[Path], None]) -> None:
    """Write save ``number`` into a temporary folder, sync it, rename it, and remove the older ones.

    Raises:
        OSError: no room; the older saves stay and the temporary folder is removed.
    """
    temporary = work / f"checkpoint-{number:06}.{os.getpid()}.tmp"
    try:
        (temporary / "agent").mkdir(parents=True)
        save(temporary / "agent")
        running = state["gate"]["running"]
        np.savez(temporary / "actions.npz", **{i: r["actions"] for i, r in running.items() if r["running"]})
        plain = {i: {k: v for k, v in r.items() if k != "actions"} for i, r in running.items()}
        text = json.dumps({**state, "gate": {**state["gate"], "running": plain}})
        (temporary / "state.json").write_text(text)
        (temporary / "record.jsonl").write_bytes(record)
        _sync(temporary)
        final = work / f"checkpoint-{number:06}"
        if not final.exists():  # another worker, taken for dead, may have come to the same point: then they are equal
            temporary.rename(final)
            sync_folder(work)
    except Exception as error:
        if _is_full(work):  # numpy and torch say so in words of their own, without the error's number
            raise OSError(errno.ENOSPC, f"no room for a save ({error})", str(work)) from error
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    clear(work, keep=number)


def _is_full(folder: Path) -> bool:
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize < 2**20 or status.f_favail == 0


def clear(work: Path, keep: int | None = None) -> None:
    """Remove the saves but ``keep``, and what killed attempts left."""
    for folder in work.glob("checkpoint-*"):
        if keep is None or folder.name != f"checkpoint-{keep:06}":
            shutil.rmtree(folder, ignore_errors=True)


def _sync(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
