"""Every fault of a suite file is shown at once, on its line, with what was expected and the nearest right name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from suites.faults import Fault, SuiteError
from suites.spec import load_suite
from tests.suite_samples import RICH, Line, rich_lines, write_modules, write_suite

LINES = RICH.splitlines()


class Case(NamedTuple):
    """One generated fault: the file's lines, where the fault is, and what should be suggested if anything."""

    name: str
    lines: list[str]
    line: int
    suggestion: str | None = None
    structural: bool = False  # a fault of shape, which the JSON schema has to refuse as well


def replaced(line: Line, text: str) -> list[str]:
    return [*LINES[: line.number - 1], text, *LINES[line.number :]]


def misspelt(word: str) -> Iterator[str]:
    """One word with one or two slips of the finger."""
    middle = len(word) // 2
    yield word[:middle] + word[middle + 1 :]
    yield word[:-2] + word[-1] + word[-2]
    yield word[:middle] + "q" + word[middle:]
    yield "x" + word[:middle] + word[middle + 1 :] if len(word) > 5 else word + "s"


def block(line: Line) -> list[str]:
    """The lines that stand under a line, and itself."""
    depth = len(line.indent)
    end = line.number
    while end < len(LINES) and len(LINES[end]) - len(LINES[end].lstrip(" -")) > depth:
        end += 1
    return LINES[line.number - 1 : end]


def misspelt_keys(line: Line) -> Iterator[Case]:
    if "free" in line.words:
        return
    of_an_option = line.kind.startswith("option")
    for wrong in misspelt(line.key):
        suggestion = None if of_an_option and wrong == line.key else line.key
        yield Case(
            f"{line.key} as {wrong}",
            replaced(line, line.with_key(wrong)),
            line.number,
            suggestion,
            not of_an_option and "task" not in line.words,
        )


WRONG_TYPES = {
    "text": ["5", "true", "[a]", "{a: 1}"],
    "count": ["'5'", "1.5", "true", "[1]", "{a: 1}", "five", ""],
    "seeds": ["'5'", "1.5", "true", "{a: 1}", "five"],
    "number": ["'5'", "true", "[1]", "{a: 1}", "five"],
    "choice": ["5", "true", "[a]", "{a: 1}", ""],
    "module": ["5", "true", "[a]", "{a: 1}", ""],
    "known": ["5", "reward", "{reward: 1}", "[5]", ""],
    "tasks": ["5", "pendulum", "{pendulum: 1}", "[5]"],
    "task": ["5", "[pendulum]", "{a: 1}", ""],
    "entrant": ["5", "[dreamer]", "{a: 1}", ""],
    "entrants": ["5", "actor", "[5]", ""],
    "option-float": ["'1.5'", "true", "[1]", "null"],
    "option-int": ["'3'", "1.5", "true", "[1]", "null"],
    "option-bool": ["1", "'true'", "null"],
    "option-str": ["5", "true", "[a]", "null"],
    "option-choice": ["5", "true", "[a]"],
    "option-ints": ["5", "[1, a]", "[1.5]", "null", "{a: 1}"],
    "option-pair": ["[1]", "[1, 2, 3]", "[1, a]", "1"],
    "option-optional": ["a", "1.5", "[1]", "true"],
    "option-dict": ["5", "[1]", "{gravity: high}"],
}


def wrong_types(line: Line) -> Iterator[Case]:
    wrongs = WRONG_TYPES.get(line.kind, [])
    if line.kind in ("mapping", "list"):
        wrongs = ["5", "words", "true"]
    wrongs = [*wrongs, ""] if line.kind == "text" and "required" in line.words else wrongs
    wrongs = [*wrongs, ""] if line.kind == "seeds" and line.words else wrongs  # an entrant's may be nothing: no key
    for wrong in wrongs:
        lines = replaced(line, line.with_value(wrong))
        del lines[line.number : line.number + len(block(line)) - 1]
        yield Case(f"{line.key}: {wrong}", lines, line.number, None, not line.kind.startswith("option"))


def wrong_names(line: Line) -> Iterator[Case]:
    """What a value names: a choice, a module, a task, an entrant."""
    if line.kind in ("choice", "option-choice", "module", "task", "entrant"):
        for wrong in misspelt(line.value):
            lines = replaced(line, line.with_value(wrong))
            yield Case(f"{line.key}: {wrong}", lines, line.number, line.value, line.kind == "choice")
    if line.kind in ("known", "tasks", "entrants"):
        last = re.findall(r"[\w-]+", line.value)[-1]
        for wrong in misspelt(last):
            lines = replaced(line, line.with_value(line.value.replace(last, wrong)))
            yield Case(f"{line.key}: {wrong}", lines, line.number, last, line.kind == "known")


