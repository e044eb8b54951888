"""How good an agent's world model is, measured beside an evaluation on its own episodes, which nobody was trained on.

A row ``model`` for each horizon h: the model predicts the h-th step after the last observation that it saw, from the
actions alone. A row is over the windows (stretches of the kept episodes, evenly spread) that last so long; of a part
that the model does not predict it says nothing.

``error``        root mean squared error of the observation, over windows and dimensions. Unit ``std``: each dimension
                 divided by its standard deviation in these windows (one that never changes is left out); unit
                 ``pixel``, of images: brightness from 0 to 1. null if any window's prediction is not finite, and
                 ``diverged`` says of how many that is so.
``reward_error`` root mean squared error of the reward, in its own unit; ``reward_correlation`` is Pearson's over the
                 windows, null below three or where one side is constant.
``termination``  over all steps up to the h-th: ``ends``, how many there truly were; ``brier``, the mean squared
                 difference of the probability from what came; ``false_alarms``, the share of steps without an end
                 that are given more than 1/2; and where there were ends ``accuracy``, balanced: the mean of the share
                 of ends found and the share of other steps left alone.
``calibration``  ``within_1`` and ``within_2``: the share of single errors (windows x dimensions) that are at most one
                 and two of the standard deviations predicted for them; 0.683 and 0.954 if these are Gaussian and true.
``gradient``     `Pathwise.gradients` from the windows' last observations seen; null where that is not finite.

Horizon 0 is the reconstruction of the last observation that was seen.

A row ``virtual`` holds returns and lengths of the agent's policy in a ``where`` other than its evaluation environment
(inside its own model: ``dream``), beside the ``real_returns`` and ``real_lengths`` of the same first observations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.protocol import Agent, HasWorldModel, Pathwise, Prediction, Sequences, WorldModel
from suites import envs
from suites.runner.evaluation import Episode, Recorder, play
from suites.spec import TrialSpec

HORIZONS = (1, 2, 5, 10, 25, 50)  # steps after the context
WINDOWS = 32
CONTEXT = {"vector": 0, "image": 10}  # steps observed before: a frame does not show where things are moving
DREAM = "dream"

Array = NDArray[Any]
Row = dict[str, Any]


def recorder(agent: Agent) -> Recorder | None:
    """What `play` is to feed, where the agent has a model to be measured by it."""
    return Recorder() if _model(agent) is not None else None


def rows(
    spec: TrialSpec,
    agent: Agent,
    recorded: Recorder | None,
    real: tuple[list[float], list[int]],
    *,
    step: int,
    final: bool,
    tick: Callable[[], None],
) -> list[Row]:
    """What stands in the record beside the evaluation whose returns and lengths are ``real``.

    To be called as guarded as `play` is: some libraries draw from global generators when a model predicts.
    """
    told: dict[str, Any] = {"step": step, "final": final}
    found: list[Row] = []
    model = _model(agent)
    if model is not None and recorded is not None:
        found += [{"kind": "model", **told, **row} for row in model_rows(model, recorded.episodes, spec.seed)]
        tick()
        limit = time_limit(spec) or max(real[1])
        imagined = model.imagined_returns(np.stack(recorded.first_obs), limit, spec.seed)
        if imagined is not None:
            found.append({"kind": "virtual", **told, **virtual(DREAM, imagined, real)})
        tick()
    if final and hasattr(envs.module(spec.env), "EVALUATED_IN"):
        found.append({"kind": "virtual", **told, **virtual(spec.env, _in_training(spec, agent, step, tick), real)})
    return found


def _model(agent: Agent) -> WorldModel | None:
    return agent.world_model() if isinstance(agent, HasWorldModel) else None


def _in_training(spec: TrialSpec, agent: Agent, step: int, tick: Callable[[], None]) -> tuple[list[float], list[int]]:
    """The final evaluation once more, in the environment that stood in for the true one in training."""
    env = envs.build(spec.env, spec.options, spec.action_repeat)
    try:
        return play(
            env, agent.policy(spec.evaluate.policy), task=spec.task, seed=spec.seed,
            episodes=spec.evaluate.final_episodes, steps=step, tick=tick,
        )  # fmt: skip
    finally:
        env.close()


def time_limit(spec: TrialSpec) -> int | None:
    """Decisions after which an evaluation episode is cut; None where its environment's card knows of no limit."""
    family = envs.module(spec.env)
    card = envs.module(getattr(family, "EVALUATED_IN", spec.env)).card(**spec.options)
    limit = card.get("time_limit")
    return math.ceil(limit / spec.action_repeat) if limit else None


