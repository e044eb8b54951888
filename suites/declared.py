"""The types of the values in a suite file, and what all of its parts have in common."""

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
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Declared(BaseModel):
    """A part of a suite file: no key that it doesn't know, no value of another type, no change afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)
