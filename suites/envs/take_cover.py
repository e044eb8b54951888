"""Take Cover of VizDoom: monsters throw fireballs from across a room, and each tic survived is worth 1.

The scenario is the one of the World Models paper (arXiv 1803.10122), whose environment, gym-doom's DoomTakeCover-v0,
is gone. Its protocol is put on VizDoom's own scenario here: three actions, the lowest sixth of the screen cut off,
64x64 pixels, an end after 2,100 tics. What still differs is told in ``card``.

gym-doom played a copy of the level of its own at doom_skill 5, in an engine that always reddened the screen at a hit
(VizDoom can leave that away since 1.1.3, and its scenario does today: `flashes`). On VizDoom's level a uniform player
survives as long as published at the shipped skill of 4 (see ``card``), and not nearly as long at 5: so 4 it is.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections import deque
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

FAMILY = "take_cover"
PACKAGES = ("vizdoom", "gymnasium", "opencv-python-headless")
EXTRA = "pip install vizdoom opencv-python-headless"

# Left, stay, right: the order in which a scalar in [-1, 1], cut at -1/3 and 1/3, falls into the three.
BUTTONS = ([1, 0], [0, 0], [0, 1])  # MOVE_LEFT, MOVE_RIGHT of the shipped scenario
ROWS_SHOWN = 100  # of 120: World Models keeps rows 0 to 399 of 480

# An engine whose player was killed waits for ever, and its shared memory stays. On Linux it is told to end with us.
LAUNCH = """#!/bin/sh
printf '%s\\n' "$@" > arguments
exec "{setpriv}" --pdeathsig KILL "{program}" "$@"
"""


class TakeCover(gym.Env[NDArray[np.uint8], np.int64]):
    """One game as an agent meets it. It owns an engine process, which ends with it."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 35}

    def __init__(self, *, size: int, grey: bool, stack: int, time_limit: int, frame_skip: int, flashes: bool) -> None:
        import cv2
        import vizdoom

        self.render_mode = "rgb_array"
        self._size, self._grey, self._stack = (size, size), grey, stack
        self._time_limit, self._frame_skip = time_limit, frame_skip
        self._resize, self._area = cv2.resize, cv2.INTER_AREA
        shape = (size, size, stack if grey else 3 * stack)
        self.observation_space = gym.spaces.Box(0, 255, shape, np.uint8)
        self.action_space = gym.spaces.Discrete(len(BUTTONS))
        self._frames: deque[NDArray[np.uint8]] = deque(maxlen=stack)
        self._steps, self._over = 0, True
        self._game = _engine(vizdoom, grey=grey, flashes=flashes)
        self._screen: NDArray[np.uint8] = np.zeros((120, 160) if grey else (120, 160, 3), np.uint8)

    def step(self, action: Any) -> tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        if self._over:
            raise gym.error.ResetNeeded("The episode has ended (or none has begun): call reset() before step().")
        reward = float(self._game.make_action(BUTTONS[action], self._frame_skip))
        terminated = bool(self._game.is_episode_finished())
        self._steps += 1
        truncated = self._steps >= self._time_limit and not terminated
        self._over = terminated or truncated
        return self._see(), reward, terminated, truncated, {}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        super().reset(seed=seed)
        if seed is None:
            seed = int(self.np_random.integers(2**31))
        self._game.set_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))
        self._game.new_episode()
        self._steps, self._over = 0, False
        self._frames.clear()
        return self._see(), {}

    def render(self) -> NDArray[np.uint8]:
        """The engine's whole screen."""
        return np.repeat(self._screen[..., None], 3, axis=-1) if self._grey else self._screen.copy()

    def close(self) -> None:
        self._game.close()

    def _see(self) -> NDArray[np.uint8]:
        """Crop and shrink the screen, and put the result on the stack (fill it, at a reset).

        The engine has no screen of the tic in which the player dies; the last one is shown again.
        """
        state = self._game.get_state()
        if state is not None:
            self._screen = state.screen_buffer
        shown = self._resize(self._screen[:ROWS_SHOWN], self._size, interpolation=self._area)
        frame = np.asarray(shown, np.uint8).reshape(*self._size, -1)
        self._frames.extend([frame] if self._frames else [frame] * self._stack)
        return np.concatenate(self._frames, axis=-1)


