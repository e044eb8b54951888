"""What may stand in a suite file: its parts as models, with the types of their values."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Strict,
    StringConstraints,
    Tag,
    WithJsonSchema,
    model_validator,
)

T = TypeVar("T")
MAX_ENTRIES = 1000

# Names become folders of results: no slash, no "..", no capitals that some file systems don't tell apart.
NAME = r"^[a-z0-9][a-z0-9_-]*(\.[a-z0-9_-]+)*$"
MODULE = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$"
UNIQUE: dict[str, Any] = {"uniqueItems": True}


def each_once(values: tuple[T, ...]) -> tuple[T, ...]:
    if len(set(values)) < len(values):
        twice = next(value for index, value in enumerate(values) if value in values[:index])
        raise ValueError(f"expected each entry of a list once, found {twice} twice")
    return values


Name = Annotated[str, StringConstraints(pattern=NAME, max_length=64)]
ModulePath = Annotated[str, StringConstraints(pattern=MODULE, max_length=200)]
Text = Annotated[str, StringConstraints(min_length=1)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]

# 25_000 is a number to our reader, but text to the YAML 1.2 of most editors: the schema lets it pass as either.
UNDERSCORED = {"type": "string", "pattern": "^[1-9][0-9]*(_[0-9]+)+$"}
Steps = Annotated[int, Field(ge=1), WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, UNDERSCORED]})]

# Strict(False): a tuple is made of the lists that YAML and JSON have.
Several = Annotated[tuple[T, ...], Strict(False)]
EachOnce = Annotated[tuple[T, ...], Strict(False), AfterValidator(each_once), Field(json_schema_extra=UNIQUE)]
SomeOnce = Annotated[
    tuple[T, ...],
    Strict(False),
    Field(min_length=1, max_length=MAX_ENTRIES),
    AfterValidator(each_once),
    Field(json_schema_extra=UNIQUE),
]
Seeds = SomeOnce[Seed]
SeedCount = Annotated[int, Field(ge=1, le=MAX_ENTRIES)]
HowManySeeds = Annotated[
    Annotated[SeedCount, Tag("count")] | Annotated[Seeds, Tag("list")],
    Discriminator(lambda value: "list" if isinstance(value, list | tuple) else "count"),
]
Options = dict[str, Any]
Known = Literal["reward", "termination"]
Metric = Literal["return", "length"]
Curve = Literal["evaluation", "training", "cumulative", "episodes"]


class Declared(BaseModel):
    """A part of a suite file: no key that it doesn't know, no value of another type, no change afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


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


class Claim(Declared):
    """A published statement that the suite's records can speak for or against."""

    says: Text
    """The statement in a sentence."""
    published: Text | None = None
    """A row of results/published/: paper, table, row."""
    task: Name
    entrant: Name
    kind: Literal["value", "ordering", "ratio", "shape"] = "value"
    """A number; who is better than whom; by how much; or how a curve looks."""
    entrants: EachOnce[Name] = ()
    """With whom the entrant is compared."""

    @model_validator(mode="after")
    def _compared(self) -> Claim:
        if self.kind in ("ordering", "ratio") and not self.entrants:
            raise ValueError(f"expected `entrants` to compare with in a claim of kind {self.kind}, found none")
        return self


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
