"""Runs a trial in a new process that dies where it is told to; what the agent has become is digested.

``python -m tests.trial_process`` waits for jobs, one JSON object per line, and forks a process for each: the fork of
a parent that has imported much and done nothing is as new as a started one, and is there in 0.03 s instead of 3 s.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PRELOADED = ("torch", "cma", "stable_baselines3", "gymnasium.envs.mujoco.mujoco_env", "cv2", "pygame", "Box2D",
             "ale_py", "vizdoom", "suites.runner.trial", "baselines.sb3", "agents.parts.dynamics")  # fmt: skip
PATIENCE = 120  # seconds after which a trial of the contract has hung
ROOT = Path(__file__).resolve().parents[1]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ended:
    """How a trial's process ended: 0, or minus the signal. ``found`` is what it had to tell."""

    code: int
    found: dict[str, Any]


class Server:
    """The parent that new processes are forked from."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.trial_process"],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "MUJOCO_GL": "egl", "SDL_VIDEODRIVER": "dummy"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, trial: Any, results: Path, **settings: Any) -> Ended:
        """Run ``trial`` to its end, or to the point ``kill`` at or after step ``at``; see `Job`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        results.mkdir(parents=True, exist_ok=True)
        job = Job(trial=trial.model_dump(mode="json"), results=str(results), **settings)
        print(json.dumps(dataclasses.asdict(job)), file=self._process.stdin, flush=True)
        code = int(self._process.stdout.readline())
        told = results / "told.json"
        found = json.loads(told.read_text()) if told.exists() else {}
        assert code in (0, -signal.SIGKILL), f"exit {code}: " + (results / "log.txt").read_text()
        return Ended(code=code, found=found)

    def close(self) -> None:
        self._process.communicate()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    trial: dict[str, Any]
    results: str
    evaluate: bool = True
    save_every: int = 0  # reports; 0: never
    kill: str | None = None  # one of the points that `install` knows
    at: int = 0  # steps


def preload() -> None:
    """Import what every new process would import; the first optimiser brings in a second's worth of modules."""
    for name in PRELOADED:
        importlib.import_module(name)
    import torch

    torch.set_num_threads(1)
    torch.optim.Adam([torch.zeros(1, requires_grad=True)])


def serve() -> None:
    preload()
    answers = os.fdopen(os.dup(1), "w")  # the simulators may print what they like
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            os._exit(run(Job(**json.loads(line))))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), file=answers, flush=True)


def run(job: Job) -> int:
    signal.alarm(PATIENCE)
    results = Path(job.results)
    with (results / "log.txt").open("w") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    (results / "tmp").mkdir(exist_ok=True)
    tempfile.tempdir = str(results / "tmp")
    try:
        _run(job, results)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def _run(job: Job, results: Path) -> None:
    import torch

    from results.record import record_path, work_folder
    from suites.runner.trial import Trial
    from suites.spec import TrialSpec

    random.seed(os.getpid())  # what the generators were before must not matter
    torch.manual_seed(os.getpid())
    spec = TrialSpec.model_validate(job.trial)
    work = work_folder(record_path(results, spec.suite, spec.task, spec.entrant, spec.seed))
    work.mkdir(parents=True, exist_ok=True)  # as the sweep does
    trial = Trial(spec, results, checkpoint_every=float("inf"), evaluate=job.evaluate)
    os.chdir(trial.work)
    save_at_reports(trial, job.save_every)
    steps = count_steps(trial)
    if job.kill is not None:
        install(job.kill, job.at, trial, results)
    trial.run()
    tell(results, digests=dict(digest("agent", trial.agent, set())), training_steps=steps())


def tell(results: Path, **found: Any) -> None:
    (results / "told.json").write_text(json.dumps(found))


def save_at_reports(trial: Any, every: int) -> None:
    """Save at the first report and at each ``every``-th one after it, whatever the clock says."""
    report = trial.report

    def reported(metrics: Any = None, **told: Any) -> None:
        if every and trial.reports % every == 0:
            trial.next_save = 0.0
        report(metrics, **told)
        trial.next_save = float("inf")

    trial.report = reported


def count_steps(trial: Any) -> Any:
    """Counts at the simulators themselves, beside the gate: the steps of all environments but the evaluation's."""
    import suites.envs

    module: Any = suites.envs
    build, counters = module.build, []

    def counted(*args: Any) -> Any:
        env = build(*args)
        step, taken = env.step, [0]
        counters.append(taken)

        def stepped(action: Any) -> Any:
            taken[0] += 1
            return step(action)

        env.step = stepped
        return env

    module.build = counted  # the trial builds the evaluation's first
    return lambda: sum(taken[0] for taken in counters[1:])


