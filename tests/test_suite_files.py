"""Suite files are read as YAML 1.2 says, become trials, and name the protocol that their numbers are made under."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from suites.faults import SuiteError
from suites.reading import read_document
from suites.selection import asked_seeds
from suites.spec import Suite, TrialSpec, difference, load_suite, protocol, protocol_hash, shipped_suites
from tests.suite_samples import RICH, SMALL, write_modules, write_suite

ROOT = Path(__file__).resolve().parent.parent
MEASURED = """
PACKAGES = ("pytest", "pydantic")
EXTRA = "install the moon"
def make(*, gravity: float = 9.8, walls: tuple[int, ...] = ()): ...
def card(*, gravity=9.8, walls=()): return {"env_id": "Swing-v0", "gravity": gravity, "wrappers": ("a", "b")}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    made = write_modules(tmp_path_factory.mktemp("files"))
    (made / "measured_env.py").write_text(MEASURED)
    (made / "own").mkdir()
    (made / "own" / "measured.py").write_text(MEASURED)
    (made / "own" / "absent.py").write_text(MEASURED.replace('"pydantic"', '"no-such-simulator"'))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(made)
        yield made


@pytest.fixture
def suite(folder: Path) -> Suite:
    return load_suite(write_suite(folder, RICH))


def read(folder: Path, text: str) -> object:
    document = read_document(write_suite(folder, text, "values.yaml"))
    assert not document.faults, document.faults
    return document.data


def refusal(folder: Path, text: str | bytes) -> str:
    path = folder / "refused.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SuiteError) as caught:
        load_suite(path)
    return str(caught.value)


# -- YAML ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1e-3", 0.001), ("3E4", 30000.0), ("-.5", -0.5), ("25_000", 25000), ("0x1f", 31), ("0o17", 15), ("017", 17),
        ("on", "on"), ("off", "off"), ("yes", "yes"), ("no", "no"), ("y", "y"), ("12:30", "12:30"),
        ("1:2:3", "1:2:3"), ("2024-01-02", "2024-01-02"), ("true", True), ("False", False), ("null", None),
        ("~", None), ("", None), ("'5'", "5"), ("1.2.3", "1.2.3"), ("=", "="), ("<<", "<<"), ("-", [None]),
    ],
)  # fmt: skip
def test_values_are_read_as_yaml_1_2(folder: Path, written: str, value: object) -> None:
    data = read(folder, f"key:\n  {written}\n")
    assert isinstance(data, dict)
    assert data["key"] == value
    assert type(data["key"]) is type(value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("title: a\ntitle: b\n", "2:1: expected each key once, found 'title' again (first in line 1)"),
        ("a: {b: 1, c: 2, b: 3}\n", "1:17: expected each key once, found 'b' again"),
        ("a: &x [1]\nb: *x\n", "1:4: expected no anchors"),
        ("a: &x [1]\nb: *x\n", "2:4: expected the value itself, found an alias"),
        ("a: !!python/object/apply:os.system [ls]\n", "1:4: expected no tags"),
        ("a: !!int 5\n", "1:4: expected no tags, found '!!int'"),
        ("%YAML 1.1\n---\na: on\n", "expected no directives"),
        ("a: 1\n---\nb: 2\n", "2:1: expected one document in a file, found a second one"),
        ("", "expected a suite, found an empty file"),
        ("# nothing\n", "expected a suite, found an empty file"),
        ("- a\n", "expected a mapping for a suite, found a list"),
        ("just text\n", "expected a mapping for a suite, found 'just text'"),
        ("a: 1\n\tb: 2\n", "expected YAML, found a fault in its syntax"),
        ("a: [1\n", "expected YAML, found a fault in its syntax"),
        ("a: x\n b: y\n", "2:3: expected YAML, found a fault in its syntax"),
        ("5: a\n", "1:1: expected a key that is text, found 5"),
        ("[a]: b\n", "1:1: expected a key that is text, found a list"),
        ("a: " + "9" * 6000 + "\n", "1:4: expected a number, found '999"),
        ("a: " + "9" * 400 + "\n", "1:4: expected a finite number of at most 64 bits"),
        ("a: .inf\n", "1:4: expected a finite number"),
        ("a: 1e999\n", "1:4: expected a finite number"),
        ("a: -.nan\nb: .nan\n", "2:4: expected a finite number"),
        ("a: +_\n", "1:4: expected a number, found '+_'"),
        ("a: b\n\x00", "2:1: expected plain UTF-8 text without control characters, found character U+0000"),
        ("\ufefftitle: a\n", "1:1: expected plain UTF-8 text without control characters, found a byte-order mark"),
        ('a: "\\0"\n', "1:4: expected text without control characters, found U+0000"),
        ('a: "\\uD800"\n', "1:4: expected text without control characters, found U+D800"),
        (b"a: b\nc: \xff\n", "2:4: expected UTF-8 text, found the byte 0xff"),
        ("title: a".encode("utf-16"), "1:1: expected UTF-8 text, found the byte 0xff"),
        ("[" * 4000, "expected at most 16 levels of nesting"),
        ("- " * 4000, "expected at most 16 levels of nesting"),
        ("{a: " * 2000, "expected at most 16 levels of nesting"),
        ("[" + "1," * 60_000 + "]", "expected at most 10000 keys and values"),
        ("a" * 300_000, "expected a suite file of at most 256 KiB, found a larger one"),
    ],
)
def test_what_is_no_suite_is_refused_with_its_place(folder: Path, text: str | bytes, said: str) -> None:
    assert said in refusal(folder, text)


