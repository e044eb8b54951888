"""Settings of World Models that could only fail, or be ignored, hours later: refused before the first step."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin, get_type_hints

from agents.protocol import Problem

# Of what there has to be one at least.
COUNTS = ("recorders", "latent", "vision_batch", "hidden", "memory_batch", "sequence", "time_limit", "rollouts",
          "games", "test_rollouts", "rounds")  # fmt: skip


def refuse_impossible(config: Any, problem: Problem) -> None:
    """``config``: the `Config` of `agents.world_models`."""
    for name, hint in get_type_hints(type(config)).items():
        value = getattr(config, name)
        if get_origin(hint) is Literal and value not in get_args(hint):
            raise ValueError(
                f"expected {name} to be one of {', '.join(get_args(hint))}; found {value!r}; take one of them"
            )
    for name in COUNTS:
        if getattr(config, name) < 1:
            raise ValueError(f"expected {name} of at least 1, found {getattr(config, name)}; raise {name}")
    if not config.temperature > 0:
        raise ValueError(f"expected a temperature above 0, found {config.temperature}; take 0.1 for a dream that is "
                         "nearly certain")  # fmt: skip
    if config.reward_weight and not config.reward:
        raise ValueError(
            f"reward_weight teaches V what M's reward head needs: expected reward: true beside it, found reward_weight "
            f"{config.reward_weight} alone; set reward: true, or reward_weight: 0"
        )
    if config.curious_generations and config.rounds == 1:
        raise ValueError(
            f"curiosity comes before the second and later recordings: expected rounds of at least 2, found 1 with "
            f"curious_generations {config.curious_generations}; raise rounds, or set curious_generations: 0"
        )
    if config.controller_hidden and config.learner == "ppo":
        raise ValueError(
            f"learner: ppo has a linear controller: expected controller_hidden 0, found {config.controller_hidden}; "
            "set it to 0, or learner: cma"
        )
    if config.sees == "z" and config.learner == "ppo":
        raise ValueError(
            "learner: ppo sees h, too: expected sees of zh or zhc, found z; take sees: zh, or learner: cma"
        )
    if config.learn_in == "reality":
        _refuse_in_reality(config, problem)
    elif not (config.done or config.reward):
        raise ValueError("a dream needs consequences to learn from; set done: true or reward: true")
    if config.finetune_steps and (config.controller_hidden or config.finetune_steps >= problem.budget):
        raise ValueError("finetune_steps needs a linear controller, and a budget that is larger; lower one of them")


def _refuse_in_reality(config: Any, problem: Problem) -> None:
    if config.learner == "ppo" or config.rounds > 1 or config.finetune_steps:
        raise ValueError("learner: ppo, rounds and finetune_steps are for learn_in: dream; found learn_in: reality")
    if config.random_steps >= problem.budget:
        raise ValueError(
            f"world_models would record to the end: expected random_steps below the budget of {problem.budget} steps, "
            f"found {config.random_steps}; lower random_steps"
        )
