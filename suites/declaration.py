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
Known = Literal["reward", "termination", "cost"]
Metric = Literal["return", "length"]
Curve = Literal["evaluation", "training", "cumulative", "episodes"]
Kind = Literal["value", "ordering", "ratio", "shape", "bound"]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


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
    seeds: HowManySeeds | None = None
    """How many, or which, if not as many as the suite says."""
    seeds_per_task: dict[Name, HowManySeeds] = {}
    """The same for a task alone: more where a claim is made."""


class Claim(Declared):
    """A published statement that the suite's records can speak for or against."""

    # One model for all kinds, so that a misspelt `kind` is one fault in its own line; KEYS says what fits which.
    model_config = ConfigDict(json_schema_extra=lambda schema: schema.update(allOf=_keys_by_kind()))

    says: Text
    """The statement in a sentence."""
    kind: Kind = "value"
    """A number; who is better than whom; by what factor; how a sweep looks; or a bound."""
    task: Name
    entrant: Name = ""
    """Whose records speak; for all kinds but shape, and a bound that one of several is to keep."""
    entrants: EachOnce[Name] = ()
    """With whom the entrant is compared (one of them for a ratio); for a shape the sweep, in its order; for a bound
    those of whom one at least is to keep it."""
    measure: Literal["final", "steps", "episodes", "reward", "virtual", "gap", "error", "growth"] = "final"
    """What is compared: the metric of the last checkpoint, steps or training episodes until the task's threshold, the
    reward of all training episodes, the metric inside the agent's own model, or that less the actual one (of two
    gaps, the better one cheats less), the error of its model at the longest horizon, or the power of the horizon by
    which that error grows."""
    published: Text | None = None
    """A row of results/published/: paper, table, row. A value is held against it, other kinds name their source."""
    value: Finite | None = None
    """A value that follows without experiment, in place of a published one: an optimum."""
    margin: Positive | None = None
    """How far off a value may be; else half the published sd or a tenth of the scale, whichever is more."""
    at_least: Finite | None = None
    """Lower bound of a measure, or of a ratio, the entrant's through the other's."""
    at_most: Finite | None = None
    """Upper bound of it; one of the two."""
    form: Literal["maximum-inside", "minimum-inside", "rising", "falling"] | None = None
    """The shape of a sweep."""
    unlike: EachOnce[Text] = ()
    """Known differences from the published protocol; printed beside the verdict."""

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Claim:
        needed, allowed = KEYS[self.kind]
        said = self.model_fields_set
        for alternatives in needed:
            found = [key for key in alternatives if key in said and getattr(self, key) not in (None, (), "")]
            if len(found) != 1:
                listed = " or ".join(f"`{key}`" for key in alternatives)
                raise ValueError(
                    f"expected {listed} in a claim of kind {self.kind}, found {' and '.join(found) or 'none'}"
                )
        if extra := sorted(said.intersection(SPECIAL).difference(*needed, allowed)):
            raise ValueError(f"expected no `{extra[0]}` in a claim of kind {self.kind}, found one")
        if self.kind == "ratio":
            for key in ("at_least", "at_most"):
                if (bound := getattr(self, key)) is not None and bound <= 0:
                    raise ValueError(f"expected `{key}` of a ratio above 0, found {bound:g}")
        least, most = LENGTHS.get(self.kind, (0, MAX_ENTRIES))
        if not least <= len(self.entrants) <= most:
            wanted = "one entry" if most == 1 else f"{least} entries or more"
            raise ValueError(
                f"expected {wanted} in `entrants` of a claim of kind {self.kind}, found {len(self.entrants)}"
            )
        return self


# For each kind of claim: the keys it needs (one of each group), and those that it may have besides.
KEYS: dict[str, tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]] = {
    "value": ((("entrant",), ("published", "value")), ("margin",)),
    "ordering": ((("entrant",), ("entrants",)), ("published",)),
    "ratio": ((("entrant",), ("entrants",), ("at_least", "at_most")), ("published",)),
    "shape": ((("entrants",), ("form",)), ("published",)),
    "bound": ((("entrant", "entrants"), ("at_least", "at_most")), ("published",)),
}
SPECIAL = ("entrant", "entrants", "published", "value", "margin", "at_least", "at_most", "form")
LENGTHS = {"ordering": (1, MAX_ENTRIES), "ratio": (1, 1), "shape": (3, MAX_ENTRIES)}


def _keys_by_kind() -> list[dict[str, Any]]:
    """The same in JSON Schema."""
    rules = []
    for kind, (needed, allowed) in KEYS.items():
        least, most = LENGTHS.get(kind, (0, MAX_ENTRIES))
        fitting = {*allowed, *(key for group in needed for key in group)}
        given = {"properties": {"kind": {"const": kind}}, **({} if kind == "value" else {"required": ["kind"]})}
        keys: dict[str, Any] = {key: False for key in SPECIAL if key not in fitting}
        if "entrants" in fitting:
            keys["entrants"] = {"minItems": max(least, 1), "maxItems": most}
        if kind == "ratio":
            keys |= {"at_least": {"exclusiveMinimum": 0}, "at_most": {"exclusiveMinimum": 0}}
        then = {"properties": keys, "allOf": [{"oneOf": [{"required": [key]} for key in group]} for group in needed]}
        rules.append({"if": given, "then": then})
    return rules


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
