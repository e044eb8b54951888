"""What a suite file may claim: the kinds of claims, and which key belongs to which."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, model_validator

from suites.declared import MAX_ENTRIES, Count, Declared, EachOnce, Finite, Name, Positive, Text

Kind = Literal["value", "ordering", "ratio", "shape", "bound"]


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
    gaps, the better one cheats less), the open-loop error of its model, or the power of the horizon by which that
    error grows."""
    horizon: Count | None = None
    """After how many steps of the model its `error` is compared; else the longest that all those compared were asked
    for."""
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
        if self.horizon is not None and self.measure != "error":
            raise ValueError(f"expected no `horizon` in a claim on {self.measure}, found {self.horizon}")
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
    horizon = {"required": ["horizon"], "properties": {"horizon": {"type": "integer"}}}
    on_error = {"required": ["measure"], "properties": {"measure": {"const": "error"}}}
    return [*rules, {"if": horizon, "then": on_error}]
