"""What README.md shows is what its commands print, and its example suite and agent run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.readme import README, ROOT, current


def block(language: str, begins: str) -> str:
    """The README's block of code in ``language`` that begins so."""
    found = re.search(rf"```{language}\n({re.escape(begins)}.*?)```", README.read_text(), re.DOTALL)
    assert found
    return found[1]


def test_the_tables_in_the_readme_are_what_their_commands_print() -> None:
    assert README.read_text() == current(), "run `python -m tests.readme` and read the diff"


def test_every_file_that_the_readme_links_to_is_there() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README.read_text())
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_suite_and_the_agent_in_the_readme_run_as_it_says(tmp_path: Path) -> None:
    (tmp_path / "my_agent.py").write_text(block("python", '"""my_agent.py'))
    path = tmp_path / "my_suite.yaml"
    path.write_text(block("yaml", 'title: "My question'))

    def ran(*command: str) -> str:
        at = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(tmp_path)}
        done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, env=at)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    here = ("--results", str(tmp_path))
    ran("suites", "check", "--make", str(path))
    ran("suites", "run", str(path), "--entrant", "mine", "--seeds", "0", *here)
    assert (tmp_path / "my_suite/pendulum/mine/0.jsonl").read_text().count('"kind":"episode"') == 25
    assert re.search(r"mine.*n=1 of 10", ran("analysis", "table", str(path), "--format", "markdown", *here))


def test_every_shipped_suite_stands_in_the_readme() -> None:
    named = set(re.findall(r"^\| `(\w+)` \|", README.read_text(), re.MULTILINE))
    assert {path.stem for path in (ROOT / "suites").glob("*.yaml")} <= named
