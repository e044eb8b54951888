"""Atari games on the Arcade Learning Environment, under the Atari-100k protocol or ALE's own with sticky actions.

Both protocols skip 4 frames (the pixelwise maximum of the last two is seen), use the game's minimal action set, begin
with 1 to 30 no-op frames, never end an episode at a lost life, leave rewards unclipped and cut an episode after 27,000
steps (108,000 frames), as a truncation. ``ale-v5`` adds sticky actions: with probability 0.25 the emulator keeps the
previous action, drawn for each of the four frames and not once per decision, as gymnasium's AtariPreprocessing on a
v5 game has it.

Observations, rewards and ends equal those of ``ALE/<Game>-v5`` inside ``AtariPreprocessing`` and
``FrameStackObservation`` byte for byte for the same reset seed. Two things are done differently for it to be fast and
an exact function of (reset seed, actions since):

- The stock environment loads the ROM at each seeded reset (about 90 ms). Here the state right after one load is put
  back and the console reset (about 4 ms). A reset alone is not enough: 17 of 104 games then depend on what was played.
- The emulator's generator serves sticky actions only, and it can be seeded only by a load. So sticky actions are
  drawn here, from the same Mersenne Twister with the same seed, and the emulator's own stickiness is off.
"""

from __future__ import annotations

import difflib
from collections import deque
from pathlib import Path
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from gymnasium.utils import seeding
from numpy.typing import NDArray

FAMILY = "atari"
PACKAGES = ("ale-py", "gymnasium", "opencv-python-headless")
EXTRA = "pip install ale-py opencv-python-headless"

Preset = Literal["atari100k", "ale-v5"]
View = Literal["grey84", "rgb64", "rgb105x80"]
LifeLoss = Literal["ignored", "terminal"]

FRAME_SKIP = 4  # frames per step
NOOPS = 30  # frames, the most that a reset plays
TIME_LIMIT = 27_000  # steps = 108,000 frames
STICKY: dict[str, float] = {"atari100k": 0.0, "ale-v5": 0.25}  # probability per frame
SIZES: dict[str, tuple[int, int]] = {"grey84": (84, 84), "rgb64": (64, 64), "rgb105x80": (105, 80)}  # rows, columns


class Atari(gym.Env[NDArray[np.uint8], np.int64]):
    """One game as an agent meets it; ``info`` has ``lives`` and ``life_lost``."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 15}

    def __init__(self, rom: Path, *, sticky: float, obs: View, stack: int, life_loss: LifeLoss) -> None:
        import ale_py
        import cv2

        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
        self.render_mode = "rgb_array"
        self._cv2, self._noop = cv2, ale_py.Action.NOOP
        self._sticky, self._grey, self._stack, self._life_loss = sticky, obs == "grey84", stack, life_loss
        self._ale = ale_py.ALEInterface()
        self._ale.setFloat("repeat_action_probability", 0.0)
        self._ale.setInt("random_seed", 0)  # no game's play depends on it when the emulator is not sticky
        self._ale.loadROM(rom)
        self._loaded = self._ale.cloneState(include_rng=True)
        self._buttons = self._ale.getMinimalActionSet()
        self._grab = self._ale.getScreenGrayscale if self._grey else self._ale.getScreenRGB

        rows, columns = SIZES[obs]
        self._size = (columns, rows)
        shape = (stack, rows, columns) if self._grey else (rows, columns, 3 * stack)
        self.observation_space = gym.spaces.Box(0, 255, shape, np.uint8)
        self.action_space = gym.spaces.Discrete(len(self._buttons))
        screen = self._ale.getScreenDims() if self._grey else (*self._ale.getScreenDims(), 3)
        self._pooled, self._last_but_one = np.empty(screen, np.uint8), np.empty(screen, np.uint8)
        self._frames: deque[NDArray[np.uint8]] = deque(maxlen=stack)
        self._held, self._lives, self._steps, self._over = self._noop, 0, 0, True
        self._draws = np.random.RandomState(0)

    def step(self, action: Any) -> tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        if self._over:
            raise gym.error.ResetNeeded("The episode has ended (or none has begun): call reset() before step().")
        ale, wanted = self._ale, self._buttons[action]
        keeps = (self._draws.random_sample(FRAME_SKIP) < self._sticky).tolist() if self._sticky else None
        reward, terminated = 0.0, False
        for frame in range(FRAME_SKIP):
            if keeps is None or not keeps[frame]:
                self._held = wanted
            reward += ale.act(self._held)
            if terminated := ale.game_over(with_truncation=False):
                break  # the screens are left as they are: gymnasium's last observation is an old one too
            if frame == FRAME_SKIP - 2:
                self._grab(self._last_but_one)
            elif frame == FRAME_SKIP - 1:
                self._grab(self._pooled)
        self._steps += 1
        truncated = self._steps >= TIME_LIMIT and not terminated
        self._over = terminated or truncated
        return self._see(), reward, terminated, truncated, self._info()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        super().reset(seed=seed)
        if seed is None:
            seed = int(self.np_random.integers(2**31))
        # The two words are used as ale_py's AtariEnv uses them, so that equal seeds give equal episodes.
        noop_seed, ale_seed = np.random.SeedSequence(seed).generate_state(2)
        noops = int(seeding.np_random(int(noop_seed))[0].integers(1, NOOPS + 1))
        self._start(ale_seed)
        for _ in range(noops):
            self._ale.act(self._noop)
            self._draws.random_sample()  # the emulator draws in each frame, whatever the action
            if self._ale.game_over(with_truncation=False):
                self._start(ale_seed)
        self._steps, self._over, self._lives = 0, False, self._ale.lives()
        self._grab(self._pooled)
        self._last_but_one.fill(0)
        return self._see(), self._info()

    def render(self) -> NDArray[np.uint8]:
        """The console's screen at full size, in colour."""
        screen: NDArray[np.uint8] = self._ale.getScreenRGB()
        return screen

    def _start(self, ale_seed: np.unsignedinteger[Any]) -> None:
        """Switch the console on, whatever was played before."""
        self._ale.restoreState(self._loaded)
        self._ale.reset_game()
        self._draws = np.random.RandomState(int(ale_seed))
        self._held = self._noop
        self._frames.clear()

    def _see(self) -> NDArray[np.uint8]:
        """Pool the two screens, shrink them, and put the result on the stack (fill it, at a reset)."""
        np.maximum(self._pooled, self._last_but_one, out=self._pooled)
        area = self._cv2.INTER_AREA
        frame = np.asarray(self._cv2.resize(self._pooled, self._size, interpolation=area), np.uint8)
        self._frames.extend([frame] if self._frames else [frame] * self._stack)
        return np.stack(self._frames) if self._grey else np.concatenate(self._frames, axis=-1)

    def _info(self) -> dict[str, Any]:
        before, self._lives = self._lives, self._ale.lives()
        return {
            "lives": self._lives,
            "life_lost": self._life_loss == "terminal" and self._lives < before,
        }


