"""What may stand in a suite file: its parts, and the whole of it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from suites.claim import Claim
from suites.declared import (
    Count,
    Curve,
    Declared,
    EachOnce,
    Finite,
    HowManySeeds,
    Known,
    Metric,
    ModulePath,
    Name,
    Options,
    Several,
    SomeOnce,
    Steps,
    Text,
)  # fmt: skip


class Evaluate(Declared):
    """How an agent is measured: apart from its training, and not charged to its budget."""

    every: Steps
    """Steps between two evaluations."""
    episodes: Count
    """Episodes of an evaluation on the way."""
    final_episodes: Count
    """Episodes of the evaluation of the last checkpoint, which gives the headline number."""
    policy: Literal["mode", "sample"] = "mode"
    """Act by the mode of the action distribution, or by a sample of it."""


class Score(Declared):
    """The values of the metric that are 0 and 1 in a table of normalised scores."""

    zero: Finite
    """As a rule a random agent's."""
    one: Finite
    """As a rule a reference agent's, or a person's."""

    @model_validator(mode="after")
    def _apart(self) -> Score:
        if self.zero == self.one:
            raise ValueError(f"expected a score with `zero` and `one` apart, found {self.zero} for both")
        return self


class Task(Declared):
    """An environment, a budget, and how what happens there is read."""

    env: ModulePath
    """A module of suites/envs by its bare name, or any other by its dotted path; it has `make`."""
    options: Options = {}
    """Keyword arguments for the environment's `make`."""
    action_repeat: Count = 1
    """Environment steps for which an action is held."""
    budget: Steps
    """Steps (an agent's decisions) that may be used to learn."""
    evaluate: Evaluate | None = None
    """Instead of the suite's."""
    score: Score | None = None
    """What counts as 0 and as 1."""
    metric: Metric = "return"
    """What is compared: the return of an episode, or its length (then less is better)."""
    threshold: Finite | None = None
    """The metric to be reached; the steps until then are the sample efficiency."""
    curve: Curve = "evaluation"
    """What a learning curve shows."""


class Entrant(Declared):
    """An agent with its settings."""

    agent: ModulePath
    """Any importable module with `make`."""
    config: Options = {}
    """What differs from the defaults of the agent's `Config`."""
    per_task: dict[Name, Options] = {}
    """What differs from `config` in a task."""
    known: EachOnce[Known] = ()
    """Functions of the environment that this entrant is given; printed beside its score."""
    tasks: SomeOnce[Name] | None = None
    """The tasks that it meets, if not all."""
    seeds: HowManySeeds | None = None
    """How many, or which, if not as many as the suite says."""
    seeds_per_task: dict[Name, HowManySeeds] = {}
    """The same for a task alone: more where a claim is made."""


class SuiteFile(Declared):
    """Who meets whom, on what, for how long."""

    title: Text
    """A line for lists and headings."""
    about: Text | None = None
    """What the suite is for, how long it takes, and where its settings come from."""
    seeds: HowManySeeds
    """How many (5 is 0, 1, 2, 3, 4), or which."""
    evaluate: Evaluate
    tasks: Annotated[dict[Name, Task], Field(min_length=1)]
    entrants: Annotated[dict[Name, Entrant], Field(min_length=1)]
    claims: Several[Claim] = ()
