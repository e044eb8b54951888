"""Suite files for the tests, and the environments and agents that they name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# A suite with every key there is, one on a line. The words after # tell the tests what a line is:
# its kind of value, `required` if the key may not be left out, `free` if the key is the writer's own.
RICH = """\
title: All that a suite may hold            # text required
about: A line for every key there is        # text
seeds: 3                                    # seeds required
evaluate:                                   # mapping required
  every: 1_000                              # count required
  episodes: 5                               # count required
  final_episodes: 20                        # count required
  policy: sample                            # choice
tasks:                                      # mapping required
  pendulum:                                 # mapping free
    env: probe_envs.swinging                # module required
    options:                                # mapping
      colour: crimson                       # option-choice
      length: 1.5                           # option-float
      joints: 3                             # option-int
      damped: true                          # option-bool
      caption: a swing                      # option-str
      walls: [1, 2, 3]                      # option-ints
      corner: [0.5, 1]                      # option-pair
      limit: null                           # option-optional
      physics: {gravity: 9.81}              # option-dict
    action_repeat: 2                        # count
    budget: 50_000                          # count required
    evaluate:                               # mapping
      every: 500                            # count required
      episodes: 2                           # count required
      final_episodes: 10                    # count required
      policy: mode                          # choice
    score:                                  # mapping
      zero: -33.0                           # number required
      one: 906                              # number required
    metric: length                          # choice
    threshold: 1e-3                         # number
    curve: cumulative                       # choice
  long-maze:                                # mapping free
    env: probe_envs.swinging                # module required
    budget: 10_000                          # count required
entrants:                                   # mapping required
  dreamer:                                  # mapping free
    agent: probe_agents.dreaming            # module required
    config:                                 # mapping
      horizon: 15                           # option-int
      discount: 0.99                        # option-float
      sampler: thompson                     # option-choice
      hidden: [256, 256]                    # option-ints
      warmup: 500                           # option-optional
      symlog: false                         # option-bool
    per_task:                               # mapping
      long-maze:                            # mapping task
        horizon: 30                         # option-int
    known: [reward, termination]            # known
    tasks: [pendulum, long-maze]            # tasks
    seeds: 3                                # seeds
    seeds_per_task:                         # mapping
      long-maze: 3                          # seeds task
  actor:                                    # mapping free
    agent: probe_agents.acting              # module required
claims:                                     # list
  - kind: ordering                          # choice
    says: Dreaming beats acting             # text required
    published: 1803.10122/table-1/full      # text
    task: pendulum                          # task required
    entrant: dreamer                        # entrant required
    entrants: [actor]                       # entrants
    unlike: [the swing was shorter]         # texts
  - kind: ratio                             # choice
    says: Acting earns a half               # text required
    task: pendulum                          # task required
    entrant: actor                          # entrant required
    entrants: [dreamer]                     # entrants
    measure: reward                         # choice
    at_most: 0.5                            # number
  - kind: value                             # choice
    says: It swings up                      # text required
    task: pendulum                          # task required
    entrant: actor                          # entrant required
    value: 200                              # number
    margin: 10                              # number
"""

SMALL = """\
# yaml-language-server: $schema=suite.schema.json
title: "small"
seeds: [0, 2]
evaluate: { every: 1_000, episodes: 2, final_episodes: 3 }
tasks:
  maze: { env: probe_envs.swinging, options: { length: 1e-3 }, budget: 5_000, score: { zero: 0, one: 1.0 } }
entrants:
  one: { agent: probe_agents.dreaming, config: { hidden: [8] }, per_task: { maze: { horizon: 3 } } }
claims:
  - { says: it is so, task: maze, entrant: one, value: 14 }
"""

MODULES = {
    "probe_envs/swinging.py": """
import a_simulator_that_is_not_installed
from typing import Any, Literal
Colour = Literal["crimson", "emerald", "sapphire"]
PACKAGES = ("a-simulator",)
def make(*, colour: Colour = "crimson", length: float = 1.0, joints: int = 2, damped: bool = False,
         caption: str = "", walls: tuple[int, ...] = (), corner: "tuple[float, float]" = (0, 0),
         limit: int | None = None, physics: dict[str, float] | None = None, extra=0): ...
def known(**options): ...
""",
    "probe_envs/sliding.py": "def make(*, seat: int, slope: float = 1.0, **rest): ...",
    "probe_envs/still.py": "def make(): ...",
    "probe_envs/empty.py": "FAMILY = 'vector'",
    "probe_envs/torn.py": "def make(:",
    "probe_agents/dreaming.py": """
raise RuntimeError("a suite file must not run an agent")
from dataclasses import dataclass
from typing import ClassVar, Literal, Optional
from probe_agents.base import Common as Shared
@dataclass(frozen=True, kw_only=True)
class Config(Shared):
    horizon: int = 15
    sampler: Literal["greedy", "thompson"] | None = None
    warmup: Optional[int] = None
    count: ClassVar[int] = 0
def make(problem, seed, **config): ...
""",
    "probe_agents/base.py": """
from dataclasses import dataclass, field
import probe_agents.root as root
@dataclass(frozen=True, kw_only=True)
class Common(root.Root):
    hidden: list[int] = field(default_factory=list)
    symlog: bool = True
""",
    "probe_agents/root.py": "class Root:\n    discount: float = 0.99\n    horizon: str = 'overridden'\n",
    "probe_agents/acting.py": "make = lambda problem, seed, **config: None\n",
    "probe_agents/strict.py": "class Config:\n    size: int\n    rate: float = 0.1\ndef make(problem, seed): ...\n",
}


def write_modules(folder: Path) -> Path:
    """The modules that the samples name, as a reader's own; for the import path."""
    for name, source in MODULES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(source)
    return folder


def write_suite(folder: Path, text: str, name: str = "sample.yaml") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


@dataclass(frozen=True)
class Line:
    """A line of RICH taken apart."""

    number: int  # from 1
    indent: str  # with the dash of a list's entry
    key: str
    value: str
    kind: str
    words: frozenset[str]
    parent: int  # the line of the key that it stands under; 1 at the top

    def with_key(self, key: str) -> str:
        return f"{self.indent}{key}: {self.value}"

    def with_value(self, value: str) -> str:
        return f"{self.indent}{self.key}: {value}"


def rich_lines() -> Iterator[Line]:
    above: list[tuple[int, int]] = []
    for number, text in enumerate(RICH.splitlines(), start=1):
        found = re.fullmatch(r"(\s*(?:- )?)([\w-]+):\s*(.*?)\s*# (.*)", text)
        assert found, text
        indent, key, value, words = found.groups()
        above = [(depth, line) for depth, line in above if depth < len(indent)]
        kind, *rest = words.split()
        yield Line(number, indent, key, value, kind, frozenset(rest), above[-1][1] if above else 1)
        if indent.endswith("- "):
            above.append((len(indent) - 1, number))
        above.append((len(indent), number))