def test_faults_of_yaml_and_of_the_suite_are_shown_together(folder: Path) -> None:
    said = refusal(folder, SMALL.replace("seeds: [0, 2]", "seeds: [0, 2]\ntitle: again\nextra: 1\nabout: .inf"))
    assert said.endswith("3 faults; nothing was run")
    assert [f"refused.yaml:{line}:" in said for line in range(1, 9)] == [line in (4, 5, 6) for line in range(1, 9)]


# -- finding --------------------------------------------------------------------------------------------------------


def test_every_shipped_suite_is_in_order_and_found_by_its_name() -> None:
    for path in shipped_suites():
        suite = load_suite(path.stem)
        assert suite.path == path
        assert suite.trials()
        assert path.read_text().startswith("# yaml-language-server: $schema=suite.schema.json\n")


def test_a_misspelt_suite_gets_the_near_name() -> None:
    name = shipped_suites()[0].stem
    with pytest.raises(SuiteError) as caught:
        load_suite(name[:-2] + name[-1])
    assert caught.value.faults[0].suggestion == name
    assert "expected a suite (" in str(caught.value)


@pytest.mark.parametrize("name", ["Mine.yaml", "a b.yaml", "..yaml", "a..b.yaml", "mine.json", "a\nb.yaml"])
def test_a_file_whose_name_is_unfit_for_a_folder_is_refused(folder: Path, name: str) -> None:
    (folder / name).write_text(SMALL)
    with pytest.raises(SuiteError, match="expected a file name of small letters"):
        load_suite(folder / name)


def test_a_path_that_leads_to_no_file_is_refused(folder: Path) -> None:
    (folder / "folder.yaml").mkdir()
    for path, found in (("nowhere.yaml", "no such file"), ("folder.yaml", "a folder"), ("\0.yaml", "a file name")):
        with pytest.raises(SuiteError, match=found):
            load_suite(str(folder / path))


NAMES = st.one_of(
    st.text(alphabet="abz09._-/\\~ A\n", min_size=1, max_size=8),
    st.sampled_from(["..", "a/../..", "/etc", "C:\\x", "a/", "./a", "~", "a\n", "nul.", "a..b", "é"]),
)


@given(name=NAMES)
def test_no_name_leads_out_of_the_results(name: str) -> None:
    for field in ("suite", "task", "entrant"):
        told = {"suite": "s", "task": "t", "entrant": "e", field: name}
        try:
            TrialSpec.model_validate(
                {**told, "seed": 0, "env": "maze", "budget": 1, "agent": "a",
                 "evaluate": {"every": 1, "episodes": 1, "final_episodes": 1}}
            )  # fmt: skip
        except ValidationError:
            continue
        assert (Path("/r") / name).resolve().parent == Path("/r")
        assert name == name.lower().strip("\n /")


# -- trials ---------------------------------------------------------------------------------------------------------


def test_a_suite_is_its_tasks_by_its_entrants_by_its_seeds(suite: Suite) -> None:
    trials = suite.trials()
    assert [(trial.seed, trial.task, trial.entrant) for trial in trials] == [
        (seed, task, entrant)
        for seed in (0, 1, 2)
        for task in ("pendulum", "long-maze")
        for entrant in ("dreamer", "actor")
    ]
    assert {(trial.suite, trial.device) for trial in trials} == {("sample", "cpu")}