def out_of_range(line: Line) -> Iterator[Case]:
    wrongs = {"count": ["0", "-3"], "number": [".inf", "-.inf", ".nan", "1e999"], "text": ["''"]}.get(line.kind, [])
    wrongs += ["0", "-3", "[]", "[1, 1]", "[-1]", "1001"] if line.kind == "seeds" else []
    wrongs += ["[reward, reward]"] if line.kind == "known" else []
    wrongs += ["[]", "[long-maze, long-maze]"] if line.kind == "tasks" else []
    for wrong in wrongs:
        yield Case(f"{line.key}: {wrong}", replaced(line, line.with_value(wrong)), line.number, None, True)


def missing(line: Line) -> Iterator[Case]:
    if "required" in line.words:
        under = block(line)
        lines = [*LINES[: line.number - 1], *LINES[line.number - 1 + len(under) :]]
        yield Case(f"no {line.key}", lines, line.parent, None, True)


def twice(line: Line) -> Iterator[Case]:
    under = block(line)
    again = [under[0].replace("- ", "  ", 1), *under[1:]]
    end = line.number - 1 + len(under)
    yield Case(f"{line.key} twice", [*LINES[:end], *again, *LINES[end:]], end + 1)


def extra(line: Line) -> Iterator[Case]:
    end = line.number - 1 + len(block(line))
    text = " " * len(line.indent) + "wholly-new: {a: 1}"
    # An option or a task of that name could be, for all that the schema knows.
    structural = not line.words & {"free", "task"} and not line.kind.startswith("option")
    yield Case(f"wholly-new beside {line.key}", [*LINES[:end], text, *LINES[end:]], end + 1, None, structural)


def bad_names(line: Line) -> Iterator[Case]:
    if "free" in line.words:
        for wrong in ("Pendulum", "../up", "/etc", "a..b", "a/b", "a b", "-a", ".a", "a.", "5", "null", "é", "a" * 65):
            lines = [*LINES[: line.number - 1], line.with_key(wrong), *LINES[line.number :]]
            yield Case(f"the name {wrong}", lines, line.number, None, True)