def install(point: str, at: int, trial: Any, results: Path) -> None:
    """Make this process die without warning at ``point``, at or after step ``at``."""
    import suites.runner.checkpoint
    from results.record import Writer
    from suites.runner.gate import GatedEnv

    gated: Any = GatedEnv
    writers: Any = Writer
    saves: Any = suites.runner.checkpoint

    def die() -> None:
        tell(results, died_at=trial.gate.steps)
        os.kill(os.getpid(), signal.SIGKILL)

    step, write, save = gated.step, writers.write, saves.write

    def first_step(env: Any, action: Any) -> Any:
        die()

    def mid_episode(env: Any, action: Any) -> Any:
        found = step(env, action)
        if trial.gate.steps >= at and not (found[2] or found[3]):
            die()
        return found

    def last_step(env: Any, action: Any) -> Any:
        found = step(env, action)
        if trial.gate.steps == trial.gate.budget:
            die()
        return found

    def episode_end(writer: Any, row: Any) -> None:
        write(writer, row)
        if row["kind"] == "episode" and row["step"] >= at:
            die()

    def while_saving(work: Path, number: int, state: Any, rows: bytes, save_agent: Any) -> None:
        def half(folder: Path) -> None:
            save_agent(folder)
            if trial.gate.steps >= at:
                die()

        save(work, number, state, rows, half)

    def final_evaluation() -> None:
        if trial.phase == "final evaluation":
            die()

    if point in ("first step", "mid-episode", "last step"):
        gated.step = {"first step": first_step, "mid-episode": mid_episode, "last step": last_step}[point]
    elif point == "episode end":
        writers.write = episode_end
    elif point == "while saving":
        saves.write = while_saving
    elif point == "final evaluation":
        trial._tick = final_evaluation
    else:
        raise ValueError(point)


OURS = ("agents", "baselines", "stable_baselines3", "tests")
ELSEWHERE = {
    "start_time": "a clock",
    "_num_timesteps_at_start": "the steps before this process began",
    "_last_original_obs": "read by off-policy methods only, and their observations are not normalised",
    "_door_env": "what the gate restores, and the generator of the action space, which the agent saves",
    "env": "the same",
    "_env": "the same",
    "_logger": "says, does not learn",
    "_custom_logger": "the same",
    "gradient": "written anew before each use",
    "gradients": "the same",
    "weight_slopes": "the same",
    "bias_slopes": "the same",
    "bounds_slope": "the same",
    "log_temperature_slope": "the same",
    "alike": "what an optimiser steps through: the same, and moments and weights, compared by their own names",
    "rollout.columns": "the same, beyond what is stored; what is stored decides what is learnt next, which is compared",
    "buffers": "the same",
    "room": "how large these are",
    "_folded": "made of weights that are compared, when it is needed",
    "imagination": "the same",
}


def digest(name: str, value: Any, seen: set[int]) -> Iterator[tuple[str, str]]:
    """(place, digest) of every weight, optimiser's moment, table, counter and generator that ``value`` holds."""
    import numpy as np
    import torch

    if isinstance(value, torch.Generator):
        value = value.get_state()
    if isinstance(value, random.Random):
        value = value.getstate()
    if isinstance(value, np.random.Generator):
        value = value.bit_generator.state
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        yield name, hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()[:16] + str(value.shape)
    elif value is None or isinstance(value, bool | int | float | str | bytes | np.generic):
        yield name, repr(value)
    elif id(value) in seen:
        return
    else:
        seen.add(id(value))
        if isinstance(value, torch.nn.Module | torch.optim.Optimizer):
            value = value.state_dict()
        if isinstance(value, dict):
            for key, item in value.items():
                yield from digest(f"{name}.{key}", item, seen)
        elif isinstance(value, list | tuple):
            plain = repr(value) if all(isinstance(item, int | float | str) for item in value) else None
            if plain is not None:
                yield name, hashlib.sha256(plain.encode()).hexdigest()[:16]
            else:
                for index, item in enumerate(value):
                    yield from digest(f"{name}[{index}]", item, seen)
        elif type(value).__module__.partition(".")[0] in OURS and hasattr(value, "__dict__"):
            for key, item in vars(value).items():
                if key not in ELSEWHERE and f"{name.rpartition('.')[2]}.{key}" not in ELSEWHERE:
                    yield from digest(f"{name}.{key}", item, seen)


if __name__ == "__main__":
    serve()
