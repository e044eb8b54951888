"""CarRacing from pixels: gymnasium's CarRacing-v3, its own frames drawn faster, cut and shrunk as agents take them.

The game, its rewards and its 96 x 96 frames are gymnasium's to the byte; `suites.envs.carracing_drawing` only draws
them faster. What a published number may not share with this environment (see also `card`):

- A lap ends the episode when *every* tile has been visited. `lap_complete_percent` (0.95) has no effect as shipped:
  it is asked only on entering tile 0, where the car starts (Farama-Foundation/Gymnasium#1269). It is left as shipped.
- Leaving the playfield ends the episode, and the step's reward *is* -100, whatever it would have been otherwise.
- The frames are not those of CarRacing-v0 (another camera, another renderer): World Models' 906 was driven on v0.
- The first 50 frames zoom in on the car.
- World Models shrinks bilinearly and stretches the contrast of each frame; here frames shrink by area, no more.
- The default crop removes the indicators (speed, wheels, steering) and the score, which tell a policy its speed.

About 3 KB of native memory stay behind at each reset, gymnasium's own: Box2D never frees the shapes of the old car.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from typing import TYPE_CHECKING, Any, SupportsFloat

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from suites.envs.carracing_drawing import FastCarRacing

FAMILY = "carracing"
PACKAGES = ("gymnasium", "box2d", "pygame-ce", "opencv-python-headless")
EXTRA = None

NATIVE = 96  # pixels; gymnasium's frames are 96 x 96
ROAD = 84  # rows above the indicators, as World Models keeps them


def make(
    *,
    size: int = 64,
    grey: bool = False,
    crop_hud: bool = True,
    continuous: bool = True,
    stack: int = 1,
    time_limit: int = 1000,
) -> gym.Env:
    """CarRacing-v3, observed as uint8 [size, size, channels], channels last (3, or 1 if grey, times `stack`).

    `size` in pixels (96 without the crop: untouched frames); `time_limit` in frames of the game; the newest frame of a
    stack comes last, and a new episode's stack holds its first frame `stack` times.
    """
    prepare(size=size, stack=stack, time_limit=time_limit)
    from suites.envs.carracing_drawing import FastCarRacing  # imports pygame and Box2D

    game = FastCarRacing(continuous=continuous, panel=not crop_hud)
    return Frames(game, size=size, grey=grey, crop_hud=crop_hud, stack=stack, time_limit=time_limit)


def prepare(**at_least_one: int) -> None:
    """Refuse options below 1, and let pygame draw without a screen; to be called before it is imported."""
    for name, value in at_least_one.items():
        if value < 1:
            raise ValueError(f"carracing: {name} must be at least 1, found {value}")
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    if sys.platform.startswith("linux") and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")


def card(
    *,
    size: int = 64,
    grey: bool = False,
    crop_hud: bool = True,
    continuous: bool = True,
    stack: int = 1,
    time_limit: int = 1000,
) -> dict[str, Any]:
    """What a reader of a score must know about the task; it is part of the protocol's hash."""
    resized = crop_hud or size != NATIVE
    return {
        "env_id": "CarRacing-v3",
        "observation": f"uint8 {size}x{size}x{(1 if grey else 3) * stack}, {'grey' if grey else 'RGB'}",
        "action": "steer -1..1, gas 0..1, brake 0..1" if continuous else "5: nothing, right, left, gas, brake",
        "wrappers": [
            *(["crop to rows 0..83"] if crop_hud else []),
            *([f"resize to {size}x{size} (cv2.INTER_AREA)"] if resized else []),
            *(["grey (ITU-R 601)"] if grey else []),
            *([f"stack {stack} frames, one a decision, newest last"] if stack > 1 else []),
        ],
        "frame_skip": 1,
        "sticky": 0.0,
        "life_loss": None,
        "noops": 0,
        "time_limit": time_limit,
        "domain_randomize": False,
        "lap": "every tile visited; lap_complete_percent 0.95 never applies (Gymnasium#1269)",
        "off_playfield": "terminated, the step's reward is -100",
        "pixels": "as gymnasium v1 and later; not comparable with CarRacing-v0",
    }


class Frames(gym.Wrapper[Any, Any, Any, Any]):
    """The game's frames as an agent sees them, and the time limit that truncates its episodes."""

    def __init__(
        self, game: FastCarRacing, *, size: int, grey: bool, crop_hud: bool, stack: int, time_limit: int
    ) -> None:
        super().__init__(game)
        self.game = game
        self.size, self.grey, self.crop_hud, self.time_limit = size, grey, crop_hud, time_limit
        self.frames: deque[NDArray[np.uint8]] = deque(maxlen=stack)
        shape = (size, size, (1 if grey else 3) * stack)
        self.observation_space = gym.spaces.Box(0, 255, shape, np.uint8)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        self.elapsed = 0
        self.game.drawing = True
        frame, info = self.game.reset(seed=seed, options=options)
        for _ in range(self.frames.maxlen or 1):
            self.frames.append(self._prepare(frame))
        return self._stacked(), info

    def step(self, action: Any) -> tuple[NDArray[np.uint8], SupportsFloat, bool, bool, dict[str, Any]]:
        return self.hold(action, 1)

    def hold(self, action: Any, times: int) -> tuple[NDArray[np.uint8], SupportsFloat, bool, bool, dict[str, Any]]:
        """One decision held for `times` frames: rewards added up, stopping where the episode stops.

        Only the last frame is seen, so only it is drawn and stacked: two steps in one cost little more than one.
        """
        total = 0.0
        for count in range(1, times + 1):
            self.elapsed += 1
            truncated = self.elapsed >= self.time_limit
            self.game.drawing = truncated or count == times
            frame, reward, terminated, _, info = self.game.step(action)
            total += float(reward)
            if terminated or truncated:
                break
        if not self.game.drawing:
            frame = self.game.draw_state()
        self.frames.append(self._prepare(frame))
        return self._stacked(), total, terminated, truncated, info

    def _prepare(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        import cv2

        if self.crop_hud:
            frame = frame[:ROAD]
        if frame.shape[:2] != (self.size, self.size):
            frame = np.asarray(cv2.resize(frame, (self.size, self.size), interpolation=cv2.INTER_AREA), np.uint8)
        return np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)[:, :, None], np.uint8) if self.grey else frame

    def _stacked(self) -> NDArray[np.uint8]:
        return self.frames[0] if len(self.frames) == 1 else np.concatenate(self.frames, axis=2)
