"""Pictures of what an agent's world model sees and dreams: real frames, reconstructions, dreams, as GIF or MP4.

The same agent gives the same bytes, with the same versions of imageio, Pillow and OpenCV (and PyAV, for an MP4).
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from agents.protocol import Agent, HasWorldModel, Pictures
from results.record import write_atomically
from suites.runner.evaluation import Recorder, play
from suites.spec import TrialSpec

STEPS = 200  # of an episode and of a dream that are shown
SCALE = 3  # a pixel becomes a square of so many
EVERY, FPS = 2, 15  # steps from frame to frame, and frames a second: all frames of a game would make the files huge
BANNER, GAP = 18, 6  # pixels above a picture for its title, and between two pictures
DIMMED = 0.35  # brightness of the last frame of what is over before the others

Frames = NDArray[np.uint8]  # [T, height, width, 3]


class NoPictures(Exception):
    """There is nothing to be shown; the message says why."""


class _Enough(Exception):
    """All steps that are shown have been played."""


def show(
    trial: TrialSpec,
    agent: Agent,
    env: gym.Env[Any, Any],
    folder: Path,
    temperatures: Sequence[float],
    suffix: str = ".gif",
) -> list[Path]:
    """Write two pictures of the trial's first evaluation episode: its reconstruction, and dreams of how it goes on.

    ``env`` is the environment that it is evaluated in; of the episode only the steps that are shown are played.

    Raises:
        NoPictures: the agent has no world model of images.
    """
    model: Any = agent.world_model() if isinstance(agent, HasWorldModel) else None
    if not isinstance(model, Pictures):
        found = "no world model" if model is None else f"{type(model).__name__}, which has no `reconstruct` and `dream`"
        raise NoPictures(f"{trial.agent}: expected a world model of images, found {found}")
    seen = _episode(trial, agent, env)
    real = coloured(seen)
    stem = f"dream-{trial.task}-{trial.entrant}-{trial.seed}"
    pairs = {"real": real, "reconstruction": coloured(model.reconstruct(seen))}
    dreams = {f"dream at {one:g}": coloured(model.dream(seen[0], STEPS, one, trial.seed)) for one in temperatures}
    told = [(folder / f"{stem}-reconstruction{suffix}", pairs), (folder / f"{stem}{suffix}", {"real": real, **dreams})]
    for path, pictures in told:
        write(path, beside(pictures))
    return [path for path, _ in told]


def _episode(trial: TrialSpec, agent: Agent, env: gym.Env[Any, Any]) -> NDArray[Any]:
    """The observations ``[T, ...]`` of the first evaluation episode, or of its first steps."""
    recorder = Recorder()

    def tick() -> None:
        if len(recorder.episodes[0].reward) >= STEPS:
            raise _Enough

    policy = agent.policy(trial.evaluate.policy)
    told: dict[str, Any] = {"task": trial.task, "seed": trial.seed, "episodes": 1, "steps": trial.budget}
    with contextlib.suppress(_Enough):
        play(env, policy, **told, tick=tick, recorder=recorder)
    return np.stack(recorder.episodes[0].obs)


def coloured(obs: NDArray[Any]) -> Frames:
    """Images ``[T, height, width, channels]`` as frames: of a stack the newest, and grey in all three colours."""
    if obs.ndim != 4 or obs.dtype != np.uint8:
        raise NoPictures(f"expected images, uint8 [T, height, width, channels], found {obs.dtype} {obs.shape}")
    newest = obs[..., -3:] if obs.shape[-1] % 3 == 0 else obs[..., -1:]
    return np.ascontiguousarray(np.broadcast_to(newest, (*obs.shape[:3], 3)))


def beside(pictures: Mapping[str, Frames]) -> Frames:
    """The pictures side by side, enlarged, each below its title; one that is over before the others stays, dimmed."""
    longest = max(map(len, pictures.values()))
    tiles = [_titled(title, _lasting(frames, longest)[::EVERY]) for title, frames in pictures.items()]
    whole = np.concatenate([part for tile in tiles for part in (tile, _gap(tile))][:-1], axis=2)
    odd = [(0, side % 2) for side in whole.shape[1:3]]  # a film needs even sides
    return np.pad(whole, [(0, 0), *odd, (0, 0)])


def _lasting(frames: Frames, length: int) -> Frames:
    last = (frames[-1:] * DIMMED).astype(np.uint8)
    return np.concatenate([frames, np.repeat(last, length - len(frames), axis=0)])


def _titled(title: str, frames: Frames) -> Frames:
    import cv2

    large = frames.repeat(SCALE, axis=1).repeat(SCALE, axis=2)
    banner = np.zeros((BANNER, large.shape[2], 3), dtype=np.uint8)
    cv2.putText(banner, title, (2, BANNER - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 255), 1, cv2.LINE_AA)
    return np.concatenate([np.broadcast_to(banner, (len(large), *banner.shape)), large], axis=1)


def _gap(tile: Frames) -> Frames:
    return np.zeros((*tile.shape[:2], GAP, 3), dtype=np.uint8)


def write(path: Path, frames: Frames) -> None:
    """The frames as the kind of file that the path's ending names: ``.gif``, or ``.mp4`` with the extra ``video``."""
    import imageio.v3 as imageio

    if path.suffix == ".gif":
        content = imageio.imwrite("<bytes>", frames, extension=".gif", duration=1000 / FPS, loop=0)
    elif path.suffix == ".mp4":
        if find_spec("av") is None:
            raise NoPictures(f"{path}: an MP4 needs the extra `video`: pip install -c constraints.txt -e '.[video]'")
        told: dict[str, Any] = {"plugin": "pyav", "codec": "libx264", "fps": FPS, "out_pixel_format": "yuv420p"}
        content = imageio.imwrite("<bytes>", frames, extension=".mp4", **told)
    else:
        raise NoPictures(f"expected a path that ends in .gif or .mp4, found {path}")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)
