"""Holds a document's names against what they name: tasks, entrants, modules, options and settings."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from suites import options
from suites.declared import MODULE
from suites.document import Document, Loc
from suites.faults import listed, nearest, quoted
from suites.modules import Module, Unreadable, env_module, nearest_agent, nearest_env, read_module

# Works on the data as it was read, not on the validated model, so that these faults are shown together with
# those of shape. Whatever has not the shape that it should have is passed over here: its fault is known.


def check_references(document: Document) -> None:
    tasks, entrants = mapping(document, ("tasks",)), mapping(document, ("entrants",))
    offer_known = {name: check_task(document, name) for name in tasks}
    for name in entrants:
        check_entrant(document, name, tasks, offer_known)
    for index, claim in enumerate(sequence(document, ("claims",))):
        if isinstance(claim, dict):
            check_claim(document, ("claims", index), claim, tasks, entrants)


def check_task(document: Document, name: str) -> bool:
    """Checks a task's environment and its options; whether it may have known functions to grant."""
    loc: Loc = ("tasks", name)
    env = document.get((*loc, "env"))
    if not is_name(env):
        return True
    module = maker(document, (*loc, "env"), env_module(env), env, "an environment", lambda: nearest_env(env))
    if module is None:
        return True
    given = document.get((*loc, "options"))
    check_options(document, (*loc, "options"), given, options.of_make(module), f"an option of {env}", loc)
    return module.offers("known")


def check_entrant(document: Document, name: str, tasks: dict[str, Any], offer_known: dict[str, bool]) -> None:
    loc: Loc = ("entrants", name)
    entrant = mapping(document, loc)
    met = tasks_met(document, name, tasks)
    for index, task in enumerate(sequence(document, (*loc, "tasks"))):
        check_name(document, (*loc, "tasks", index), task, tasks, "a task of this suite")
    for place in [
        (*loc, key, task) for key in ("per_task", "seeds_per_task") for task in mapping(document, (*loc, key))
    ]:
        task = place[-1]
        if check_name(document, place, task, tasks, "a task of this suite", key=True) and task not in met:
            message = f"expected a task that {name} meets ({listed(met)}), found {quoted(task)}"
            document.fault(document.key_place(place), message)
    for task in met if sequence(document, (*loc, "known")) else []:
        if not offer_known.get(task, True):
            found = f"found {document.get(('tasks', task, 'env'))}, which has none"
            message = f"expected an environment with known functions in the task {task}, {found}"
            document.fault(document.place((*loc, "known")), message)
    agent = str(entrant.get("agent"))
    if not is_name(entrant.get("agent")):
        return
    module = maker(document, (*loc, "agent"), agent, agent, "an agent", lambda: nearest_agent(agent))
    if module is None:
        return
    settings, what = options.of_config(module), f"a setting of {agent}"
    config = mapping(document, (*loc, "config"))
    check_options(document, (*loc, "config"), entrant.get("config"), settings, what, loc, complete=False)
    for task in mapping(document, (*loc, "per_task")):
        place = (*loc, "per_task", task)
        check_options(document, place, document.get(place), settings, what, loc, complete=False)
    for task in met:
        given = config.keys() | mapping(document, (*loc, "per_task", task)).keys()
        missing = [key for key, option in settings.named.items() if option.required and key not in given]
        for key in missing:
            document.fault(document.key_place(loc), f"expected {what}, {key!r}, for the task {task}, found none")


