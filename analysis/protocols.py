"""Keeps unlike numbers apart: records of one task meet in a table only if they were made under one protocol."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from analysis.imported import beside, comparable, is_imported, mixed
from analysis.trials import Trial, spans
from suites.modules import Module, Unreadable, env_module, read_module
from suites.options import Options, of_config, of_make
from suites.spec import difference, protocol_hash

if TYPE_CHECKING:
    from suites.spec import Task


class UnlikeProtocols(Exception):
    """Records of one task that were made under different protocols; the message names every field that differs."""


def spoken(unlike: Iterable[tuple[str, Any, Any]]) -> str:
    """The fields that `suites.spec.difference` has found, on one line."""
    return "; ".join(f"{name}: {one!r} / {other!r}" for name, one, other in unlike)


def as_of_today(header: Mapping[str, Any]) -> Mapping[str, Any]:
    """The header of a record, with what its environment and its agent have got since; its protocol is hashed anew.

    An option that is added to an environment, or a setting to an agent, defaults to what was so before (CONTRIBUTING),
    so records from before and after compare.
    """
    header = {**header, "config": {**_defaults(header["agent"], of_config), **header["config"]}}
    protocol = header["protocol"]
    options = protocol.get("options")
    if options is None or header["protocol_hash"] != protocol_hash(protocol):
        return header
    since = _defaults(env_module(header["env"]), of_make)
    if since.keys() <= options.keys():
        return header
    protocol = {**protocol, "options": {**since, **options}}
    return {**header, "protocol": protocol, "protocol_hash": protocol_hash(protocol)}


@cache
def _defaults(name: str, read: Callable[[Module], Options]) -> Mapping[str, Any]:
    try:
        module = read_module(name)
    except Unreadable:
        module = None
    return read(module).defaults if module else {}


def parted(trials: Sequence[Trial], *fields: str) -> Iterator[tuple[str, str, list[tuple[str, Any, Any]]]]:
    """Where trials differ in these fields of their headers: the seeds like the first, the others, in what they differ.

    Once for all seeds that differ alike.
    """
    groups: list[tuple[Mapping[str, Any], list[int]]] = []
    for trial in trials:
        told = {name: trial.header[name] for name in fields}
        for known, seeds in groups:
            if not difference(known, told):
                seeds.append(trial.seed)
                break
        else:
            groups.append((told, [trial.seed]))
    for unlike, seeds in groups[1:]:
        yield spans(groups[0][1]), spans(seeds), difference(groups[0][0], unlike)


def refuse_unlike(task: str, trials: Sequence[Trial]) -> None:
    """Raise UnlikeProtocols unless all trials of the task carry one protocol hash.

    Imported ones may stand beside them, for they are marked wherever they are shown, unless something that is known
    of them differs; and not under the name of an entrant that has native records.
    """
    groups: dict[str, dict[str, list[Trial]]] = defaultdict(lambda: defaultdict(list))
    for trial in sorted(trials, key=is_imported):
        groups[trial.header["protocol_hash"]][trial.entrant].append(trial)
    first: Mapping[str, Any] | None = None
    facts: dict[str, Any] = {}
    lines: list[str] = []
    unlike = 0
    for digest, entrants in groups.items():
        one = next(iter(entrants.values()))[0]
        protocol = one.header["protocol"]
        differing = beside(facts, protocol) if is_imported(one) else difference(first or protocol, protocol)
        if first is None or differing or not is_imported(one):
            unlike += 1
            who = "; ".join(
                f"{entrant} (seed{'s' if len(of) > 1 else ''} {spans([trial.seed for trial in of])})"
                for entrant, of in entrants.items()
            )
            lines.append(f"  {digest}: {who}")
            lines += [f"    {name}: {one!r} above, {other!r} here" for name, one, other in differing]
        first = protocol if first is None else first
        facts = {**comparable(protocol), **facts}
    if unlike > 1:
        remedy = "Run one side anew under the other's protocol, or pick tasks with --task."
        if any(map(is_imported, trials)):
            remedy += " What is known of imported runs is told when they are imported: --budget, --action-repeat."
        lines = [
            f"{task}: expected records of one protocol, found {unlike}:",
            *lines,
            f"Such numbers don't compare. {remedy}",
        ]
        raise UnlikeProtocols("\n".join(lines))
    if both := mixed(trials):
        raise UnlikeProtocols(
            f"{task}: expected an entrant's records to be either native or imported, found both of "
            f"{', '.join(both)}. Import the others under a name of their own, with --entrant."
        )


def refuse_undeclared(task: str, declared: Task, trials: Sequence[Trial]) -> None:
    """Raise UnlikeProtocols where imported runs stand alone and what is known of them is not what the suite declares.

    Beside native records they are held against these; alone they would be shown under the suite's budget.
    """
    if not trials or not all(map(is_imported, trials)):
        return
    facts = {"budget": declared.budget}  # frames per step would take the environment's own card
    unlike: dict[str, list[str]] = defaultdict(list)
    for trial in trials:
        for name, ours, theirs in beside(facts, trial.header["protocol"]):
            unlike[f"    {name}: {ours!r} declared, {theirs!r} imported"].append(f"{trial.entrant}/{trial.seed}")
    if unlike:
        lines = [f"{line} ({', '.join(of)})" for line, of in unlike.items()]
        remedy = (
            "Such numbers are none of this task. Import the runs into another suite (--suite), or say what was run if "
            "it was told wrong (--budget), or pick tasks with --task."
        )
        head = f"{task}: expected imported runs of what the suite declares, found:"
        raise UnlikeProtocols("\n".join([head, *lines, remedy]))