def test_a_trial_has_its_tasks_conditions_and_its_entrants_settings(suite: Suite) -> None:
    pendulum, _, maze, _ = suite.trials(seeds=[1])
    assert (pendulum.evaluate.every, maze.evaluate.every) == (500, 1000)
    assert (pendulum.config["horizon"], maze.config["horizon"]) == (15, 30)
    assert pendulum.config["hidden"] == maze.config["hidden"] == [256, 256]
    assert (pendulum.metric, pendulum.threshold, pendulum.curve) == ("length", 1e-3, "cumulative")
    assert pendulum.score is not None
    assert (pendulum.score.zero, pendulum.score.one, pendulum.known) == (-33, 906, ("reward", "termination"))


def test_an_entrant_meets_only_the_tasks_that_it_lists(folder: Path) -> None:
    suite = load_suite(write_suite(folder, RICH.replace("tasks: [pendulum, long-maze]", "tasks: [long-maze]").replace(
        "    task: pendulum", "    task: long-maze")))  # fmt: skip
    assert {trial.task for trial in suite.trials(entrant=["dreamer"])} == {"long-maze"}


def test_an_entrant_may_have_seeds_of_its_own_in_a_task_too_and_fresh_ones_are_the_same_for_all(folder: Path) -> None:
    text = RICH.replace("    seeds: 3 ", "    seeds: [1, 7] ").replace(
        "      long-maze: 3 ", "      long-maze: [1, 5] "
    )
    suite = load_suite(write_suite(folder, text))
    assert (suite.seeds_of("dreamer", "pendulum"), suite.seeds_of("dreamer", "long-maze")) == ((1, 7), (1, 5))
    assert (suite.seeds_of("actor", "long-maze"), suite.all_seeds) == ((0, 1, 2), [0, 1, 2, 5, 7])
    assert [(trial.seed, trial.entrant) for trial in suite.trials(task=["pendulum"])] == [
        (0, "actor"), (1, "dreamer"), (1, "actor"), (2, "actor"), (7, "dreamer"),
    ]  # fmt: skip
    assert [trial.entrant for trial in suite.trials(["pendulum"], seeds=[7, 0])] == ["actor", "dreamer"]
    assert [trial.seed for trial in suite.trials(["long-maze"], ["dreamer"])] == [1, 5]
    fresh, wanted = asked_seeds(suite, "+2")
    assert sorted({(trial.seed, trial.entrant, trial.task) for trial in fresh.trials(seeds=wanted)}) == [
        (seed, entrant, task)
        for seed in (8, 9)
        for entrant in ("actor", "dreamer")
        for task in ("long-maze", "pendulum")
    ]


def test_trials_are_chosen_by_task_entrant_and_seed(suite: Suite) -> None:
    chosen = suite.trials(["long-maze"], ["actor"], [2, 0], device="cuda")
    assert [(one.task, one.entrant, one.seed, one.device) for one in chosen] == [
        ("long-maze", "actor", 0, "cuda"),
        ("long-maze", "actor", 2, "cuda"),
    ]


def test_choosing_what_is_not_there_names_what_is(suite: Suite) -> None:
    with pytest.raises(
        ValueError, match=r"expected one of sample's tasks \(pendulum, long-maze\), found pendulm; .*pendulum"
    ):
        suite.trials(task=["pendulm"])
    with pytest.raises(ValueError, match=r"expected one of sample's entrants .* did you mean actor"):
        suite.trials(entrant=["acter"])
    with pytest.raises(ValueError, match=r"one of sample's seeds \(0, 1, 2\), found 7"):
        suite.trials(seeds=[7])


def test_a_trial_survives_a_trip_through_json(suite: Suite) -> None:
    for trial in suite.trials():
        assert TrialSpec.model_validate(json.loads(json.dumps(trial.model_dump(mode="json")))) == trial
        assert TrialSpec.model_validate_json(trial.model_dump_json()) == trial


def test_a_suite_is_not_changed_after_reading(suite: Suite) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        suite.tasks["pendulum"].budget = 1


# -- protocols -------------------------------------------------------------------------------------------------------


