"""The options that an environment or an agent takes, read from its source, and whether a value fits one."""

from __future__ import annotations

import ast
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from suites.modules import MAX_HOPS, Module


@dataclass(frozen=True)
class Option:
    """A keyword of `make` or a field of `Config`; ``module`` is where its annotation is written."""

    annotation: ast.expr | None
    module: Module
    required: bool
    default: ast.expr | None = None

    def accepts(self, value: Any) -> bool:
        return self.annotation is None or fits(self.annotation, value, self.module)

    @property
    def expected(self) -> str:
        return "Any" if self.annotation is None else ast.unparse(self.annotation)

    @property
    def literals(self) -> list[Any]:
        return [] if self.annotation is None else literals(self.annotation, self.module)


@dataclass(frozen=True)
class Options:
    """Options by name; ``open`` if there may be others that can't be read."""

    named: dict[str, Option]
    open: bool

    @property
    def defaults(self) -> dict[str, Any]:
        """Those that have a literal for a default, and that."""
        found = {}
        for name, option in self.named.items():
            if option.default is not None:
                with suppress(ValueError):
                    found[name] = ast.literal_eval(option.default)
        return found


UNKNOWN = Options({}, open=True)


def of_make(module: Module) -> Options:
    """The keyword-only arguments of a module's `make`."""
    found = module.find(ast.Name("make"))
    if found is None or not isinstance(found[0], ast.FunctionDef):
        return UNKNOWN
    arguments, written = found[0].args, found[1]
    named = {
        argument.arg: Option(argument.annotation, written, default is None, default)
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    }
    return Options(named, open=arguments.kwarg is not None)


def of_config(module: Module) -> Options:
    """The fields of a module's dataclass `Config`, with those it inherits."""
    options = fields(ast.Name("Config"), module, MAX_HOPS)
    return options if options.named else UNKNOWN


def fields(name: ast.expr, module: Module, hops: int) -> Options:
    found = module.find(name)
    if found is None or not hops:
        return UNKNOWN
    node, module = found
    if isinstance(node, ast.Assign):
        return fields(node.value, module, hops - 1)
    if not isinstance(node, ast.ClassDef):
        return UNKNOWN
    named: dict[str, Option] = {}
    is_open = False
    for base in reversed([base for base in node.bases if head(base) != "object"]):
        inherited = fields(base, module, hops - 1)
        named.update(inherited.named)
        is_open |= inherited.open
    for line in node.body:
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and is_field(line):
            default = default_of(line.value)
            named[line.target.id] = Option(line.annotation, module, default is None, default)
    return Options(named, is_open)


def is_field(line: ast.AnnAssign) -> bool:
    if head(unquote(line.annotation)) in ("ClassVar", "KW_ONLY"):
        return False
    given = {word.arg: word.value for word in line.value.keywords} if isinstance(line.value, ast.Call) else {}
    init = given.get("init")
    return not (isinstance(init, ast.Constant) and init.value is False)


def default_of(value: ast.expr | None) -> ast.expr | None:
    if isinstance(value, ast.Call) and head(value.func) == "field":
        given = {word.arg: word.value for word in value.keywords}
        return given.get("default") or given.get("default_factory")
    return value


def fits(annotation: ast.expr, value: Any, module: Module, hops: int = MAX_HOPS) -> bool:
    """Whether YAML's ``value`` is one that the annotation allows. What it can't read allows everything."""
    annotation = unquote(annotation)
    name, inner = head(annotation), arguments(annotation)
    if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
        return any(fits(side, value, module, hops) for side in (annotation.left, annotation.right))
    if name == "Union":
        return any(fits(side, value, module, hops) for side in inner)
    if name == "Optional":
        return value is None or fits(inner[0], value, module, hops)
    if name in ("Annotated", "Final"):
        return not inner or fits(inner[0], value, module, hops)
    if name == "Literal":
        return any(type(value) is type(allowed) and value == allowed for allowed in literals(annotation, module))
    if name in ("list", "List", "tuple", "Tuple", "Sequence"):
        return isinstance(value, list) and fits_items(name.lower(), inner, value, module, hops)
    if name in ("dict", "Dict", "Mapping"):
        one = inner[1] if len(inner) == 2 else ast.Name("Any")
        return isinstance(value, dict) and all(fits(one, item, module, hops) for item in value.values())
    if name in SCALARS:
        return isinstance(value, SCALARS[name]) and (name == "bool" or not isinstance(value, bool))
    alias = aliased(annotation, module) if hops else None
    return alias is None or fits(alias[0], value, alias[1], hops - 1)


SCALARS: dict[str, type | tuple[type, ...]] = {
    "int": int,
    "float": (int, float),
    "str": str,
    "bool": bool,
    "None": type(None),
}


def fits_items(name: str, inner: list[ast.expr], value: list[Any], module: Module, hops: int) -> bool:
    if not inner:
        return True
    last = inner[-1]
    if name != "tuple" or (isinstance(last, ast.Constant) and last.value is ...):
        return all(fits(inner[0], item, module, hops) for item in value)
    if isinstance(last, ast.Tuple) and not last.elts:  # tuple[()]
        return not value
    return len(inner) == len(value) and all(
        fits(one, item, module, hops) for one, item in zip(inner, value, strict=True)
    )


def literals(annotation: ast.expr, module: Module, hops: int = MAX_HOPS) -> list[Any]:
    """The values that the annotation's Literals name."""
    annotation = unquote(annotation)
    if isinstance(annotation, ast.BinOp):
        return literals(annotation.left, module, hops) + literals(annotation.right, module, hops)
    name, inner = head(annotation), arguments(annotation)
    if name == "Literal":
        return [item.value for item in inner if isinstance(item, ast.Constant)]
    if name in ("Union", "Optional", "Annotated", "Final", "list", "List", "tuple", "Tuple", "Sequence"):
        return [value for item in inner for value in literals(item, module, hops)]
    alias = aliased(annotation, module) if hops and isinstance(annotation, ast.Name | ast.Attribute) else None
    return literals(alias[0], alias[1], hops - 1) if alias else []


def aliased(annotation: ast.expr, module: Module) -> tuple[ast.expr, Module] | None:
    """The annotation that a name such as ``Mode = Literal["a", "b"]`` stands for, and where that is written."""
    node, written = module.find(annotation) or (None, module)
    if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
        return node.value, written
    return None


def unquote(annotation: ast.expr) -> ast.expr:
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        try:
            return ast.parse(annotation.value, mode="eval").body
        except SyntaxError:
            return annotation
    return annotation


def head(annotation: ast.expr) -> str:
    """``Literal`` of ``typing.Literal["a"]``."""
    if isinstance(annotation, ast.Subscript):
        annotation = annotation.value
    if isinstance(annotation, ast.Attribute):
        return annotation.attr
    if isinstance(annotation, ast.Constant) and annotation.value is None:
        return "None"
    return annotation.id if isinstance(annotation, ast.Name) else ""


def arguments(annotation: ast.expr) -> list[ast.expr]:
    if not isinstance(annotation, ast.Subscript):
        return []
    inner = annotation.slice
    return list(inner.elts) if isinstance(inner, ast.Tuple) and inner.elts else [inner]
