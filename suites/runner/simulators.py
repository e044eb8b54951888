"""Environments in processes of their own, stepped all at once; the gate in the parent seeds and counts as always."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from suites import envs

PATIENCE = 5.0  # seconds that a process has to close its environments before it is killed
PR_SET_PDEATHSIG = 1  # Linux, sys/prctl.h


class Recipe(NamedTuple):
    """How an environment is made, in words that another process understands; see `suites.envs.build`."""

    env: str
    options: Mapping[str, Any]
    action_repeat: int = 1

    def __call__(self) -> gym.Env[Any, Any]:
        return envs.build(self.env, self.options, self.action_repeat)


class SimulatorError(RuntimeError):
    """An environment in another process failed, or its process died. Names the environment and says what happened."""


def play(
    env: gym.Env[Any, Any], seed: int, steps: int, actions: Iterable[Any] = ()
) -> tuple[Any, dict[str, Any], float]:
    """Begin the episode of ``seed`` and do ``actions`` in it: the last observation and info, and the return so far.

    ``steps``: the trial's steps before the episode, for environments that change in its course.
    """
    obs, info = env.reset(seed=seed, options={"steps": steps})
    return_ = 0.0
    for action in actions:
        obs, reward, _, _, info = env.step(action)
        return_ += float(reward)
    return obs, info, return_


class RemoteEnv:
    """Stands in for an environment in another process. What `fetch` got for it beforehand it gives out at once."""

    observation_space: gym.Space[Any]
    action_space: gym.Space[Any]
    metadata: dict[str, Any]

    def __init__(self, simulators: Simulators, process: Process, key: int) -> None:
        self.simulators = simulators
        self.process = process
        self.key = key
        self.answer: Any = None

    def play(self, seed: int, steps: int, actions: Sequence[Any] = ()) -> tuple[Any, dict[str, Any], float]:
        """See `play`."""
        played: tuple[Any, dict[str, Any], float] = self._ask("play", seed, steps, actions)
        return played

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """As `gymnasium.Env.step`."""
        stepped: tuple[Any, float, bool, bool, dict[str, Any]] = self._ask("step", action)
        return stepped

    def close(self) -> None:
        if not self.simulators.closed:
            self._ask("close")

    def _ask(self, *call: Any) -> Any:
        if self.answer is None:
            fetch({self: call})
        answer, self.answer = self.answer, None
        return answer


def fetch(calls: Mapping[RemoteEnv, tuple[Any, ...]]) -> None:
    """Have environments do something, those of different processes at once; each keeps the answer until it is asked.

    Raises:
        SimulatorError: one failed or died. All processes are ended, for they no longer are in step.
    """
    told: dict[Process, list[RemoteEnv]] = {}
    for env in calls:
        if env.simulators.closed:
            raise SimulatorError(f"expected simulators of {env.process.name} at work, found them closed")
        told.setdefault(env.process, []).append(env)
    try:
        for process, asked in told.items():
            process.send([(env.key, *calls[env]) for env in asked])
        for process, asked in told.items():
            for env, answer in zip(asked, process.receive(), strict=True):
                env.answer = answer
    except BaseException:
        next(iter(calls)).simulators.close()
        raise


class Simulators:
    """The processes of one gate, each started when it is first needed.

    On Linux they end with the thread that starts them, whatever becomes of the rest: let that be the main thread.
    """

    def __init__(self, recipe: Recipe, count: int) -> None:
        self.closed = False
        self._recipe = recipe
        self._count = count
        self._processes: list[Process] = []
        self._opened = 0

    def open(self, number: int) -> list[RemoteEnv]:
        """Make ``number`` environments, the i-th in process i modulo their count."""
        while len(self._processes) < min(self._count, number):
            self._processes.append(Process(self._recipe, len(self._processes)))
        opened = [RemoteEnv(self, self._processes[i % self._count], self._opened + i) for i in range(number)]
        self._opened += number
        fetch(dict.fromkeys(opened, ("open",)))
        for env in opened:
            (env.observation_space, env.action_space, env.metadata), env.answer = env.answer, None
        return opened

    def close(self) -> None:
        """End all processes, and wait until they have closed what they held."""
        self.closed = True
        for process in self._processes:
            process.connection.close()
        for process in self._processes:
            process.end()


class Process:
    """A child that holds environments, and the pipe to it."""

    def __init__(self, recipe: Recipe, number: int) -> None:
        from suites.runner.job import environment

        self.name = recipe.env
        self.number = number
        self.connection, theirs = Pipe()
        # A clean start and no fork: this process may hold threads, and the child needs nothing of what it holds.
        self._child = subprocess.Popen(
            [sys.executable, "-P", "-m", "suites.runner.simulators", str(theirs.fileno()), str(os.getpid())],
            env=environment(),
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()  # now the child's end alone is left: the pipe ends when one of the two does
        self.send((recipe.env, dict(recipe.options), recipe.action_repeat))

    def send(self, message: Any) -> None:
        try:
            self.connection.send(message)
        except ConnectionError as error:
            raise SimulatorError(self._obituary()) from error

    def receive(self) -> list[Any]:
        try:
            first, rest, failure = self.connection.recv()
        except (EOFError, OSError) as error:
            raise SimulatorError(self._obituary()) from error
        if failure is not None:
            raise SimulatorError(f"the environment {self.name} failed in simulator process {self.number}:\n{failure}")
        return rest if first is None else [(one, *others) for one, others in zip(first, rest, strict=True)]

    def _obituary(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(PATIENCE)
        code = self._child.poll() or 0
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return f"expected an answer from simulator process {self.number} ({self.name}), found it gone: {how}"

    def end(self) -> None:
        try:
            self._child.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()


# -- in the child ------------------------------------------------------------------------------------------------------


def serve(connection: Connection) -> None:
    """Do as told until the other end is gone."""
    recipe = Recipe(*connection.recv())
    held: dict[int, gym.Env[Any, Any]] = {}
    try:
        while True:
            calls = connection.recv()
            try:
                connection.send((*_packed([_do(recipe, held, *call) for call in calls]), None))
            except Exception:
                connection.send((None, None, traceback.format_exc()))
    finally:
        for env in held.values():
            env.close()


def _do(recipe: Recipe, held: dict[int, gym.Env[Any, Any]], key: int, verb: str, *args: Any) -> tuple[Any, ...]:
    if verb == "open":
        env = held[key] = recipe()
        return env.observation_space, env.action_space, env.metadata
    if verb == "close":
        held.pop(key).close()
        return (None,)
    return held[key].step(*args) if verb == "step" else play(held[key], *args)


def _packed(answers: list[tuple[Any, ...]]) -> tuple[Any, list[Any]]:
    """The observations as one array, if they are of one kind, and what else was answered: quicker than one by one."""
    first = [answer[0] for answer in answers]
    kinds = {(one.dtype, one.shape) if type(one) is np.ndarray else None for one in first}
    if len(kinds) > 1 or None in kinds or first[0].ndim == 0:
        return None, answers
    return np.stack(first), [answer[1:] for answer in answers]


def main(descriptor: int, parent: int) -> None:
    """Hold environments for ``parent`` and go when it goes, however it does."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)  # meant for the parent, which saves before it stops
    if os.getppid() == parent:
        with contextlib.suppress(EOFError, ConnectionError):
            serve(Connection(descriptor))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