def trial_of(folder: Path, task: str) -> TrialSpec:
    start = SMALL.index("  maze:")
    text = SMALL[:start] + f"  maze: {task}\n" + SMALL[SMALL.index("entrants:") :]
    return load_suite(write_suite(folder, text)).trials()[0]


def test_a_protocol_has_all_but_the_agent(folder: Path) -> None:
    found = protocol(trial_of(folder, "{ env: own.measured, budget: 7, action_repeat: 2 }"))
    assert found.keys() == {"env", "card", "options", "action_repeat", "budget", "evaluate", "checkpoint", "packages"}
    assert found["card"] == {"env_id": "Swing-v0", "gravity": 9.8, "wrappers": ["a", "b"]}
    assert found["packages"].keys() == {"pytest", "pydantic"}
    assert found["evaluate"] == {"every": 1000, "episodes": 2, "final_episodes": 3, "policy": "mode"}
    assert (found["action_repeat"], found["budget"], found["checkpoint"]) == (2, 7, "last")


@pytest.mark.parametrize(
    "same",
    [
        "{ budget: 7, env: own.measured }",
        "{ env: own.measured, budget: 7, options: { gravity: 9.8 } }",
        "{ env: own.measured, budget: 7, options: { gravity: 98e-1, walls: [] } }",
        "{ env: own.measured, budget: 0x7, action_repeat: 1 }",
        "{ env: own.measured, budget: 7, threshold: 3, score: { zero: 0, one: 2 } }",
    ],
)
def test_the_same_protocol_however_written_has_the_same_hash(folder: Path, same: str) -> None:
    plain = protocol(trial_of(folder, "{ env: own.measured, budget: 7 }"))
    other = protocol(trial_of(folder, same))
    assert difference(plain, other) == []
    assert protocol_hash(plain) == protocol_hash(other)
    assert len(protocol_hash(plain)) == 16


@pytest.mark.parametrize(
    ("task", "field", "before", "after"),
    [
        ("{ env: own.measured, budget: 8 }", "budget", 7, 8),
        ("{ env: own.measured, budget: 7, action_repeat: 2 }", "action_repeat", 1, 2),
        ("{ env: own.measured, budget: 7, options: { gravity: 1 } }", "card.gravity", 9.8, 1),
        ("{ env: own.measured, budget: 7, options: { walls: [2] } }", "options.walls", [], [2]),
        ("{ env: own.measured, budget: 7, evaluate: { every: 1_000, episodes: 2, final_episodes: 3, policy: sample } }",
         "evaluate.policy", "mode", "sample"),
    ],
)  # fmt: skip
def test_another_protocol_has_another_hash_and_names_the_field(
    folder: Path, task: str, field: str, before: object, after: object
) -> None:
    plain, other = protocol(trial_of(folder, "{ env: own.measured, budget: 7 }")), protocol(trial_of(folder, task))
    assert (field, before, after) in difference(plain, other)
    assert protocol_hash(plain) != protocol_hash(other)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-3, 3) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=8,
)


@given(
    a=st.dictionaries(st.text("ab", max_size=2), JSON, max_size=3), b=st.dictionaries(st.text("ab", max_size=2), JSON)
)
def test_protocols_differ_in_a_field_exactly_if_their_hashes_differ(a: dict, b: dict) -> None:
    assert (protocol_hash(a) == protocol_hash(b)) == (difference(a, b) == [])
    assert difference(a, json.loads(json.dumps(a))) == []


def test_a_missing_simulator_is_named_with_its_remedy(folder: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match=r"needs the package no-such-simulator, .* install the moon"):
        protocol(trial_of(folder, "{ env: own.absent, budget: 7 }"))


# -- speed and safety --------------------------------------------------------------------------------------------------


def test_reading_a_suite_imports_no_heavy_package_and_runs_no_agent(folder: Path) -> None:
    # The sample's agent raises when it is imported, and its environment needs a simulator that isn't there.
    path = write_suite(folder, RICH)
    code = (
        "import sys; from suites.spec import load_suite, shipped_suites\n"
        "for one in [sys.argv[1], *shipped_suites()]: load_suite(one).trials()\n"
        "heavy = {'torch', 'numpy', 'gymnasium', 'pandas', 'scipy', 'typer', 'jsonschema', 'agents', 'suites.envs',\n"
        "         'probe_agents', 'probe_envs'}\n"
        "assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()"
    )
    command = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(
        command, cwd=ROOT, env={"PYTHONPATH": f"{ROOT}:{folder}"}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
