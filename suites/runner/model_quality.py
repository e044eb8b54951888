"""How good an agent's world model is, measured beside an evaluation on its own episodes, which nobody was trained on.

A row ``model`` for each horizon h: the model predicts the h-th step after the last observation that it saw, from the
actions alone. A row is over ``windows`` many stretches of the kept episodes that last so long, see `model_windows`;
of a part that the model does not predict it says nothing.

``error``        root mean squared error of the observation, over windows and dimensions. Unit ``std``: each dimension
                 divided by its standard deviation in evenly spread windows (left out: one that never changes); unit
                 ``pixel``, of images: brightness from 0 to 1. null if any window's prediction is not finite, and
                 ``diverged`` says of how many that is so.
``reward_error`` root mean squared error of the reward, in its own unit; ``reward_correlation`` is Pearson's over the
                 windows, null below three or where one side is constant.
``termination``  over all steps up to the h-th of evenly spread windows: ``ends``, how many there truly were;
                 ``brier``, the mean squared difference of the probability from what came; ``false_alarms``, the share
                 of steps without an end that are given more than 1/2; and where there were ends ``accuracy``,
                 balanced: the mean of the share of ends found and the share of other steps left alone.
``calibration``  ``within_1`` and ``within_2``: the share of single errors (windows x dimensions) that are at most one
                 and two of the standard deviations predicted for them; 0.683 and 0.954 if these are Gaussian and true.
``gradient``     `Pathwise.gradients` from the last observations seen of evenly spread windows; null: not finite.

Horizon 0 is the reconstruction of the last observation that was seen.

A row ``virtual`` holds returns and lengths of the agent's policy in a ``where`` other than its evaluation environment
(inside its own model: ``dream``), beside the ``real_returns`` and ``real_lengths`` of the same first observations.
``policy`` says by which behaviour the former were played: ``mode`` or ``sample``; a dream is lived by the mode, and is
like the latter only where the suite evaluates by it (older rows do not say it).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.protocol import Agent, HasWorldModel, Pathwise, PolicyMode, Prediction, Sequences, WorldModel
from suites import envs
from suites.runner.evaluation import Episode, Recorder, play
from suites.runner.model_windows import Windows, windows
from suites.spec import TrialSpec

HORIZONS = (1, 2, 5, 10, 25, 50)  # steps after the context
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
            found.append({"kind": "virtual", **told, **virtual(DREAM, imagined, real, "mode")})
        tick()
    if final and hasattr(envs.module(spec.env), "EVALUATED_IN"):
        there = _in_training(spec, agent, step, tick)
        found.append({"kind": "virtual", **told, **virtual(spec.env, there, real, spec.evaluate.policy)})
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


def virtual(
    where: str, found: tuple[list[float], list[int]], real: tuple[list[float], list[int]], policy: PolicyMode
) -> Row:
    """A row ``virtual`` without its place in the record; both sides are returns and lengths of the same episodes."""
    returns, lengths = [float(one) for one in found[0]], [int(one) for one in found[1]]
    if not len(returns) == len(lengths) == len(real[0]):
        raise ValueError(
            f"{where}: expected a return and a length for each of {len(real[0])} first observations, "
            f"found {len(returns)} and {len(lengths)}. Return one of each from `imagined_returns`."
        )
    sides = {"returns": returns, "lengths": lengths, "real_returns": real[0], "real_lengths": real[1]}
    return {"where": where, "policy": policy, **sides}


def model_rows(model: WorldModel, episodes: Sequence[Episode], seed: int) -> Iterator[Row]:
    """The rows ``model`` of these episodes, without their place in the record."""
    if not episodes:
        return
    one = episodes[0].obs[0]
    image = one.dtype == np.uint8 and one.ndim >= 2
    found = windows(episodes, CONTEXT["image" if image else "vector"], HORIZONS)
    if found is None:
        return
    asked, even = found
    said = model.predict(asked, seed)
    _refuse_other_shapes(said, asked)
    scale, unit = (np.full(one.size, 255.0), "pixel") if image else (_spread(asked, even), "std")
    last = asked.obs[:even, asked.context]
    if said.reconstruction is not None:
        error, diverged = _error(_flat(said.reconstruction[:even]) - _flat(last), scale)
        yield {"horizon": 0, "windows": even, "unit": unit, "error": error, "diverged": diverged}
    slopes = model.gradients(last, HORIZONS, seed) if isinstance(model, Pathwise) else []
    for h, slope in zip_longest(HORIZONS, slopes):
        lasting = found.lasting(h)
        if lasting.any():
            row = {"horizon": h, "windows": int(lasting.sum()), "unit": unit, **_at(h, lasting, said, found, scale)}
            yield row | ({"gradient": _number(slope)} if slopes else {})


def _at(h: int, lasting: Array, said: Prediction, found: Windows, scale: Array) -> Row:
    """All that is measured of the h-th step, in the windows that speak of it."""
    asked, even = found
    errors = _flat(said.obs[lasting, h - 1]) - _flat(asked.obs[lasting, asked.context + h])
    error, diverged = _error(errors, scale)
    row: Row = {"error": error, "diverged": diverged}
    if said.reward is not None:
        theirs, true = said.reward[lasting, h - 1], asked.reward[lasting, asked.context + h - 1]
        row["reward_error"] = _error((theirs - true)[:, None], np.ones(1))[0]
        row["reward_correlation"] = _correlation(theirs, true)
    if said.termination is not None:
        steps = slice(asked.context, asked.context + h)
        counted = asked.valid[:even, steps]
        row["termination"] = _termination(said.termination[:even, :h][counted], asked.terminated[:even, steps][counted])
    if said.obs_std is not None:
        std = _flat(said.obs_std[lasting, h - 1])[:, scale > 0]
        if std.size:
            sizes = np.abs(errors[:, scale > 0])
            within = {f"within_{k}": _number(np.mean(sizes <= k * std)) for k in (1, 2)}
            row["calibration"] = within if np.isfinite(sizes).all() and np.isfinite(std).all() else None
    return row


def _flat(arrays: Array) -> Array:
    return np.asarray(arrays, dtype=np.float64).reshape(len(arrays), -1)


def _spread(asked: Sequences, even: int) -> Array:
    """The standard deviation of each dimension over what evenly spread windows see of episodes; 0: it never changes."""
    there = np.concatenate([np.ones((even, 1), dtype=np.bool_), asked.valid[:even]], axis=1)
    seen = _flat(asked.obs[:even][there])
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
