"""The house as its code says it is: floors, who meets whom, sizes, first lines, and no code run from data."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("agents", "baselines", "suites", "results", "analysis")
FILES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
LINES_OF_AN_AGENT, LINES, LINES_OF_A_FUNCTION = 500, 250, 60
RUNS_CODE = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml"}

each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in FILES}


def floor(module: str) -> int:
    room, _, inner = module.partition(".")
    if inner == "__main__":
        return 3
    if room == "analysis":
        return 0 if inner == "scores" else 2
    if room == "suites":
        return 2 if inner.partition(".")[0] == "runner" else 0
    if room == "agents":
        return 0 if inner == "protocol" or inner.partition(".")[0] == "parts" else 1
    return 1 if room == "baselines" else 0


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def for_types_only(tree: ast.Module) -> set[ast.stmt]:
    blocks = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)]
    return {line for block in blocks for statement in block.body for line in ast.walk(statement)}


def imported(path: Path, at_run_time: bool = False, at_once: bool = False) -> Iterator[str]:
    """Dotted names that a file imports; ``at_once``: as soon as it is imported itself."""
    tree = tree_of(path)
    left_out = for_types_only(tree) if at_run_time or at_once else set()
    for node in tree.body if at_once else ast.walk(tree):
        if node in left_out:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: an import by its full name was expected"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES else str(node.module)


def of_this_project(names: Iterator[str]) -> list[str]:
    return [name for name in names if name.partition(".")[0] in ROOMS]


@each_file
def test_imports_run_downward(path: Path) -> None:
    module = name_of(path)
    for other in of_this_project(imported(path)):
        assert other in MODULES, f"{module} imports {other}, which is not there"
        same_room = module.partition(".")[0] == other.partition(".")[0] and not module.startswith("agents")
        both_ground = floor(module) == floor(other) == 0
        assert floor(other) < floor(module) or same_room or both_ground, f"{module} imports {other}"
        assert floor(other) <= floor(module), f"{module} imports {other}, which is a floor above"


@each_file
def test_an_entrant_knows_no_other_one_nor_who_runs_it(path: Path) -> None:
    module = name_of(path)
    room = module.partition(".")[0]
    if room not in ("agents", "baselines"):
        return
    for other in of_this_project(imported(path)):
        assert other.startswith(("agents.protocol", "agents.parts", "baselines")), f"{module} imports {other}"
        assert room == "baselines" or not other.startswith("baselines"), f"{module} imports {other}"


def test_no_two_modules_import_each_other() -> None:
    needs = {name: set(of_this_project(imported(path, at_once=True))) for name, path in MODULES.items()}
    while leaves := [name for name, others in needs.items() if not others & needs.keys()]:
        for name in leaves:
            del needs[name]
    assert not needs, f"imports in a circle among {sorted(needs)}"


def test_analysis_never_imports_torch_and_shows_records_without_their_makers() -> None:
    reached, queue = set(), [name for name in MODULES if name.startswith("analysis")]
    while queue:
        module = queue.pop()
        if module in reached:
            continue
        reached.add(module)
        for other in imported(MODULES[module], at_run_time=True):
            assert other.partition(".")[0] not in ("torch", "stable_baselines3", "jaxtyping"), (
                f"{module} imports {other}"
            )
            if other in MODULES:
                queue += [other, *(parent for parent in (other.rpartition(".")[0],) if parent in MODULES)]
    assert not [name for name in reached if name.startswith(("agents", "baselines", "suites.runner", "suites.envs"))]


@each_file
def test_loading_data_never_runs_code(path: Path) -> None:
    for name in imported(path):
        assert name.partition(".")[0] not in RUNS_CODE, f"{path}: imports {name}"
    for node in ast.walk(tree_of(path)):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        given = {word.arg: ast.unparse(word.value) for word in node.keywords}
        where = f"{path}:{node.lineno}: {called}"
        assert called not in ("eval", "exec", "compile", "__import__"), where
        if called == "torch.load":
            assert given.get("weights_only") == "True", f"{where} without weights_only=True"
        elif called == "np.load":
            assert given.get("allow_pickle") == "False", f"{where} without allow_pickle=False"
        elif called.endswith(".load") and path.is_relative_to(ROOT / "baselines"):
            assert called == "replay.load", f"{where}: stable-baselines3's load runs code from the file"


@each_file
def test_the_first_line_of_a_file_says_what_it_is_for(path: Path) -> None:
    first = path.read_text().split("\n", 1)[0]
    docstring = ast.get_docstring(tree_of(path))
    assert docstring
    assert first.startswith('"""')
    assert len(docstring.split("\n", 1)[0]) > 15
    assert first.rstrip('"').endswith((".", ":")) or len(first) > 60


@each_file
def test_a_file_is_one_idea_in_size_too(path: Path) -> None:
    limit = LINES_OF_AN_AGENT if path.parent.name in ("agents", "baselines") else LINES  # a file is an algorithm
    assert len(path.read_text().splitlines()) <= limit


@each_file
def test_a_function_fits_on_a_screen(path: Path) -> None:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            assert lines <= LINES_OF_A_FUNCTION, f"{node.name} has {lines} lines"