def check_claim(
    document: Document, loc: Loc, claim: dict[str, Any], tasks: dict[str, Any], entrants: dict[str, Any]
) -> None:
    task = claim.get("task")
    check_name(document, (*loc, "task"), task, tasks, "a task of this suite")
    measure = claim.get("measure")
    if measure in ("steps", "episodes") and isinstance(told := tasks.get(str(task)), dict) and "threshold" not in told:
        message = f"expected a `threshold` in the task {task} for a claim on {measure}, found none"
        document.fault(document.place((*loc, "measure")), message)
    others = sequence(document, (*loc, "entrants"))
    named: list[tuple[Loc, Any]] = [((*loc, "entrant"), claim.get("entrant"))]
    named += [((*loc, "entrants", index), other) for index, other in enumerate(others)]
    for place, entrant in named:
        if not check_name(document, place, entrant, entrants, "an entrant of this suite"):
            continue
        met = tasks_met(document, entrant, tasks)
        if isinstance(task, str) and task in tasks and task not in met:
            message = f"expected an entrant that meets the task {task}, found {entrant}, which meets {listed(met)}"
            document.fault(document.place(place), message)


def tasks_met(document: Document, entrant: str, tasks: dict[str, Any]) -> list[str]:
    """The tasks that an entrant meets: those it lists, or all where it lists none or one that isn't there."""
    said = sequence(document, ("entrants", entrant, "tasks"))
    known = all(isinstance(task, str) and task in tasks for task in said)
    return said if said and known else list(tasks)


def check_name(document: Document, loc: Loc, name: Any, known: dict[str, Any], what: str, *, key: bool = False) -> bool:
    """Whether ``name`` is one of the known; adds a fault if it is a name and there are any known at all."""
    if not isinstance(name, str) or not known or document.is_broken(loc):
        return False
    if name in known:
        return True
    place = document.key_place(loc) if key else document.place(loc)
    document.fault(place, f"expected {what} ({listed(known)}), found {quoted(name)}", nearest(name, known))
    return False


def maker(
    document: Document, loc: Loc, path: str, name: str, what: str, near: Callable[[], str | None]
) -> Module | None:
    """The module at ``path``, which must offer `make`; else None, and a fault."""
    place = document.place(loc)
    try:
        module = read_module(path)
    except Unreadable as error:
        document.fault(place, f"expected {what} that is Python source, found a fault in it: {error}")
        return None
    if module is None:
        remedy = "one of your own has to be on PYTHONPATH"
        message = f"expected {what}: a module that can be imported, found no module {quoted(path)} ({remedy})"
        document.fault(place, message, near())
    elif not module.offers("make"):
        document.fault(
            place,
            f"expected {what}: a module with a function `make`, found none in {name}",
            None if "." in name else near(),
        )
        return None
    return module


def check_options(
    document: Document, loc: Loc, given: Any, known: options.Options, what: str, owner: Loc, complete: bool = True
) -> None:
    """Checks the keys and values of ``given`` against the options that something takes."""
    given = given if isinstance(given, dict) else {}
    meant = set()
    for key, value in given.items():
        place = (*loc, key)
        option = known.named.get(key)
        if document.is_broken(place):
            continue
        if option is None:
            if not known.open:
                suggestion = nearest(key, [name for name in known.named if name not in given])
                meant.add(suggestion)
                message = f"expected {what} ({listed(known.named)}), found {quoted(key)}"
                document.fault(document.key_place(place), message, suggestion)
        elif not option.accepts(value):
            message = f"expected {option.expected} for {key}, {what}, found {quoted(value)}"
            document.fault(document.place(place), message, meant_value(value, option))
    for key, option in known.named.items() if complete else ():
        if option.required and key not in given and key not in meant:
            document.fault(document.key_place(owner), f"expected {what}, {key!r}, found none")


def meant_value(value: Any, option: options.Option) -> str | None:
    if isinstance(value, float) and value.is_integer() and option.accepts(int(value)):
        return str(int(value))
    if isinstance(value, str) and (found := nearest(value, [str(choice) for choice in option.literals])):
        return found
    return None


def is_name(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(MODULE, value) is not None


def mapping(document: Document, loc: Loc) -> dict[str, Any]:
    found = document.get(loc)
    return found if isinstance(found, dict) else {}


def sequence(document: Document, loc: Loc) -> list[Any]:
    found = document.get(loc)
    return found if isinstance(found, list) else []
