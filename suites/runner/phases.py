"""Phases that trials share: what one has lived through, another of the same seed and settings takes over."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from results import record
from suites.protocol import canonical
from suites.runner import provenance

if TYPE_CHECKING:
    from suites.runner.gate import Gate
    from suites.spec import TrialSpec

FOLDER = ".phases"  # below a suite's results; may be deleted at any time
ROOMS = ("agents", "suites.envs")


class TrialDoor:
    """The door that an agent is given: the gate, and the phases of other trials; see `agents.protocol.Door`."""

    def __init__(self, gate: Gate, spec: TrialSpec, results: Path, rows: record.Writer) -> None:
        self._gate, self._spec, self._rows = gate, spec, rows
        self._shared = results / spec.suite / FOLDER
        self._identity: dict[str, Any] | None = None
        self.open = gate.open
        self._phase_began = time.monotonic()

    @property
    def steps(self) -> int:
        return self._gate.steps

    @property
    def budget(self) -> int:
        return self._gate.budget

    def recall(self, phase: str, key: Mapping[str, Any]) -> Path | None:
        self._phase_began = time.monotonic()
        folder = self._folder(phase, key)
        try:
            entry = json.loads((folder / "entry.json").read_text())
            rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
        except FileNotFoundError:
            return None
        if entry["steps_before"] != self._gate.steps or entry["gate"]["steps"] > self._gate.budget:
            return None
        self._gate.restore(entry["gate"])
        for row in rows:
            self._rows.write(row)
        self._rows.write(self._row(phase, entry["steps_before"], entry["trial"]))
        return folder / "agent"

    def remember(self, phase: str, key: Mapping[str, Any], write: Callable[[Path], None]) -> None:
        state = self._gate.state()
        if any(running["running"] for running in state["running"].values()):
            raise RuntimeError(
                f"expected no episode under way at the end of phase {phase}, found one: close() it first"
            )
        steps_before, rows = self._since_last_phase()
        folder = self._folder(phase, key)
        spec = self._spec
        entry = {
            "steps_before": steps_before,
            "gate": {**state, "running": {}},
            "trial": f"{spec.task}/{spec.entrant}/{spec.seed}",
            "identity": self._identity_of(phase, key),
        }
        temporary = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        (temporary / "agent").mkdir(parents=True)
        try:
            write(temporary / "agent")
            (temporary / "rows.jsonl").write_bytes(b"".join(record.encode(row) for row in rows))
            (temporary / "entry.json").write_text(json.dumps(entry))
            if not folder.exists():  # another trial may have been faster: then they are equal
                temporary.rename(folder)
                record.sync_folder(folder.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        self._rows.write(self._row(phase, steps_before, None))

    def _row(self, phase: str, steps_before: int, taken_from: str | None) -> dict[str, Any]:
        steps = self._gate.steps
        return {
            "kind": "phase",
            "step": steps,
            "phase": phase,
            "steps": steps - steps_before,
            "taken_from": taken_from,
            "seconds": round(time.monotonic() - self._phase_began, 1),
        }

    def _since_last_phase(self) -> tuple[int, list[dict[str, Any]]]:
        """Where the phase began, and the episodes since."""
        steps, found = 0, list[dict[str, Any]]()
        for line in self._rows.content().splitlines():
            row = json.loads(line)
            if row["kind"] == "phase":
                steps, found = row["step"], []
            elif row["kind"] == "episode":
                found.append(row)
        return steps, found

    def _folder(self, phase: str, key: Mapping[str, Any]) -> Path:
        text = canonical(self._identity_of(phase, key))
        return self._shared / f"{phase}-{hashlib.sha256(text.encode()).hexdigest()[:24]}"

    def _identity_of(self, phase: str, key: Mapping[str, Any]) -> dict[str, Any]:
        """All that a phase's outcome depends on."""
        if self._identity is None:
            spec = self._spec
            self._identity = {
                "task": spec.task,
                "seed": spec.seed,
                "env": spec.env,
                "options": spec.options,
                "action_repeat": spec.action_repeat,
                "agent": spec.agent,
                "device": spec.device,
                "known": sorted(spec.known),
                "code": sources(spec.agent, spec.env if "." in spec.env else f"suites.envs.{spec.env}"),
                "packages": provenance.versions(provenance.PACKAGES),
            }
        return {**self._identity, "phase": phase, "key": json.loads(json.dumps(dict(key)))}


def sources(*modules: str) -> str:
    """A digest of these modules' source and of all agents' and environments' code that they import."""
    seen: dict[str, bytes] = {}
    queue = list(modules)
    while queue:
        name = queue.pop()
        spec = util.find_spec(name)
        if name in seen or spec is None or spec.origin is None:
            continue
        seen[name] = Path(spec.origin).read_bytes()
        for node in ast.walk(ast.parse(seen[name])):
            if isinstance(node, ast.Import):
                queue += [alias.name for alias in node.names if alias.name.startswith(ROOMS)]
            elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(ROOMS):
                queue += [
                    node.module,
                    *(f"{node.module}.{alias.name}" for alias in node.names if _is_module(node, alias)),
                ]
    digest = hashlib.sha256()
    for name in sorted(seen):
        digest.update(name.encode() + b"\0" + seen[name] + b"\0")
    return digest.hexdigest()


def _is_module(node: ast.ImportFrom, alias: ast.alias) -> bool:
    return util.find_spec(f"{node.module}.{alias.name}") is not None if _is_package(node.module or "") else False


def _is_package(name: str) -> bool:
    spec = util.find_spec(name)
    return spec is not None and spec.submodule_search_locations is not None
