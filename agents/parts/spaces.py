"""What an agent needs of the spaces, said to the reader where an environment has others."""

from __future__ import annotations

from gymnasium.spaces import Box

from agents.protocol import Problem


def observed_vector(problem: Problem, agent: str, *, instead: str = "an agent for images") -> int:
    """The size of the observed vector. ``agent``: its module's name; ``instead``: what there is for other spaces."""
    space = problem.observation_space
    if not (isinstance(space, Box) and len(space.shape) == 1):
        raise ValueError(
            f"{agent} models vectors and needs a one-dimensional Box observation space, but {problem.env_id} "
            f"has {space}; take an environment that observes its state, or {instead}"
        )
    return space.shape[0]


def bounded_actions(problem: Problem, agent: str, why: str) -> Box:
    """The action space of an actor whose actions are real numbers within bounds. ``why`` it needs them."""
    space = problem.action_space
    if not (isinstance(space, Box) and len(space.shape) == 1 and space.is_bounded("both")):
        raise ValueError(
            f"{agent}'s {why} and needs a bounded one-dimensional Box of actions, but {problem.env_id} has {space}; "
            f"take an environment with continuous actions, or another agent"
        )
    return space
