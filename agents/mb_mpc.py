"""MB-MPC: a network of the dynamics and model-predictive control by random shooting (Nagabandi et al. 2018).

"Neural Network Dynamics for Model-Based Deep Reinforcement Learning with Model-Free Fine-Tuning",
arXiv 1708.02596; numbers after the authors' code, anagabandi/nn_dynamics, where paper and code differ.
Random rollouts train f(s, a), which predicts the state difference (section IV-A); a controller draws
action sequences at random, rolls them through s' = s + f(s, a), takes the first action of the best and
plans anew in the next step (IV-C); what it lives through is added to the data and f is trained further,
round after round (IV-D, Algorithm 1). The model-free fine-tuning of section V is not part of this agent.

Deviations
----------
* Beside random shooting (the default, as published) the controller may search by CEM, iCEM or MPPI; such a planner
  begins with the plan of the step before, from an episode's first step on with none. A cost that the suite grants may
  be limited (``cost_limit``).
* The paper's reward is a known function of the state. Here that holds if the suite grants ``reward``;
  else the reward is one more output of the network, normalised and fitted like a state difference.
* The paper ignores that episodes end. Here a granted ``termination`` is used, else the probability of a
  true end is one more output (cross-entropy), heeded as soon as one end was seen: without it CartPole's
  candidates are all alike. A planned reward counts as much as it is likely to be reached.
* A Discrete action is a one-hot vector, drawn uniformly.
* Rounds are counted in steps, not in rollouts, and all rollouts are trained on (the code keeps one of ten
  aside for validation).
* An epoch draws as many samples as there are transitions, with replacement. (The code permutes the random
  data only, so that with a tenth of each batch from there its later epochs hold more batches.)
* Noise on the training data is drawn anew for every batch, in units of each column's standard deviation.
  (The code draws once, in units of a column's mean where that is positive.)
* The executed action is recorded, noise included. (The code records the action before the noise.)
* Biases begin at zero. (The code draws them like weights.)
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from jaxtyping import Float
from torch import Tensor

from agents.parts import saving
from agents.parts.actions import ActionVectors
from agents.parts.dynamics import DynamicsModel, Imagination, Normaliser
from agents.parts.imagined import ImaginedWorld
from agents.parts.objective import Objective
from agents.parts.planners import planner
from agents.parts.planning import Planner, PlannerConfig
from agents.parts.replay import Replay
from agents.protocol import Door, PolicyMode, Problem, Report

ACTIONS = ("discrete", "continuous")
OBSERVATIONS = ("vector",)


@dataclass(frozen=True, kw_only=True)
class Config(PlannerConfig):
    """The defaults are those of the released code for HalfCheetah (yaml_files/cheetah_forward.yaml)."""

    random_steps: int = 10_000  # steps of random actions first; code: 10 rollouts of 1000
    steps_per_round: int = 10_000  # steps between trainings; code: 10 rollouts of 1000
    horizon: int = 20  # H, steps of a plan; code
    candidates: int = 1000  # K, action sequences per plan; code (swimmer 5000)
    discount: float = 1.0  # per planned step; the paper sums plain rewards
    hidden: tuple[int, ...] = (500,)  # units of each hidden layer; code
    learning_rate: float = 1e-3  # Adam; paper and code
    batch_size: int = 512  # transitions; paper and code
    epochs: int = 60  # passes over the data per round; code
    on_policy_share: float = 0.9  # of each batch, from the controller's own steps; paper and code
    data_noise: float = 0.01  # standard deviations of each input and target; code: noiseToSignal
    action_noise: float = 0.005  # of half the action range, while learning; code


class MBMPC:
    def __init__(self, problem: Problem, seed: int, config: Config) -> None:
        self.config, self.known, self.device = config, dict(problem.known), problem.device
        shape = problem.observation_space.shape
        assert shape is not None
        self.actions = ActionVectors(problem.action_space, problem.device)
        # Two streams, so that the length of a training never moves what is tried in the environment.
        self.acting = torch.Generator(problem.device).manual_seed(2 * seed)
        self.training = torch.Generator(problem.device).manual_seed(2 * seed + 1)
        self.model = DynamicsModel(
            shape[0],
            self.actions.size,
            config.hidden,
            self.training,
            reward="reward" not in self.known,
            termination="termination" not in self.known,
        )
        # Fused: an update of this small network is otherwise mostly Adam's own bookkeeping.
        self.optimiser = torch.optim.Adam(
            self.model.network.parameters(), config.learning_rate, fused=problem.device == "cpu" or None
        )
        self.replay = Replay(problem.budget, shape, self.actions.size)
        self.updates = 0
        self.fitted = False
        self.heed_ends = "termination" in self.known  # else from the first training on whose data have a true end
        self.planner = planner(self.actions, config)
        self.controller = self._controller()

    def learn(self, door: Door, report: Report) -> None:
        """Algorithm 1: random rollouts, then rounds of training and acting."""
        env = door.open()
        obs, _ = env.reset()
        metrics = None
        while True:
            report(metrics)
            vector = self.controller.plan(obs, self.planner, self.acting)
            if self.fitted:
                vector = self.actions.disturb(vector, self.config.action_noise, self.acting)
            action = self.actions.decode(vector)
            next_obs, reward, terminated, truncated, _ = env.step(action)
            self.replay.add(obs, self.actions.encode(action), float(reward), next_obs, terminated)
            metrics = self.fit() if self._round_ends() else None
            if terminated or truncated:
                self.planner.forget()
                next_obs, _ = env.reset()
            obs = next_obs

    def _round_ends(self) -> bool:
        since = self.replay.added - self.config.random_steps
        return since >= 0 and since % self.config.steps_per_round == 0

    def fit(self) -> dict[str, float]:
        """Train on all data so far, starting from the weights that there are; the mean losses."""
        data = {name: tensor.to(self.device) for name, tensor in self.replay.tensors().items()}
        inputs, targets = self.model.raw(data)
        if not self.fitted:  # the statistics of the random data are kept for good, as in the code
            self.model.inputs, self.model.targets = Normaliser.fit(inputs), Normaliser.fit(targets)
        inputs, targets = self.model.inputs(inputs), self.model.targets(targets)
        ends = data["terminated"].float()
        self.heed_ends = self.heed_ends or bool(ends.any())
        batches = ceil(len(inputs) / self.config.batch_size)
        sums: dict[str, Tensor] = {}
        for _ in range(self.config.epochs):
            rows = self._draw_batches(batches, len(inputs))
            for x, y, end in zip(self._noisy(inputs[rows]), self._noisy(targets[rows]), ends[rows], strict=True):
                losses = self.model.losses(x, y, end)
                self.optimiser.zero_grad()
                torch.autograd.backward(list(losses.values()))
                self.optimiser.step()
                for name, loss in losses.items():
                    sums[name] = sums.get(name, 0.0) + loss.detach()
        self.updates += batches * self.config.epochs
        self.fitted = True
        self.controller = self._controller()
        return {f"loss/{name}": float(total) / (batches * self.config.epochs) for name, total in sums.items()}

    def _noisy(self, clean: Tensor) -> Tensor:
        noise = torch.randn(clean.shape, generator=self.training, device=self.device)
        return noise.mul_(self.config.data_noise).add_(clean)

    def _draw_batches(self, batches: int, total: int) -> Tensor:
        """Rows ``[batches, B]`` of the data: random ones first, then on-policy ones in their share."""
        at_random = min(self.config.random_steps, total)
        size = min(self.config.batch_size, total)
        on_policy = min(total - at_random, int(size * self.config.on_policy_share))
        return torch.cat(
            [
                torch.randint(low, high, (batches, count), generator=self.training, device=self.device)
                for low, high, count in ((0, at_random, size - on_policy), (at_random, total, on_policy))
                if count
            ],
            1,
        )

    def _controller(self) -> Controller:
        config = self.config
        objective = Objective(
            known=self.known,
            discount=config.discount,
            heed_ends=self.heed_ends,
            cost_limit=config.cost_limit,
            cost_penalty=config.cost_penalty,
        )
        imagination = Imagination(self.model.folded(), self.model.obs_size) if self.fitted else None
        return Controller(imagination, self.actions, objective)

    def policy(self, mode: PolicyMode) -> ControllerPolicy:
        """The controller without action noise, for either mode: it has no distribution to sample from."""
        own = planner(self.actions, self.config)
        return ControllerPolicy(self._controller(), own, torch.Generator(self.device))

    def world_model(self) -> ImaginedWorld | None:
        """Of no use for imagined returns: planning in every step of them would cost more than the trial."""
        if not self.fitted:
            return None
        return ImaginedWorld(self.model, self.actions, known=self.known, ends=self.heed_ends)

    def save(self, folder: Path) -> None:
        state = {
            "model": self.model.state(),
            "optimiser": self.optimiser.state_dict(),
            "replay": self.replay.state(),
            "planner": self.planner.state(),
            "acting": self.acting,
            "training": self.training,
            "updates": self.updates,
            "fitted": self.fitted,
            "heed_ends": self.heed_ends,
        }
        saving.write(folder, state)

    def load(self, folder: Path) -> None:
        state = saving.read(folder)
        self.model.restore(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.replay.restore(state["replay"])
        self.planner.restore(state["planner"])
        self.acting.set_state(state["acting"])
        self.training.set_state(state["training"])
        self.updates, self.fitted, self.heed_ends = state["updates"], state["fitted"], state["heed_ends"]
        self.controller = self._controller()


class Controller:
    """Section IV-C: the first action of the best imagined sequence. Random until a model was trained."""

    def __init__(self, imagination: Imagination | None, actions: ActionVectors, objective: Objective) -> None:
        self.imagination, self.actions, self.objective = imagination, actions, objective

    @torch.inference_mode()
    def plan(self, obs: Any, planner: Planner, generator: torch.Generator) -> Float[Tensor, " A"]:
        if self.imagination is None:
            return self.actions.draw(1, 1, generator)[0, :, 0]
        start = torch.as_tensor(np.asarray(obs, np.float32), device=generator.device)
        return planner.plan(lambda sequences: self.returns(start, sequences), generator)[0]

    def returns(self, start: Float[Tensor, " D"], sequences: Float[Tensor, "H A K"]) -> Float[Tensor, " K"]:
        """What the model promises for each sequence; rewards and ends are the suite's where granted."""
        assert self.imagination is not None
        states, others = self.imagination.rollout(start, sequences)
        known = self.objective.known
        rewards = None if "reward" in known else others[:, 0]
        cont = None if "termination" in known else torch.sigmoid(-others[:, -1])
        return self.objective.scores(states, sequences, rewards, cont)


class ControllerPolicy:
    """A controller with a planner and a random stream of its own."""

    def __init__(self, controller: Controller, planner: Planner, generator: torch.Generator) -> None:
        self.controller, self.planner, self.generator = controller, planner, generator

    def reset(self, seed: int) -> None:
        self.generator.manual_seed(seed)
        self.planner.forget()

    def act(self, obs: Any) -> Any:
        return self.controller.actions.decode(self.controller.plan(obs, self.planner, self.generator))


def make(problem: Problem, seed: int, **config: Any) -> MBMPC:
    space = problem.observation_space
    if not (isinstance(space, Box) and len(space.shape) == 1):
        raise ValueError(
            f"mb_mpc models vectors and needs a one-dimensional Box observation space, but {problem.env_id} "
            f"has {space}; take an environment that observes its state, or an agent for images"
        )
    settings = Config(**config)
    if settings.random_steps >= problem.budget:
        raise ValueError(
            f"mb_mpc would act at random to the end: expected random_steps below the budget of "
            f"{problem.budget} steps, found {settings.random_steps}; lower random_steps (and steps_per_round)"
        )
    return MBMPC(problem, seed, settings)
