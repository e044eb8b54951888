"""Plays to fill a recording: games side by side, exactly resumable in the middle of an episode."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from agents.parts.controllers import ActionMap
from agents.parts.recording import Recording


class Recorder:
    """What goes on in the games that are being recorded: who plays, and which episode it is."""

    def __init__(self, recording: Recording, actions: ActionMap, rng: np.random.Generator) -> None:
        self.recording, self.actions, self.rng = recording, actions, rng
        self.games = 0  # under way
        self.episodes: list[int] = []
        self.players: Sequence[Any] = ()
        self._restored: list[dict[str, Any]] = []

    def play(
        self,
        env: Any,
        players: Sequence[Any],
        sees: bool,
        more: Callable[[], bool],
        report: Callable[[], None],
    ) -> None:
        """Record every step of the vector ``env`` while there are to be ``more``; reports before each.

        ``sees``: the players are shown the frame (`agents.parts.mind.Explorer`); else they act blindly
        (`agents.parts.collecting`). Episodes that are running in the end are broken off.
        """
        recording, rng = self.recording, self.rng
        obs, _ = env.reset()
        if self.games:
            for player, state in zip(players, self._restored, strict=True):
                player.restore(state)
            self._restored = []
        else:
            for player in players:
                player.reset(rng)
            self.games, self.episodes = len(players), [recording.begin_episode() for _ in players]
        self.players = players
        while more():
            report()
            actions = np.stack(
                [
                    player.act(rng, frame) if sees else player.act(rng)
                    for player, frame in zip(players, obs, strict=True)
                ]
            )
            rows = [recording.add(episode, frame) for episode, frame in zip(self.episodes, obs, strict=True)]
            obs, rewards, terminations, truncations, infos = env.step(actions)
            told = self.actions.vectors(actions).numpy()
            for game, row in enumerate(rows):
                recording.act(row, told[game], float(rewards[game]), bool(terminations[game]))
                if terminations[game] or truncations[game]:
                    recording.add(self.episodes[game], infos["final_obs"][game])
                    self.episodes[game] = recording.begin_episode()
                    players[game].reset(rng)
        for episode, frame in zip(self.episodes, obs, strict=True):
            recording.add(episode, frame)
        self.games, self.players = 0, ()

    def state(self) -> dict[str, Any]:
        return {
            "games": self.games,
            "episodes": list(self.episodes),
            "players": self._restored or [player.state() for player in self.players],
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.games, self.episodes, self._restored = state["games"], list(state["episodes"]), state["players"]