def _engine(vizdoom: Any, *, grey: bool, flashes: bool) -> Any:
    """Start an engine without window and sound, that leaves no file behind."""
    game = vizdoom.DoomGame()
    game.load_config(str(Path(vizdoom.scenarios_path) / "take_cover.cfg"))
    game.set_window_visible(False)
    game.set_sound_enabled(False)
    game.set_screen_resolution(vizdoom.ScreenResolution.RES_160X120)
    game.set_screen_format(vizdoom.ScreenFormat.GRAY8 if grey else vizdoom.ScreenFormat.RGB24)
    game.set_render_screen_flashes(flashes)
    game.set_seed(0)  # the first game is played by nobody; each reset begins a new one
    game.set_doom_config_path(os.devnull)  # where the engine would read and leave settings of its own
    with tempfile.TemporaryDirectory(prefix="take_cover-", ignore_cleanup_errors=True) as folder:
        program, setpriv = Path(vizdoom.__file__).parent / "vizdoom", shutil.which("setpriv")
        mortal = setpriv is not None and program.is_file()
        if mortal:
            launch = Path(folder) / "launch.sh"
            launch.write_text(LAUNCH.format(setpriv=setpriv, program=program), encoding="utf-8")
            launch.chmod(0o700)
            game.set_vizdoom_path(str(launch))
        with contextlib.chdir(folder):  # the engine makes a folder where it starts
            game.init()
        if mortal:
            _forget_shared_memory((Path(folder) / "arguments").read_text(encoding="utf-8").splitlines())
    return game


def _forget_shared_memory(arguments: list[str]) -> None:
    """Take the names off the memory through which the running engine is spoken to: it goes when both ends have."""
    engine = arguments[arguments.index("+viz_instance_id") + 1]
    for kind in ("SM", "MQCtr", "MQDoom"):
        (Path("/dev/shm") / f"ViZDoom{kind}{engine}").unlink(missing_ok=True)


def card(
    *,
    size: int = 64,
    grey: bool = False,
    stack: int = 1,
    time_limit: int = 2100,
    frame_skip: int = 1,
    flashes: bool = False,
) -> dict[str, Any]:
    shape, red = [size, size, stack if grey else 3 * stack], ", reddened by hits" if flashes else ""
    return {
        "env_id": "VizdoomTakeCover-v1",
        "observation": f"uint8 {shape}, rows 0-99 of 160x120, area-resized{red}",
        "action": "discrete: left, stay, right",
        "reward": "1 per tic, the tic of death included",
        "wrappers": ["crop", "resize", "frame stack", "time limit"],
        "frame_skip": frame_skip,
        "sticky": 0.0,
        "life_loss": None,
        "noops": 0,
        "time_limit": time_limit,
        "differs": "VizDoom's scenario in place of gym-doom's copy of it; rendered at 160x120 in place of 640x480",
        # Published for a random policy: 210 ± 108 over 100 episodes. Measured here, reset seeds 0 to 999, mean ± sd
        # over episodes; recorded for VizDoom 1.3.2, frame_skip 1.
        "calibration": {"uniform action each step": "219 ± 99", "random action held 1-10 steps": "316 ± 155"},
    }


def make(
    *,
    size: int = 64,  # pixels, both sides
    grey: bool = False,
    stack: int = 1,  # frames, 1 for none
    time_limit: int = 2100,  # steps; the published cap is in tics, so 2100 // frame_skip of them
    frame_skip: int = 1,  # tics per step
    flashes: bool = False,  # a hit reddens the screen for a while, as it always did before VizDoom 1.1.3; 1.3.2's: not
) -> TakeCover:
    for option, value in (("size", size), ("stack", stack), ("time_limit", time_limit), ("frame_skip", frame_skip)):
        if value < 1:
            raise ValueError(f"{option}: expected 1 or more; found {value}")
    return TakeCover(size=size, grey=grey, stack=stack, time_limit=time_limit, frame_skip=frame_skip, flashes=flashes)
