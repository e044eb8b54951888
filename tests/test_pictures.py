"""Promises of the pictures: what is shown of which frames, the same bytes again, and why there are none."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import imageio.v3 as imageio
import numpy as np
import pytest

from suites.runner import pictures
from suites.runner.pictures import BANNER, EVERY, GAP, SCALE, NoPictures, beside, coloured, show, write
from suites.spec import TrialSpec

TRIAL = TrialSpec.model_validate(
    {"suite": "s", "task": "road", "entrant": "wm", "seed": 3, "env": "carracing", "budget": 10, "agent": "agents.wm",
     "evaluate": {"every": 10, "episodes": 1, "final_episodes": 1}}
)  # fmt: skip
RED, GREEN, BLUE = ([255, 0, 0], [0, 255, 0], [0, 0, 255])


class Brightening(gym.Env[Any, Any]):
    """An image of 8 x 6 that is as bright as there were steps; ends after ``length``."""

    def __init__(self, length: int, channels: int = 3) -> None:
        self.length, self.channels = length, channels

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.seed, self.steps = seed, 0
        return self._obs(), {}

    def step(self, action: Any) -> Any:
        self.steps += 1
        return self._obs(), 0.0, self.steps >= self.length, False, {}

    def _obs(self) -> Any:
        return np.full((8, 6, self.channels), self.steps, dtype=np.uint8)


class Dreamer:
    """A world model that reconstructs in blue, and dreams in red as long as its temperature says, in tens of steps."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def reconstruct(self, obs: np.ndarray) -> np.ndarray:
        self.asked.append(("reconstruct", obs.shape))
        return np.broadcast_to(np.array(BLUE, dtype=np.uint8), (*obs.shape[:3], 3))

    def dream(self, first_obs: np.ndarray, steps: int, temperature: float, seed: int) -> np.ndarray:
        self.asked.append(("dream", first_obs.max(), steps, temperature, seed))
        return np.broadcast_to(np.array(RED, dtype=np.uint8), (int(10 * temperature), 8, 6, 3))


def agent_of(model: Any) -> Any:
    policy = SimpleNamespace(reset=lambda seed: None, act=lambda obs: 0)
    return SimpleNamespace(world_model=lambda: model, policy=lambda mode: policy)


def tile(film: np.ndarray, place: int, width: int = 6) -> np.ndarray:
    """The picture at a place of a film, shrunk back to the size that it had."""
    left = place * (width * SCALE + GAP)
    return film[:, BANNER : BANNER + 8 * SCALE : SCALE, left : left + width * SCALE : SCALE]


def test_the_frames_stand_beside_their_reconstructions_and_the_dreams(tmp_path: Path) -> None:
    model = Dreamer()
    paths = show(TRIAL, agent_of(model), Brightening(30), tmp_path / "figures", [1.0, 2.5])
    assert [path.name for path in paths] == ["dream-road-wm-3-reconstruction.gif", "dream-road-wm-3.gif"]
    assert model.asked == [
        ("reconstruct", (31, 8, 6, 3)), ("dream", 0, pictures.STEPS, 1.0, 3), ("dream", 0, pictures.STEPS, 2.5, 3),
    ]  # fmt: skip
    film = imageio.imread(paths[0])
    assert len(film) == 16  # every second of 31 frames
    assert [int(frame.max()) for frame in tile(film, 0)] == list(range(0, 31, EVERY))
    assert (tile(film, 1) == BLUE).all()
    dreams = imageio.imread(paths[1])
    assert (tile(dreams, 1)[:5] == RED).all()
    assert (tile(dreams, 2)[:12] == RED).all()
    over = tile(dreams, 1)[5:]
    assert (over == [89, 0, 0]).all()  # over after ten steps: its last frame stays, dimmed to 0.35 of 255


def test_every_picture_has_its_title_in_white_above_it() -> None:
    black = np.zeros((2, 40, 40, 3), dtype=np.uint8)
    one, other = (beside({title: black, "b": black})[:, :BANNER] for title in ("a", "real"))
    half = 40 * SCALE
    assert one[:, :, :half].max() > 200
    assert (one[:, :, half + GAP :] == other[:, :, half + GAP :]).all()  # b
    assert (one[:, :, :half] != other[:, :, :half]).any()  # another title


def test_of_a_long_episode_only_what_is_shown_is_played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "STEPS", 20)
    env = Brightening(10_000)
    (path, _) = show(TRIAL, agent_of(Dreamer()), env, tmp_path, [1.0])
    assert env.steps == 20
    assert len(imageio.imread(path)) == 11
    assert env.seed is not None
    assert env.seed >= 2**30  # an evaluation episode


@pytest.mark.parametrize("suffix", [".gif", ".mp4"])
def test_the_same_agent_gives_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    once, again = (
        [path.read_bytes() for path in show(TRIAL, agent_of(Dreamer()), Brightening(30), tmp_path / n, [1.0], suffix)]
        for n in ("one", "two")
    )
    assert once == again
    assert len(set(once)) == 2


def test_a_film_has_every_frame_and_nearly_its_colours(tmp_path: Path) -> None:
    frames = np.broadcast_to(np.array(GREEN, dtype=np.uint8), (20, 31, 33, 3))
    film = beside({"a": frames})
    write(tmp_path / "film.mp4", film)
    found = imageio.imread(tmp_path / "film.mp4", plugin="pyav")
    assert found.shape == film.shape
    assert film.shape[1] % 2 == film.shape[2] % 2 == 0
    assert np.abs(found.astype(int) - film)[:, BANNER + 6 : -6, 6:-6].mean() < 12


def test_without_the_video_extra_a_film_is_refused_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(NoPictures, match=r"needs the extra `video`: pip install .*\[video\]"):
        write(tmp_path / "film.mp4", np.zeros((2, 4, 4, 3), dtype=np.uint8))
    with pytest.raises(NoPictures, match=r"ends in \.gif or \.mp4, found .*film\.avi"):
        write(tmp_path / "film.avi", np.zeros((2, 4, 4, 3), dtype=np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_grey_and_stacked_images_are_shown_by_their_newest_frame() -> None:
    grey = np.arange(4, dtype=np.uint8).reshape(1, 1, 1, 4)
    assert coloured(grey).tolist() == [[[[3, 3, 3]]]]
    stack = np.arange(6, dtype=np.uint8).reshape(1, 1, 1, 6)
    assert coloured(stack).tolist() == [[[[3, 4, 5]]]]


@pytest.mark.parametrize(
    ("agent", "found"),
    [
        (SimpleNamespace(), "found no world model"),
        (agent_of(None), "found no world model"),
        (agent_of(object()), "found object, which has no `reconstruct` and `dream`"),
    ],
)
def test_an_agent_that_cannot_be_shown_is_told_so(tmp_path: Path, agent: Any, found: str) -> None:
    with pytest.raises(NoPictures, match=f"agents.wm: expected a world model of images, {found}"):
        show(TRIAL, agent, Brightening(3), tmp_path, [1.0])


def test_observations_that_are_no_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NoPictures, match=r"expected images, uint8 \[T, height, width, channels\], found float64"):
        coloured(np.zeros((3, 4)))
