"""Digests of how each environment answers a fixed action sequence, and the committed ones to compare with.

``python -m tests.fingerprints --write`` takes all of them anew and writes ``tests/fingerprints.json``;
``python -m tests.fingerprints NAME ...`` prints the digests of these cases as one JSON object.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from suites.envs import build, module

GOLDEN = Path(__file__).with_suffix(".json")
SEED = 0


@dataclass(frozen=True, kw_only=True)
class Case:
    """One environment with one set of options."""

    name: str
    env: str  # the module under suites.envs
    options: Mapping[str, Any] = field(default_factory=dict)
    steps: int = 1000


CASES = [
    Case(name="maze-dyna", env="maze"),
    Case(name="maze-blocking", env="maze", options={"name": "blocking", "change_at": 300, "time_limit": 150}),
    Case(name="maze-shortcut", env="maze", options={"name": "shortcut", "change_at": 300, "time_limit": 150}),
    Case(name="exam", env="exam"),
    Case(name="cartpole", env="classic", options={"id": "CartPole-v1"}),
    Case(name="pendulum", env="classic", options={"id": "Pendulum-v1"}),
    Case(name="mountain-car", env="classic", options={"id": "MountainCarContinuous-v0"}),
    Case(name="acrobot", env="classic", options={"id": "Acrobot-v1"}),
    Case(name="hopper", env="mujoco", options={"id": "Hopper-v5"}),
    Case(name="half-cheetah", env="mujoco", options={"id": "HalfCheetah-v5"}),
    Case(name="half-cheetah-x", env="mujoco", options={"id": "HalfCheetah-v5", "x_in_obs": True}),
    Case(name="swimmer-velocity", env="mujoco_velocity", options={"id": "Swimmer-v5"}),
    Case(name="pusher", env="mujoco", options={"id": "Pusher-v5"}),
    Case(name="ant-short", env="mujoco", options={"id": "Ant-v5", "truncated_obs": True}),
    Case(name="humanoid", env="mujoco", options={"id": "Humanoid-v5"}),
    Case(name="carracing", env="carracing", steps=300),  # its frames are slow to draw
    Case(name="carracing_fast", env="carracing_fast"),
    Case(name="pond", env="pond"),
    Case(name="waypoint", env="waypoint", options={"change_at": 300}),
    Case(name="take-cover", env="take_cover"),
    Case(name="breakout", env="atari", options={"game": "breakout"}),
]


def fingerprint(make_env: Callable[[], gym.Env[Any, Any]], seed: int, steps: int = 1000, used: bool = False) -> str:
    """sha256 over observations, rewards, terminated and truncated under a fixed seeded action sequence.

    ``used``: play episodes with other seeds and actions in the same object first, and stop in the middle
    of one. Resets are given what the gate gives: a seed, and the number of steps taken before.
    """
    env = make_env()
    if used:
        _play(env, seed + 1_000_003, min(steps, 200) + 1, hashlib.sha256())
    digest = hashlib.sha256()
    _play(env, seed, steps, digest)
    return digest.hexdigest()


def _play(env: gym.Env[Any, Any], seed: int, steps: int, digest: Any) -> None:
    rng = np.random.default_rng([seed, 17])
    episode = 0
    obs, _ = env.reset(seed=seed, options={"steps": 0})
    _add(digest, obs)
    for step in range(1, steps + 1):
        obs, reward, terminated, truncated, _ = env.step(_action(env.action_space, rng))
        _add(digest, obs)
        digest.update(np.float64(reward).tobytes() + bytes([bool(terminated), bool(truncated)]))
        if (terminated or truncated) and step < steps:
            episode += 1
            obs, _ = env.reset(seed=seed + episode, options={"steps": step})
            _add(digest, obs)


def _add(digest: Any, obs: Any) -> None:
    array = np.asarray(obs)
    digest.update(f"{array.dtype.str}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array).tobytes())


def _action(space: gym.Space[Any], rng: np.random.Generator) -> Any:
    if isinstance(space, gym.spaces.Discrete):
        return int(space.start + rng.integers(space.n))
    if isinstance(space, gym.spaces.Box) and space.is_bounded():
        return rng.uniform(space.low, space.high).astype(space.dtype)
    raise TypeError(f"expected a Discrete or a bounded Box of actions, found {space}")


def versions(env: str) -> dict[str, str]:
    """Versions of what defines the environment, and of what draws the random numbers."""
    return {name: version(name) for name in sorted({*module(env).PACKAGES, "gymnasium", "numpy"})}


def machine() -> str:
    """What of the machine can change the last bit of a sine: its architecture and its C library.

    The digests are the same with and without numpy's AVX2 and AVX-512 kernels, but those of pendulum and
    MuJoCo differ on a processor without fused multiply-add, for which the C library has other kernels.
    """
    return f"{platform.machine()} {'-'.join(platform.libc_ver())}"


def explain(recorded: Mapping[str, Any], packages: Mapping[str, str], here: str) -> str:
    """Why a digest is not the recorded one, as far as it can be told."""
    old: Mapping[str, str] = recorded["packages"]
    changed = [
        f"{name} {old.get(name, 'absent')} -> {packages.get(name, 'absent')}"
        for name in sorted({*old, *packages})
        if old.get(name) != packages.get(name)
    ]
    remedy = "if that is meant, run `python -m tests.fingerprints --write` and say so in the change"
    if changed:
        return f"the environment changed with its packages: {', '.join(changed)}; {remedy}"
    if recorded["machine"] != here:
        return (
            f"the packages are the recorded ones, but the digest was taken on {recorded['machine']} and this is "
            f"{here}, so the change may be one of floating point only; take both digests on one machine"
        )
    return f"packages and machine are the recorded ones, so the environment module changed; {remedy}"


def take(case: Case) -> str:
    """The digest of a case in an object of its own."""
    env = build(case.env, case.options)
    try:
        return fingerprint(lambda: env, SEED, case.steps)
    finally:
        env.close()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fingerprints", description=__doc__)
    parser.add_argument("names", nargs="*", help="cases to print (all when none is named)")
    parser.add_argument("--write", action="store_true", help=f"write {GOLDEN.name} instead")
    chosen = parser.parse_args(arguments)
    cases = [case for case in CASES if not chosen.names or case.name in chosen.names]
    if not chosen.write:
        print(json.dumps({case.name: take(case) for case in cases}))
        return
    golden = json.loads(GOLDEN.read_text()) if chosen.names and GOLDEN.exists() else {}
    for case in cases:
        golden[case.name] = {"digest": take(case), "packages": versions(case.env), "machine": machine()}
    GOLDEN.write_text(json.dumps(golden, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
