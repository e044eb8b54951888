"""One trial: an agent, its environment, a budget; begun or resumed, it ends in a record."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from agents.protocol import Agent, BudgetSpent, HasWorldModel, Phase
from results import record
from suites.runner import checkpoint, model_quality
from suites.runner.evaluation import play, seed_globals, untouched_randomness
from suites.runner.gate import Gate
from suites.runner.header import header_of, refuse_other_trial
from suites.runner.losses import Losses
from suites.runner.phases import TrialDoor
from suites.runner.problem import agent_module, evaluation_env, problem_of
from suites.runner.simulators import Recipe
from suites.spec import TrialSpec


class Stop(BaseException):
    """Asked to stop; what was learned is saved."""


class Trial:
    """A trial under way: what stands between the agent and the record."""

    def __init__(
        self, spec: TrialSpec, results: Path, checkpoint_every: float, evaluate: bool = True, simulators: int = 0
    ) -> None:
        self.spec = spec
        self.results = results
        self.simulators = simulators
        self.path = record.record_path(results, spec.suite, spec.task, spec.entrant, spec.seed)
        self.work = record.work_folder(self.path)
        self.checkpoint_every = checkpoint_every
        self.evaluating_allowed = evaluate
        self.next_mark = 0
        self.reports = 0
        self.ticks = 0  # rises with every evaluation step; with steps and reports the sign of life
        self.saves = 0
        self.seconds_before = 0.0
        self.commits: list[str] = []
        self.stop = False
        self.phase = "starting"
        self.agents_phase: Phase | None = None
        self.began = time.monotonic()
        self.next_save = self.began + checkpoint_every
        self.losses = Losses(self.work, spec.budget)

    # -- from the start to the record ------------------------------------------------------------------------------

    def run(self) -> None:
        """Begin or resume, learn, evaluate, publish.

        Raises:
            Stop: after a save, where `stop` was set.
        """
        spec = self.spec
        self.env = evaluation_env(spec)
        module = agent_module(spec.agent)
        seed_globals(spec.seed)
        problem = problem_of(spec, self.env, self.work / "workspace")
        (self.work / "workspace").mkdir(exist_ok=True)
        self.agent: Agent = module.make(problem, spec.seed, **spec.config)
        self.gate = Gate(
            Recipe(spec.env, spec.options, spec.action_repeat),
            task=spec.task,
            seed=spec.seed,
            budget=spec.budget,
            log=lambda row: self.rows.write(row),
            simulators=self.simulators,
        )
        self._begin_or_resume()
        self.phase = "learning"
        with contextlib.suppress(BudgetSpent):
            self.agent.learn(TrialDoor(self.gate, spec, self.results, self.rows), self.report)
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

    def report(
        self, metrics: Mapping[str, float] | None = None, *, phase: Phase | None = None, unchanged: bool = False
    ) -> None:
        """What an agent calls where it may be evaluated, saved or stopped; see `agents.protocol.Report`."""
        self.reports += 1
        self.agents_phase = phase
        steps = self.gate.steps
        if metrics:
            self.losses.write(steps, metrics, phase)
        if steps >= self.next_mark and steps < self.gate.budget and not (unchanged and self.next_mark):
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
        spec, phase, steps = self.spec, self.phase, self.gate.steps
        recorder = model_quality.recorder(self.agent)
        self.phase = "final evaluation" if final else "evaluation"
        try:
            with untouched_randomness():
                real = play(
                    self.env,
                    self.agent.policy(spec.evaluate.policy),
                    task=spec.task,
                    seed=spec.seed,
                    episodes=episodes,
                    steps=steps,
                    tick=self._tick,
                    recorder=recorder,
                )
                beside = model_quality.rows(spec, self.agent, recorder, real, step=steps, final=final, tick=self._tick)
        except Stop:
            if not final:  # nothing of the evaluation is written: the save is of the moment before it
                self.save()
            raise
        evaluation = {"kind": "evaluation", "step": steps, "returns": real[0], "lengths": real[1], "final": final}
        for row in (evaluation, *beside):
            self.rows.write(row)
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
        self._keep_agent()
        self.rows.publish(self.path)
        checkpoint.clear(self.work)
        shutil.rmtree(self.work / "workspace", ignore_errors=True)
        self.gate.close()
        self.env.close()

    def _keep_agent(self) -> None:
        """Leave an agent that has a world model beside its record, so that its dreams can be looked at."""
        kept = self.work / "agent"
        shutil.rmtree(kept, ignore_errors=True)
        if isinstance(self.agent, HasWorldModel) and self.agent.world_model() is not None:
            kept.mkdir()
            self.agent.save(kept)

    def seconds(self) -> float:
        """Wall-clock time spent on this trial, earlier attempts included."""
        return self.seconds_before + time.monotonic() - self.began

    def signs_of_life(self) -> tuple[int, int, int, str, float | None]:
        """Steps, reports, ticks, the phase by name, and how far it is, where an agent has phases of its own."""
        gate = getattr(self, "gate", None)
        steps = gate.steps if gate else 0
        if self.agents_phase is None or self.phase != "learning":
            return steps, self.reports, self.ticks, self.phase, None
        name, done, total = self.agents_phase
        return steps, self.reports, self.ticks, name, round(done / total, 4) if total else None