def rom_of(game: str) -> tuple[str, Path]:
    """The snake-case name of a game and its ROM; "MsPacman", "ms_pacman" and "mspacman" are one game."""
    from ale_py import ALEInterface, LoggerMode, roms

    ALEInterface.setLoggerMode(LoggerMode.Error)
    names = {name.replace("_", ""): name for name in roms.get_all_rom_ids()}
    asked = game.lower().replace("_", "")
    if asked not in names:
        near = [names[n] for n in difflib.get_close_matches(asked, names, n=3, cutoff=0.5)] or sorted(names.values())
        raise ValueError(f"game: no Atari game is called {game!r}; the nearest are {', '.join(near)}")
    rom = roms.get_rom_path(names[asked])
    if rom is None or ALEInterface.isSupportedROM(rom) is None:  # loading it would end the process
        raise ValueError(f"game: {names[asked]!r} is a game for two players, which the emulator does not play alone")
    return names[asked], rom


def card(
    *,
    game: str = "breakout",
    preset: Preset = "atari100k",
    obs: View = "grey84",
    stack: int = 4,
    life_loss: LifeLoss = "ignored",
) -> dict[str, Any]:
    name, _ = rom_of(game)
    title = name.title().replace("_", "")
    shape = (stack, *SIZES[obs]) if obs == "grey84" else (*SIZES[obs], 3 * stack)
    return {
        "env_id": f"{title}NoFrameskip-v4" if preset == "atari100k" else f"ALE/{title}-v5",
        "game": name,
        "preset": preset,
        "observation": f"uint8 {list(shape)}, {obs}, area-resized maximum of the last two frames",
        "action": "discrete, minimal action set",
        "wrappers": ["noop reset", "frame skip", "max of two frames", "resize", "frame stack", "time limit"],
        "frame_skip": FRAME_SKIP,
        "sticky": STICKY[preset],
        "sticky_per": "frame",
        "life_loss": life_loss,  # "terminal": info["life_lost"] tells the learner; no episode ends by it
        "noops": NOOPS,
        "reward": "unclipped",
        "time_limit": TIME_LIMIT,
    }


def make(
    *,
    game: str = "breakout",  # snake case or camel case
    preset: Preset = "atari100k",
    obs: View = "grey84",  # grey84 [stack 84 84]; rgb64 [64 64 3·stack]; rgb105x80 [105 80 3·stack]
    stack: int = 4,  # frames, 1 for none
    life_loss: LifeLoss = "ignored",  # "terminal": info["life_lost"] is set; the episode goes on
) -> Atari:
    for option, value, allowed in (
        ("preset", preset, tuple(STICKY)),
        ("obs", obs, tuple(SIZES)),
        ("life_loss", life_loss, ("ignored", "terminal")),
    ):
        if value not in allowed:
            raise ValueError(f"{option}: expected one of {', '.join(allowed)}; found {value!r}")
    if stack < 1:
        raise ValueError(f"stack: expected 1 (no stacking) or more frames; found {stack}")
    return Atari(rom_of(game)[1], sticky=STICKY[preset], obs=obs, stack=stack, life_loss=life_loss)
