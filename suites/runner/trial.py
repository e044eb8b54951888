"""One trial: an agent, its environment, a budget; begun or resumed, it ends in a record."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from agents.protocol import Agent, BudgetSpent, Problem
from results import record
from suites import envs
from suites.runner import checkpoint
from suites.runner.evaluation import play, seed_globals, untouched_randomness
from suites.runner.gate import Gate
from suites.runner.header import header_of, refuse_other_trial
from suites.spec import TrialSpec

LOSS_ROWS = 500  # rows of losses that a trial writes, at most


class Stop(BaseException):
    """Asked to stop; what was learned is saved."""


class Trial:
    """A trial under way: what stands between the agent and the record."""

    def __init__(self, spec: TrialSpec, results: Path, checkpoint_every: float, evaluate: bool = True) -> None:
        self.spec = spec
        self.path = record.record_path(results, spec.suite, spec.task, spec.entrant, spec.seed)
        self.work = record.work_folder(self.path)
        self.checkpoint_every = checkpoint_every
        self.evaluating_allowed = evaluate
        self.next_mark = 0
        self.next_losses = 0
        self.reports = 0
        self.ticks = 0  # rises with every evaluation step; with steps and reports the sign of life
        self.saves = 0
        self.seconds_before = 0.0
        self.commits: list[str] = []
        self.stop = False
        self.phase = "starting"
        self.began = time.monotonic()
        self.next_save = self.began + checkpoint_every
        self._losses = (self.work / "losses.jsonl").open("a", buffering=1)

    # -- from the start to the record ------------------------------------------------------------------------------

    def run(self) -> None:
        """Begin or resume, learn, evaluate, publish.

        Raises:
            Stop: after a save, where `stop` was set.
        """
        spec = self.spec
        self.env = envs.build(spec.env, spec.options, spec.action_repeat)
        family = envs.module(spec.env)
        module = _agent_module(spec.agent)
        seed_globals(spec.seed)
        problem = Problem(
            observation_space=self.env.observation_space,
            action_space=self.env.action_space,
            budget=spec.budget,
            family=getattr(family, "FAMILY", "vector"),
            env_id=family.card(**spec.options)["env_id"],
            device=spec.device,
            known=_granted(spec, family),
        )
        self.agent: Agent = module.make(problem, spec.seed, **spec.config)
        self.gate = Gate(
            lambda: envs.build(spec.env, spec.options, spec.action_repeat),
            task=spec.task,
            seed=spec.seed,
            budget=spec.budget,
            log=lambda row: self.rows.write(row),
        )
        self._begin_or_resume()
        self.phase = "learning"
        with contextlib.suppress(BudgetSpent):
            self.agent.learn(self.gate, self.report)
        self.phase = "final evaluation"
        self._evaluate(spec.evaluate.final_episodes, final=True)
        self._finish()

    def _begin_or_resume(self) -> None:
        header = header_of(self.spec, self.agent)
        saved = checkpoint.newest(self.work)
        if saved is None:
            already = record.encode(header)
        else:
            already = saved.record()
            refuse_other_trial(json.loads(already.split(b"\n", 1)[0]), header, self.work)
            state = saved.state()
            self.gate.restore(state["gate"])
            self.next_mark, self.saves = state["next_mark"], state["saves"]
            self.seconds_before, self.commits = state["seconds"], state["commits"]
            self.agent.load(saved.agent)
        if header["commit"] not in self.commits:
            self.commits.append(header["commit"])
        for left in self.work.glob("rows-*.jsonl"):
            left.unlink()
        self.rows = record.Writer(self.work / f"rows-{os.getpid()}.jsonl", already)

    # -- the report: evaluate, save, stop --------------------------------------------------------------------------

    def report(self, metrics: Mapping[str, float] | None = None) -> None:
        """What an agent calls where it may be evaluated, saved or stopped; see `agents.protocol.Report`."""
        self.reports += 1
        steps = self.gate.steps
        if metrics and steps >= self.next_losses:
            self._losses.write(json.dumps({"step": steps, **metrics}, default=float) + "\n")
            self.next_losses = steps + max(1, self.gate.budget // LOSS_ROWS)
        if steps >= self.next_mark and steps < self.gate.budget:
            self._evaluate(self.spec.evaluate.episodes, final=False)
            every = self.spec.evaluate.every
            self.next_mark = (steps // every + 1) * every
        if self.stop:
            self.save()
            raise Stop
        if time.monotonic() >= self.next_save:
            self.save()

    def save(self) -> None:
        """Write a checkpoint; the next one comes when this one's cost is below 2 % of the time between."""
        began = time.monotonic()
        state = {
            "gate": self.gate.state(),
            "next_mark": self.next_mark,
            "saves": self.saves + 1,
            "seconds": self.seconds(),
            "commits": self.commits,
        }
        checkpoint.write(self.work, self.saves + 1, state, self.rows.content(), self.agent.save)
        self.saves += 1
        cost = time.monotonic() - began
        self.next_save = time.monotonic() + (max(self.checkpoint_every, 50 * cost) if self.checkpoint_every else 0.0)

    def _evaluate(self, episodes: int, final: bool) -> None:
        if not self.evaluating_allowed or episodes == 0:
            return
        spec, phase = self.spec, self.phase
        self.phase = "final evaluation" if final else "evaluation"
        try:
            with untouched_randomness():
                returns, lengths = play(
                    self.env,
                    self.agent.policy(spec.evaluate.policy),
                    task=spec.task,
                    seed=spec.seed,
                    episodes=episodes,
                    steps=self.gate.steps,
                    tick=self._tick,
                )
        except Stop:
            if not final:  # nothing of the evaluation is written: the save is of the moment before it
                self.save()
            raise
        self.rows.write(
            {"kind": "evaluation", "step": self.gate.steps, "returns": returns, "lengths": lengths, "final": final}
        )
        self.rows.flush()
        self.phase = phase

    def _tick(self) -> None:
        self.ticks += 1
        if self.stop:
            raise Stop

    def _finish(self) -> None:
        end = {
            "kind": "end",
            "step": self.gate.steps,
            "updates": self.agent.updates,
            "seconds": round(self.seconds(), 1),
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            "commits": self.commits,
        }
        self.rows.write(end)
        self.rows.publish(self.path)
        checkpoint.clear(self.work)
        self.gate.close()
        self.env.close()

    def seconds(self) -> float:
        """Wall-clock time spent on this trial, earlier attempts included."""
        return self.seconds_before + time.monotonic() - self.began

    def signs_of_life(self) -> tuple[int, int, int, str]:
        gate = getattr(self, "gate", None)
        return gate.steps if gate else 0, self.reports, self.ticks, self.phase


def _agent_module(name: str) -> ModuleType:
    module = importlib.import_module(name)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    return module


def _granted(spec: TrialSpec, family: ModuleType) -> dict[str, Any]:
    if not spec.known:
        return {}
    offered = family.known(**spec.options) if hasattr(family, "known") else {}
    missing = sorted(set(spec.known) - set(offered))
    if missing:
        raise ValueError(
            f"{spec.env} with options {spec.options} offers the known functions {sorted(offered)}, "
            f"but {spec.entrant} is to be given {missing}: take it out of `known` in the suite file."
        )
    return {name: offered[name] for name in spec.known}
