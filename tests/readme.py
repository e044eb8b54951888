"""Puts the tables that README.md shows into it: `python -m tests.readme` writes, the test only compares."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
BLOCK = re.compile(r"<!-- table: python -m (.+?) -->\n(.*?)<!-- end -->", re.DOTALL)


def current() -> str:
    """README.md with every table as its command prints it now."""

    def fresh(match: re.Match[str]) -> str:
        command = [sys.executable, "-m", *match[1].split()]
        table = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        return f"<!-- table: python -m {match[1]} -->\n{body(table)}<!-- end -->"

    return BLOCK.sub(fresh, README.read_text())


def body(table: str) -> str:
    """The table's rows: its title is the README's to give, and its legend is the same for all."""
    return (
        "\n" + "\n".join(line for line in table.splitlines() if line.startswith("|") or not line).strip("\n") + "\n\n"
    )


if __name__ == "__main__":
    README.write_text(current())
