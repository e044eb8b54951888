"""Where a record comes from: the commit, the packages, the machine."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("torch", "numpy", "gymnasium", "stable-baselines3")


def versions(names: Iterable[str]) -> dict[str, str]:
    """Installed versions by distribution name; a package that is not there is left out."""
    found = {}
    for name in sorted(set(names)):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def commit() -> tuple[str, bool]:
    """The checkout's commit and whether its code differs from it; ("unknown", True) outside a git checkout."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    try:
        head = git("rev-parse", "HEAD")
        changed = git("status", "--porcelain", "--", ".", ":(exclude,glob)results/*/**", ":(exclude)results/README.md")
    except (OSError, subprocess.CalledProcessError):
        return "unknown", True
    return head, bool(changed)


def machine(device: str) -> dict[str, Any]:
    """What the trial runs on. Bits are promised only between machines that agree in ``capability`` and ``threads``."""
    torch = sys.modules.get("torch")
    facts: dict[str, Any] = {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "threads": 1,
    }
    if torch is not None:
        facts["capability"] = torch.backends.cpu.get_cpu_capability()
    if device != "cpu" and torch is not None and torch.cuda.is_available():
        facts["accelerator"] = torch.cuda.get_device_name()
    return facts


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"
