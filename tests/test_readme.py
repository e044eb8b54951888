"""What README.md shows is what its commands print, and its example agent runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.readme import README, ROOT, current

SUITE = """
title: "the example of the README"
seeds: 1
evaluate: { every: 100, episodes: 1, final_episodes: 1 }
tasks: { pendulum: { env: classic, options: { id: Pendulum-v1 }, budget: 250 } }
entrants: { mine: { agent: my_agent, config: { scale: 0.5 } } }
"""


def test_the_tables_in_the_readme_are_what_their_commands_print() -> None:
    assert README.read_text() == current(), "run `python -m tests.readme` and read the diff"


def test_every_file_that_the_readme_links_to_is_there() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README.read_text())
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_agent_in_the_readme_runs_in_a_suite_of_the_readers_own(tmp_path: Path) -> None:
    code = re.search(r'```python\n("""my_agent.py.*?)```', README.read_text(), re.DOTALL)
    assert code
    (tmp_path / "my_agent.py").write_text(code[1])
    (tmp_path / "mine.yaml").write_text(SUITE)
    command = [sys.executable, "-m", "suites", "run", str(tmp_path / "mine.yaml"), "--results", str(tmp_path)]
    ran = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(tmp_path)}
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert (tmp_path / "mine/pendulum/mine/0.jsonl").read_text().count('"kind":"episode"') == 1


def test_every_shipped_suite_stands_in_the_readme() -> None:
    named = set(re.findall(r"^\| `(\w+)` \|", README.read_text(), re.MULTILINE))
    assert {path.stem for path in (ROOT / "suites").glob("*.yaml")} <= named
