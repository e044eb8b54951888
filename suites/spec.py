"""What a suite is: Suite, Task, Entrant, Claim, and the trials that follow from them."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, TypeVar

from suites.claim import Claim
from suites.declaration import Entrant, Evaluate, Score, SuiteFile, Task
from suites.declared import (
    NAME,
    Count,
    Curve,
    Declared,
    Finite,
    HowManySeeds,
    Known,
    Metric,
    ModulePath,
    Name,
    Options,
    Seed,
    Seeds,
    Several,
    Steps,
)  # fmt: skip
from suites.faults import Fault, SuiteError, listed, nearest
from suites.protocol import difference, protocol, protocol_hash
from suites.reading import read_document
from suites.references import check_references
from suites.shape import validated

__all__ = [
    "Claim", "Entrant", "Evaluate", "Fault", "Score", "Suite", "SuiteError", "SuiteFile", "Task", "TrialSpec",
    "difference", "json_schema", "load_suite", "protocol", "protocol_hash", "schema_text", "shipped_suites",
]  # fmt: skip

FOLDER = Path(__file__).resolve().parent
Chosen = TypeVar("Chosen")


class TrialSpec(Declared):
    """One trial: all that the process which runs it has to know. It survives a trip through JSON."""

    suite: Name
    task: Name
    entrant: Name
    seed: Seed
    env: ModulePath
    options: Options = {}
    action_repeat: Count = 1
    budget: Steps
    evaluate: Evaluate
    agent: ModulePath
    config: Options = {}
    known: Several[Known] = ()
    score: Score | None = None
    metric: Metric = "return"
    threshold: Finite | None = None
    curve: Curve = "evaluation"
    device: str = "cpu"


class Suite(SuiteFile):
    """A suite that was read from ``path``; its name is the file's."""

    name: Name
    path: Path
    seeds: Seeds

    def seeds_of(self, entrant: str, task: str) -> Seeds:
        """Its own in the task, or its own, or the suite's."""
        declared = self.entrants[entrant]
        own = declared.seeds_per_task.get(task, declared.seeds)
        return self.seeds if own is None else numbered(own)

    def tasks_of(self, entrant: str) -> Collection[str]:
        """Those that it meets, as they are listed."""
        return self.entrants[entrant].tasks or self.tasks

    @property
    def all_seeds(self) -> list[int]:
        """Those that any entrant has, ascending."""
        return sorted(
            {seed for name in self.entrants for task in self.tasks_of(name) for seed in self.seeds_of(name, task)}
        )

    def trials(
        self,
        task: Collection[str] | None = None,
        entrant: Collection[str] | None = None,
        seeds: Collection[int] | None = None,
        device: str = "cpu",
    ) -> list[TrialSpec]:
        """The trials of the suite, or those of some tasks, entrants and seeds.

        A seed's trials come together, so that a run that is cut short has as many seeds of one cell as
        of another.
        """
        tasks = chosen(task, self.tasks, "task", self.name)
        entrants = chosen(entrant, self.entrants, "entrant", self.name)
        return [
            self._trial(one, name, seed, device)
            for seed in chosen(seeds, self.all_seeds, "seed", self.name)
            for one in tasks
            for name in entrants
            if one in self.tasks_of(name) and seed in self.seeds_of(name, one)
        ]

    def _trial(self, name: str, who: str, seed: int, device: str) -> TrialSpec:
        task, entrant = self.tasks[name], self.entrants[who]
        return TrialSpec(
            suite=self.name,
            task=name,
            entrant=who,
            seed=seed,
            env=task.env,
            options=task.options,
            action_repeat=task.action_repeat,
            budget=task.budget,
            evaluate=task.evaluate or self.evaluate,
            agent=entrant.agent,
            config={**entrant.config, **entrant.per_task.get(name, {})},
            known=entrant.known,
            score=task.score,
            metric=task.metric,
            threshold=task.threshold,
            curve=task.curve,
            device=device,
        )


def numbered(seeds: HowManySeeds) -> Seeds:
    """5 is 0, 1, 2, 3, 4; a list says which."""
    return seeds if isinstance(seeds, tuple) else tuple(range(seeds))


def chosen(wanted: Iterable[Chosen] | None, known: Iterable[Chosen], what: str, suite: str) -> list[Chosen]:
    """The known ones that are wanted, in the suite's order; all if nothing is said."""
    known = list(known)
    if wanted is None:
        return known
    wanted = list(wanted)
    for one in wanted:
        if one not in known:
            near = nearest(one, [str(name) for name in known]) if isinstance(one, str) else None
            hint = f"; did you mean {near}?" if near else ""
            raise ValueError(f"expected one of {suite}'s {what}s ({listed(map(str, known))}), found {one}{hint}")
    return [one for one in known if one in wanted]


def load_suite(name_or_path: str | Path) -> Suite:
    """The suite of that name in suites/, or of a reader's own .yaml file; raises SuiteError with all its faults.

    Imports neither agents nor environments and runs nothing of what the file names.
    """
    path = suite_path(name_or_path)
    document = read_document(path)
    declared = validated(SuiteFile, document)
    check_references(document)
    if declared is None or document.faults:
        raise SuiteError(sorted(document.faults, key=lambda fault: (fault.line, fault.col)))
    told = {name: getattr(declared, name) for name in SuiteFile.model_fields}
    return Suite(**{**told, "seeds": numbered(declared.seeds)}, name=path.stem, path=path)


def suite_path(name_or_path: str | Path) -> Path:
    """Where the suite's file is. Its name becomes a folder of results, so it has to be fit for one."""
    path = Path(name_or_path)
    is_path = isinstance(name_or_path, Path) or path.suffix in (".yaml", ".yml") or path.name != name_or_path
    if not is_path:
        names = [path.stem for path in shipped_suites()]
        if name_or_path not in names:
            message = f"expected a suite ({listed(names)}) or a path to a .yaml file, found {name_or_path!r}"
            suggestion = nearest(name_or_path, names)
            raise SuiteError([Fault(file=str(name_or_path), line=0, col=0, message=message, suggestion=suggestion)])
        path = FOLDER / f"{name_or_path}.yaml"
    if not re.fullmatch(NAME, path.stem) or path.suffix not in (".yaml", ".yml"):
        message = (
            "expected a file name of small letters, digits, -, _ and single dots that ends in .yaml, "
            f"found {path.name!r}"
        )
        raise SuiteError([Fault(file=str(path), line=0, col=0, message=message)])
    return path


def shipped_suites() -> list[Path]:
    """The suite files of this project, by name."""
    return sorted(FOLDER.glob("*.yaml"))


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a suite file, for editors and other tools."""
    from pydantic.json_schema import GenerateJsonSchema

    class Schema(GenerateJsonSchema):
        def field_title_should_be_set(self, schema: Any) -> bool:
            return False  # an editor shows the description; a key's name in capitals says nothing more

        def dict_schema(self, schema: Any) -> dict[str, Any]:
            made = super().dict_schema(schema)
            # pydantic states what a key that is a name leads to, but not that other keys are refused.
            return {**made, "additionalProperties": False} if "patternProperties" in made else made

    made = SuiteFile.model_json_schema(schema_generator=Schema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made, "title": "A suite of mbrl-bench"}


def schema_text() -> str:
    """The schema as it is committed in suites/suite.schema.json."""
    return json.dumps(json_schema(), indent=2) + "\n"
