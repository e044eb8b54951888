"""Finds the modules that a suite names and reads their syntax trees; nothing is imported, nothing runs."""

from __future__ import annotations

import ast
import importlib.util
import sys
from functools import cached_property, lru_cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from suites.faults import nearest

ROOT = Path(__file__).resolve().parent.parent
MAX_HOPS = 8  # imports and aliases followed before a name is given up as unknown

Binding = ast.stmt | tuple[str, str | None]  # a statement; or, for an import, a module and the name in it


class Unreadable(Exception):
    """The module is there, but its source is not Python."""


class Module:
    """The syntax tree of one module, by the names bound at its top."""

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree

    @cached_property
    def names(self) -> dict[str, Binding]:
        found: dict[str, Binding] = {}
        for node in statements(self.tree.body):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found[node.name] = node
            elif isinstance(node, ast.Assign):
                found.update({target.id: node for target in node.targets if isinstance(target, ast.Name)})
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                found[node.target.id] = node
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    whole = alias.asname or "." not in alias.name
                    name = alias.asname or alias.name.split(".")[0]
                    found[name] = (alias.name if whole else name, None)
            elif isinstance(node, ast.ImportFrom):
                module = node.module if node.level == 0 and node.module else ""
                found.update({alias.asname or alias.name: (module, alias.name) for alias in node.names})
        return found

    def offers(self, name: str) -> bool:
        """Whether ``name`` is bound here, or may be by means that can't be read."""
        return bool({name, "*", "__getattr__"} & self.names.keys())

    def constant(self, name: str) -> Any:
        """The value of a literal bound at the top (``ACTIONS``, ``PACKAGES``), or None."""
        node = self.names.get(name)
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            try:
                return ast.literal_eval(node.value)
            except (ValueError, TypeError):
                return None
        return None

    def find(self, expression: ast.expr, hops: int = MAX_HOPS) -> tuple[ast.stmt, Module] | None:
        """The statement that a name, or a name in a module, leads to through imports, and where it stands."""
        if isinstance(expression, ast.Name):
            bound = self.names.get(expression.id)
            if isinstance(bound, ast.stmt):
                return bound, self
            path, name = bound or ("", None)
        elif isinstance(expression, ast.Attribute) and isinstance(expression.value, ast.Name):
            bound = self.names.get(expression.value.id)
            if not isinstance(bound, tuple):
                return None
            path, name = ".".join(part for part in bound if part), expression.attr
        else:
            return None
        try:
            other = read_module(path) if path and name and hops else None
        except Unreadable:
            return None
        return other.find(ast.Name(name), hops - 1) if other and name else None


def statements(body: list[ast.stmt]) -> list[ast.stmt]:
    """A module's statements, with those under `if` and `try` beside them."""
    found: list[ast.stmt] = []
    for node in body:
        found.append(node)
        if isinstance(node, ast.If | ast.Try):
            found.extend(statements(node.body) + statements(node.orelse))
        if isinstance(node, ast.Try):
            found.extend(line for handler in node.handlers for line in statements(handler.body))
    return found


def read_module(name: str) -> Module | None:
    """The module ``name`` as `import` would find it; None if it isn't there or is no Python source."""
    spec = find_spec(name)
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return None
    try:
        stamp = Path(spec.origin).stat()
        return parse(spec.origin, stamp.st_mtime_ns, stamp.st_size)
    except (OSError, SyntaxError, ValueError, RecursionError) as error:
        raise Unreadable(f"{name} can't be read: {error}") from None


def find_spec(name: str) -> ModuleSpec | None:
    """Where `import` would find ``name``. Unlike `importlib.util.find_spec` it imports no package on the way."""
    first, *rest = name.split(".")
    try:
        spec = importlib.util.find_spec(first)
        for length, _ in enumerate(rest, start=2):
            if spec is None or spec.submodule_search_locations is None:
                return None
            spec = PathFinder.find_spec(".".join(name.split(".")[:length]), spec.submodule_search_locations)
    except (ImportError, ValueError):
        return None
    return spec


@lru_cache(maxsize=256)
def parse(path: str, changed: int, size: int) -> Module:
    """The module at ``path``; when it changed and its size are there to tell the cache of a new one."""
    return Module(ast.parse(Path(path).read_bytes()))


def env_module(env: str) -> str:
    """The module that makes ``env``: one of this project by its bare name, or a reader's by its dotted path."""
    return env if "." in env else f"suites.envs.{env}"


def nearest_env(env: str) -> str | None:
    if "." in env:
        return nearest_module(env, [])
    return nearest(env, [name.rpartition(".")[2] for name in makers("suites/envs")])


def nearest_agent(agent: str) -> str | None:
    return nearest_module(agent, [*makers("agents"), *makers("baselines")])


def nearest_module(name: str, known: list[str]) -> str | None:
    """The module most like ``name``: of the known ones, or of a reader's own on the import path."""
    by_last = {} if "." in name else {path.rpartition(".")[2]: path for path in known}
    own = nearest_path(name)
    return nearest(name, [*known, own] if own else known) or by_last.get(nearest(name, by_last) or "")


def nearest_path(name: str) -> str | None:
    """``name`` with each of its parts as it is written in the folders of the import path, installed ones left out."""
    standard = Path(ast.__file__).parent
    places = [Path(place) for place in sys.path if "-packages" not in place and Path(place) != standard]
    found: list[str] = []
    for part in name.split("."):
        inside = [path for place in places if place.is_dir() for path in place.iterdir()]
        names = {path.stem for path in inside if path.suffix == ".py" or path.is_dir()} - {"__init__"}
        near = part if part in names else nearest(part, sorted(names))
        if near is None:
            return None
        found.append(near)
        places = [place / near for place in places]
    path = ".".join(found)
    return path if path != name else None


def makers(folder: str) -> list[str]:
    """The modules of a folder of this project that offer `make`."""
    found = []
    for path in sorted((ROOT / folder).glob("*.py")):
        try:
            stamp = path.stat()
            if parse(str(path), stamp.st_mtime_ns, stamp.st_size).offers("make"):
                found.append(f"{folder}/{path.stem}".replace("/", "."))
        except (SyntaxError, ValueError, OSError):
            continue  # it can't be what was meant
    return found