GENERATORS: list[Callable[[Line], Iterator[Case]]] = [
    misspelt_keys, wrong_types, wrong_names, out_of_range, missing, twice, extra, bad_names,
]  # fmt: skip
CASES = [(make.__name__, case) for make in GENERATORS for line in rich_lines() for case in make(line)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    made = write_modules(tmp_path_factory.mktemp("faults"))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(made)
        yield made


def faults_of(folder: Path, text: str) -> list[Fault]:
    try:
        load_suite(write_suite(folder, text))
    except SuiteError as error:
        return error.faults
    return []


Outcomes = list[tuple[str, Case, list[Fault]]]


@pytest.fixture(scope="module")
def outcomes(folder: Path) -> Outcomes:
    return [(kind, case, faults_of(folder, "\n".join(case.lines))) for kind, case in CASES]


def test_three_hundred_generated_faults_are_all_shown_on_the_right_line(outcomes: Outcomes) -> None:
    assert len(outcomes) >= 300
    assert not [
        f"{kind}, {case.name}: expected line {case.line}, found {faults}"
        for kind, case, faults in outcomes
        if case.line not in [fault.line for fault in faults]
    ]


def test_nineteen_in_twenty_misspelt_names_get_the_right_suggestion(outcomes: Outcomes) -> None:
    asked = [outcome for outcome in outcomes if outcome[1].suggestion is not None]
    wrong = [
        f"{kind}, {case.name}: expected {case.suggestion}, found {faults}"
        for kind, case, faults in asked
        if case.suggestion not in [fault.suggestion for fault in faults if fault.line == case.line]
    ]
    assert len(asked) >= 150
    assert len(wrong) <= 0.05 * len(asked), "\n".join(wrong)


def test_a_wrong_value_in_every_line_is_a_fault_in_every_line(folder: Path) -> None:
    wrong = {"text": "5", "count": "none", "number": "none", "choice": "nothing-like-it", "option-dict": "5"}
    changed = [line for line in rich_lines() if line.value and line.kind != "module"]
    lines = list(LINES)
    for line in changed:
        lines[line.number - 1] = line.with_value(wrong.get(line.kind, "{a: 1}"))
    expected = {line.number for line in changed}
    assert {fault.line for fault in faults_of(folder, "\n".join(lines))} == expected


def test_a_fault_shows_place_line_caret_expectation_finding_and_the_near_name(folder: Path) -> None:
    path = write_suite(folder, RICH.replace("budget: 50_000", "budgt: 50_000"))
    with pytest.raises(SuiteError) as caught:
        load_suite(path)
    first, line, caret, meant = str(caught.value).split("\n")[:4]
    assert first.startswith(f"{path}:23:5: expected one of env, options, ")
    assert first.endswith("in tasks.pendulum, found the key 'budgt'")
    assert line.startswith("   23 |     budgt: 50_000 ")
    assert caret == "      |     ^"
    assert line.index("budgt") == caret.index("^")
    assert meant.strip() == "did you mean budget?"
    assert str(caught.value).endswith("1 fault; nothing was run")


def test_faults_come_in_the_order_of_the_file(folder: Path) -> None:
    text = (
        RICH.replace("\nseeds: 3", "\nseedz: 3")
        .replace("entrant: dreamer", "entrant: dreamr")
        .replace("corner", "cornr")
    )
    places = [(fault.line, fault.col) for fault in faults_of(folder, text)]
    assert len(places) == 3
    assert places == sorted(places)


EXPLAINED = {
    "env: probe_envs.empty": "a module with a function `make`, found none in probe_envs.empty",
    "env: probe_envs.torn": "expected an environment that is Python source, found a fault in it",
    "env: probe_envs.sliding": "expected an option of probe_envs.sliding, 'seat', found none",
    "env: hopr": "expected an environment: a module that can be imported, found no module 'suites.envs.hopr'",
    "env: ../maze": "expected a name for tasks.maze.env of a module",
    "agent: probe_agents.strict": "expected a setting of probe_agents.strict, 'size', for the task maze, found none",
    "agent: json": "expected an agent: a module with a function `make`, found none in json",
    "budget: 1_000, score: {zero: 2, one: 2}": "`zero` and `one` apart, found 2.0 for both",
    "budget: 1e6": "expected a whole number for tasks.maze.budget, found 1000000.0",
    "agent: probe_agents.acting, known: [reward]": "expected an environment with known functions in the task maze",
    "agent: probe_agents.acting, tasks: [other], per_task: {maze: {}}": "expected a task that one meets (other)",
    "agent: probe_agents.acting, tasks: [other], seeds_per_task: {maze: 2}": "expected a task that one meets (other)",
}


@pytest.mark.parametrize("part", EXPLAINED)
def test_a_fault_of_meaning_is_explained(folder: Path, part: str) -> None:
    key = part.split(":")[0]
    parts = {
        "env": "env: probe_envs.still",
        "budget": "budget: 1_000",
        "agent": "agent: probe_agents.acting",
        key: part,
    }
    text = (
        "title: t\nseeds: 1\nevaluate: {every: 1, episodes: 1, final_episodes: 1}\n"
        f"tasks:\n  maze: {{{parts['env']}, {parts['budget']}}}\n  other: {{env: probe_envs.still, budget: 1}}\n"
        f"entrants:\n  one: {{{parts['agent']}}}\n"
    )
    assert EXPLAINED[part] in "\n".join(fault.message for fault in faults_of(folder, text))


def test_modules_that_do_not_say_what_they_take_are_not_judged(folder: Path) -> None:
    text = RICH.replace("agent: probe_agents.acting", "agent: probe_agents.acting\n    config: {whatever: [1, a]}")
    text = text.replace("budget: 10_000", "budget: 10_000\n    options: {extra: a, length: 2}")
    text = text.replace("env: probe_envs.swinging                # module required\n    budget", "env: X\n    budget")
    assert not faults_of(folder, text.replace("env: X", "env: probe_envs.swinging"))
    sliding = text.replace("env: X", "env: probe_envs.sliding").replace("{extra: a, length: 2}", "{seat: 1, other: a}")
    assert not faults_of(folder, sliding.replace("known: [reward, termination]", "known: []"))


def test_a_module_of_the_readers_own_is_found_by_a_near_name_of_its_package(folder: Path) -> None:
    faults = faults_of(folder, RICH.replace("agent: probe_agents.acting", "agent: prob_agents.actin"))
    assert [fault.suggestion for fault in faults] == ["probe_agents.acting"]


def test_a_bare_agent_is_led_to_its_package(folder: Path) -> None:
    faults = faults_of(folder, RICH.replace("agent: probe_agents.acting", "agent: dyna_q"))
    assert [fault.suggestion for fault in faults] == ["agents.dyna_q"]


def test_a_whole_number_written_as_a_float_is_offered_as_one(folder: Path) -> None:
    faults = faults_of(folder, RICH.replace("budget: 50_000", "budget: 5e4").replace("warmup: 500", "warmup: 5e2"))
    assert [fault.suggestion for fault in faults] == ["50000", "500"]


def test_a_number_in_quotes_is_offered_without_them(folder: Path) -> None:
    faults = faults_of(folder, RICH.replace("episodes: 2 ", "episodes: '2' ").replace("zero: -33.0", "zero: '-33.5'"))
    assert [fault.suggestion for fault in faults] == ["2", "-33.5"]


def test_nothing_in_a_file_reaches_the_terminal_as_a_control_sequence(folder: Path) -> None:
    for text in ("title: \x1b[31mred", 'title: "\\e[31m"', '"\\e[31m": 1', "title: [\x9b31m]"):
        faults = faults_of(folder, text)
        assert faults
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", str(SuiteError(faults)))
