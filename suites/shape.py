"""Holds a document against the model of a suite: pydantic's errors become faults with a place and a near name."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite, nan
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from suites.declared import MODULE, NAME
from suites.document import Document, Loc
from suites.faults import listed, nearest, quoted

Model = TypeVar("Model", bound=BaseModel)

WORDS = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "list_type": "a list",
    "tuple_type": "a list",
    "greater_than_equal": "a number of at least {ge}",
    "less_than_equal": "a number of at most {le}",
    "greater_than": "a number above {gt}",
    "too_short": "at least {min_length} of them",
    "too_long": "at most {max_length} of them",
    "string_too_short": "some text",
    "string_too_long": "at most {max_length} characters",
}
RULES = {
    NAME: "of small letters, digits, -, _ and single dots, as it becomes a folder",
    MODULE: "of a module, as in `maze` or `agents.dyna_q`",
}


def validated(model: type[Model], document: Document) -> Model | None:
    """The model made of the document's data; or None, and a fault for everything that is not as it should be."""
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        errors: list[Any] = error.errors(include_url=False)
    inner = {one["loc"][:length] for one in errors for length in range(len(one["loc"]))}
    # A list whose entries are wrong counts as too short besides.
    errors = [one for one in errors if one["type"] != "too_short" or one["loc"] not in inner]
    meant = set()
    for one in (one for one in errors if one["type"] == "extra_forbidden"):
        meant.add(unknown_key(model, document, one["loc"]))
    for one in errors:
        loc = found_loc(document, one["loc"])
        if document.is_broken(loc) or one["type"] == "extra_forbidden":
            continue
        if one["type"] == "missing":
            if (*loc, one["loc"][-1]) not in meant:  # else it is there, but misspelt, and has its fault
                message = f"expected the key {one['loc'][-1]!r}{inside(loc)}, found none"
                document.fault(document.key_place(loc), message)
            continue
        is_key = one["loc"][-1:] == ("[key]",)
        place = document.key_place(loc) if is_key else document.place(loc)
        document.fault(place, *wrong_value(model, loc, one, is_key))
    return None


def unknown_key(model: type[BaseModel], document: Document, loc: Loc) -> Loc | None:
    """Adds the fault of a key that the model doesn't have; the place of the key that was meant, if one is near."""
    loc = found_loc(document, loc)
    parent, key = loc[:-1], str(loc[-1])
    known = [name for kind in kinds(model, parent) if is_model(kind) for name in kind.model_fields]
    present = document.get(parent)
    suggestion = nearest(key, [name for name in known if name not in present])
    message = f"expected one of {listed(known)}{inside(parent)}, found the key {quoted(key)}"
    document.fault(document.key_place(loc), message, suggestion)
    return (*parent, suggestion) if suggestion else None


def wrong_value(model: type[BaseModel], loc: Loc, error: dict[str, Any], is_key: bool) -> tuple[str, str | None]:
    """What to say of a value, and what it should perhaps have been."""
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    where = ".".join(map(str, loc)) or "a suite"
    if kind == "literal_error":
        choices = [choice for one in kinds(model, loc) if get_origin(one) is Literal for choice in get_args(one)]
        shown = ", ".join(map(str, choices))
        return f"expected one of {shown} for {where}, found {quoted(value)}", nearest(value, choices)
    if kind == "string_pattern_mismatch":
        rule = RULES.get(context["pattern"], context["pattern"])
        return f"expected a name {'' if is_key else f'for {where} '}{rule}, found {quoted(value)}", None
    if kind == "value_error":
        return f"{context['error']}", None
    expected = WORDS[kind].format(**context) if kind in WORDS else str(error["msg"])
    number = number_in(value, whole="whole" in expected) if expected.endswith("number") else None
    return f"expected {expected} for {where}, found {quoted(value)}", number


def number_in(value: Any, whole: bool) -> str | None:
    """The number that a text in quotes, or a float such as 1e6, was perhaps meant to be."""
    try:
        number = float(value) if isinstance(value, str | float) and len(str(value)) < 20 else nan
    except ValueError:
        return None
    if number.is_integer():
        return str(int(number))
    return None if whole or not isfinite(number) else str(number)


def inside(loc: Loc) -> str:
    return f" in {'.'.join(map(str, loc))}" if loc else ""


def found_loc(document: Document, loc: Loc) -> Loc:
    """The part of pydantic's location that the document has: without union tags, "[key]" and missing keys."""
    found: Loc = ()
    for step in loc:
        if (*found, step) in document.values:
            found = (*found, step)
    return found


def kinds(model: Any, loc: Loc) -> Iterator[Any]:
    """The types that the model allows at ``loc``, with every alternative of a union by itself."""
    if get_origin(model) is not None and get_origin(model) not in (dict, list, tuple, Literal):
        for alternative in get_args(model):
            yield from kinds(alternative, loc)
    elif not loc:
        if model is not NoneType:
            yield model
    elif is_model(model):
        if loc[0] in model.model_fields:
            yield from kinds(model.model_fields[loc[0]].annotation, loc[1:])
    elif get_origin(model) is dict:
        yield from kinds(get_args(model)[1], loc[1:])
    elif get_origin(model) in (list, tuple):
        yield from kinds(get_args(model)[0], loc[1:])


def is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
