"""An agent that acts at random and, at one of its steps, does what trials die or hang of."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from agents.protocol import Door, Problem, Report
from baselines.uniform import Uniform
from baselines.uniform import make as make_uniform

ACTIONS = ("discrete", "continuous")
OBSERVATIONS = ("discrete", "vector", "image")


@dataclass(frozen=True, kw_only=True)
class Config:
    how: Literal["well", "crash", "sleep", "stop", "segfault", "memory", "bulk", "torch-bulk", "diverge"] = "well"
    at: int = 20  # step


class Misbehaving:
    updates = 0

    def __init__(self, inner: Uniform, config: Config) -> None:
        self.config, self.inner, self.policy = config, inner, inner.policy
        self.load = inner.load

    def learn(self, door: Door, report: Report) -> None:
        def reported(metrics: Any = None, **told: Any) -> None:
            now = door.steps == self.config.at
            report({"loss/model": np.nan} if now and self.config.how == "diverge" else metrics, **told)
            if now:
                self.misbehave()

        self.inner.learn(door, reported)

    def misbehave(self) -> None:
        print(f"about to {self.config.how}", flush=True)
        if self.config.how == "crash":
            raise RuntimeError("the dog ate my gradient")
        if self.config.how == "sleep":
            time.sleep(3600)
        if self.config.how == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        if self.config.how == "segfault":
            ctypes.string_at(0)
        if self.config.how == "memory":
            resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
            np.ones(2**30)

    def save(self, folder: Path) -> None:
        self.inner.save(folder)
        if self.config.how == "bulk":
            np.save(folder / "bulk.npy", np.zeros(40_000))
        if self.config.how == "torch-bulk":
            import torch

            torch.save({"bulk": torch.zeros(80_000)}, folder / "bulk.pt")


def make(problem: Problem, seed: int, **config: Any) -> Misbehaving:
    return Misbehaving(make_uniform(problem, seed), Config(**config))