def virtual(where: str, found: tuple[list[float], list[int]], real: tuple[list[float], list[int]]) -> Row:
    """A row ``virtual`` without its place in the record; both sides are returns and lengths of the same episodes."""
    returns, lengths = [float(one) for one in found[0]], [int(one) for one in found[1]]
    if not len(returns) == len(lengths) == len(real[0]):
        raise ValueError(
            f"{where}: expected a return and a length for each of {len(real[0])} first observations, "
            f"found {len(returns)} and {len(lengths)}. Return one of each from `imagined_returns`."
        )
    return {"where": where, "returns": returns, "lengths": lengths, "real_returns": real[0], "real_lengths": real[1]}


def sequences(episodes: Sequence[Episode], context: int, horizons: Sequence[int] = HORIZONS) -> Sequences | None:
    """Up to 32 windows of ``context`` and the longest horizon, starting evenly spread over all steps.

    A window may reach beyond its episode, for models must be asked about ends; it has the context and one step at
    least. What lies beyond repeats the last observation and action. None if no episode is long enough.
    """
    starts = [(episode, at) for episode in episodes for at in range(len(episode.reward) - context)]
    count = min(WINDOWS, len(starts))
    chosen = [starts[(2 * k + 1) * len(starts) // (2 * count)] for k in range(count)]
    if not chosen:
        return None
    windows = [_window(episode, at, context + max(horizons)) for episode, at in chosen]
    return Sequences(**{name: np.stack([window[name] for window in windows]) for name in windows[0]}, context=context)


def _window(episode: Episode, start: int, length: int) -> dict[str, Array]:
    end = min(start + length, len(episode.reward))
    beyond = start + length - end
    terminated = np.zeros(length, dtype=np.bool_)
    terminated[end - start - 1] = episode.terminated and end == len(episode.reward)
    return {
        "obs": np.stack([*episode.obs[start : end + 1], *[episode.obs[end]] * beyond]),
        "action": np.stack([*episode.action[start:end], *[episode.action[end - 1]] * beyond]),
        "reward": np.array([*episode.reward[start:end], *[0.0] * beyond]),
        "terminated": terminated,
        "valid": np.arange(length) < end - start,
    }


def model_rows(model: WorldModel, episodes: Sequence[Episode], seed: int) -> Iterator[Row]:
    """The rows ``model`` of these episodes, without their place in the record."""
    if not episodes:
        return
    one = episodes[0].obs[0]
    image = one.dtype == np.uint8 and one.ndim >= 2
    asked = sequences(episodes, CONTEXT["image" if image else "vector"])
    if asked is None:
        return
    said = model.predict(asked, seed)
    _refuse_other_shapes(said, asked)
    scale, unit = (np.full(one.size, 255.0), "pixel") if image else (_spread(asked), "std")
    if said.reconstruction is not None:
        last = asked.obs[:, asked.context]
        error, diverged = _error(_flat(said.reconstruction) - _flat(last), scale)
        yield {"horizon": 0, "windows": len(last), "unit": unit, "error": error, "diverged": diverged}
    slopes = model.gradients(asked.obs[:, asked.context], HORIZONS, seed) if isinstance(model, Pathwise) else []
    for h, slope in zip_longest(HORIZONS, slopes):
        lasting = asked.valid[:, asked.context + h - 1]
        if lasting.any():
            row = {"horizon": h, "windows": int(lasting.sum()), "unit": unit, **_at(h, lasting, said, asked, scale)}
            yield row | ({"gradient": _number(slope)} if slopes else {})


def _at(h: int, lasting: Array, said: Prediction, asked: Sequences, scale: Array) -> Row:
    """All that is measured of the h-th step, in the windows that last so long."""
    errors = _flat(said.obs[lasting, h - 1]) - _flat(asked.obs[lasting, asked.context + h])
    error, diverged = _error(errors, scale)
    row: Row = {"error": error, "diverged": diverged}
    if said.reward is not None:
        theirs, true = said.reward[lasting, h - 1], asked.reward[lasting, asked.context + h - 1]
        row["reward_error"] = _error((theirs - true)[:, None], np.ones(1))[0]
        row["reward_correlation"] = _correlation(theirs, true)
    if said.termination is not None:
        steps = slice(asked.context, asked.context + h)
        counted = asked.valid[:, steps]
        row["termination"] = _termination(said.termination[:, :h][counted], asked.terminated[:, steps][counted])
    if said.obs_std is not None:
        std = _flat(said.obs_std[lasting, h - 1])[:, scale > 0]
        if std.size:
            sizes = np.abs(errors[:, scale > 0])
            within = {f"within_{k}": _number(np.mean(sizes <= k * std)) for k in (1, 2)}
            row["calibration"] = within if np.isfinite(sizes).all() and np.isfinite(std).all() else None
    return row


def _flat(arrays: Array) -> Array:
    return np.asarray(arrays, dtype=np.float64).reshape(len(arrays), -1)


def _spread(asked: Sequences) -> Array:
    """The standard deviation of each dimension over all observations that are in the episodes; 0: it never changes."""
    there = np.concatenate([np.ones((len(asked.valid), 1), dtype=np.bool_), asked.valid], axis=1)
    seen = _flat(asked.obs[there])
    spread: Array = seen.std(axis=0)
    return np.where(spread > 1e-8 * np.maximum(np.abs(seen).max(axis=0), 1.0), spread, 0.0)


def _error(errors: Array, scale: Array) -> tuple[float | None, int]:
    """Root mean squared error of ``errors [windows dimensions]``, None if one is not finite; of how many that is so."""
    used = scale > 0
    if not used.any():
        return None, 0
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.mean((errors[:, used] / scale[used]) ** 2, axis=1)
        diverged = int(np.count_nonzero(~np.isfinite(squares)))
        return (None if diverged else _number(math.sqrt(squares.mean()))), diverged


def _correlation(one: Array, other: Array) -> float | None:
    sides = np.asarray([one, other], dtype=np.float64)
    if sides.shape[1] < 3 or not np.isfinite(sides).all() or not np.ptp(sides, axis=1).all():
        return None
    return _number(np.asarray(np.corrcoef(sides))[0, 1])


def _termination(probability: Array, ended: Array) -> Row:
    ends, other = int(ended.sum()), int((~ended).sum())
    alarm = probability > 0.5
    if not np.isfinite(probability).all():
        return {"ends": ends, "brier": None, "false_alarms": None}
    false = float(alarm[~ended].mean()) if other else None
    row: Row = {"ends": ends, "brier": _number(np.mean((probability - ended) ** 2)), "false_alarms": false}
    if ends and false is not None:
        row["accuracy"] = _number((float(alarm[ended].mean()) + 1 - false) / 2)
    return {name: _number(value) if isinstance(value, float) else value for name, value in row.items()}


def _number(value: Any) -> float | None:
    """To six figures, which is more than a measurement on 32 windows is worth; None where it is not finite."""
    return float(f"{float(value):.6g}") if math.isfinite(value) else None


def _refuse_other_shapes(said: Prediction, asked: Sequences) -> None:
    count, length, *shape = asked.obs.shape
    steps = (count, length - 1 - asked.context)
    wanted = {"obs": (*steps, *shape), "obs_std": (*steps, *shape), "reward": steps, "termination": steps}
    for name, expected in {**wanted, "reconstruction": (count, *shape)}.items():
        found = getattr(said, name)
        if found is not None and np.shape(found) != expected:
            raise ValueError(f"Prediction.{name}: expected shape {expected}, found {np.shape(found)}")
