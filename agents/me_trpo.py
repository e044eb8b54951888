"""ME-TRPO: trust-region policy optimisation on what an ensemble of models imagines (Kurutach et al. 2018).

"Model-Ensemble Trust-Region Policy Optimization", arXiv 1802.10592; numbers after the authors' code, thanard/me-trpo at
7dad9cd. In turns (algorithm 2): the policy acts in the environment; all models are trained on all data; the policy is
improved by TRPO on episodes imagined with a random member of the ensemble in each step (section 4.2), for as long as it
improves in enough members, each for itself (section 4.3). So a policy that exploits one model's mistakes is stopped.

Deviations
----------
* The paper knows the reward. Here that holds if the suite grants ``reward``; else it is one more output of the models.
  The same for ``termination``, which is else a logit beside them, by which ends are drawn; in validation an imagined
  episode goes on with the probability that it does.
* Imagined episodes begin where real ones began that were lived through (``starts: "any"``: at any state). The code
  resets the simulator as often as it likes, for 500 states of validation too.
* Real episodes last as long as the environment lets them. The code cuts them at the imagined horizon.
* In the environment the policy's own samples act, as the paper says, with parameters perturbed for each episode. The
  code adds noise of up to three half-ranges of the actions to the mean instead: ``action_noise``.
* An imagined episode that ends makes room for a new one, so that each step has as many; one that runs when the batch
  is full is cut there and followed by the baseline's value. A prediction that is not finite cuts an episode.
* Imagined states and learned rewards are kept to the range of real ones, states as far again beyond it on either side:
  in a hundred steps a network that left its data grows without bound, and one such return outweighs all others.
* The networks' weights and their optimiser go on from one iteration to the next. (The code draws the weights anew in
  every fifth, and begins with a new optimiser in each.) What is kept aside to stop a training by is drawn anew in each.
  (The code keeps the first third of each iteration's data aside for good.) Weights are kept if they are 1 % better.
* The first policy is orthogonal, with a last layer near 0.
* An input that never varied in the data has no say in the model until it does: its weights are 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from agents.parts import saving
from agents.parts.actions import ActionVectors
from agents.parts.ensemble import Ensemble, EnsembleConfig, Sampled
from agents.parts.gaussian_actor import GaussianActor, UnitActions
from agents.parts.gaussian_policy import GaussianPolicy
from agents.parts.imagined import ImaginedWorld
from agents.parts.replay import Replay
from agents.parts.rollout import advantages, normalised
from agents.parts.spaces import bounded_actions, observed_vector
from agents.parts.trpo import LinearBaseline, TRPOConfig, parameters_of, set_parameters, trust_region_step
from agents.protocol import Door, PolicyMode, Problem, Report, WorldModel

ACTIONS = ("continuous",)
OBSERVATIONS = ("vector",)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Defaults: the authors' code for Hopper (params/params-hopper.json); see `PUBLISHED` for what else they ran."""

    steps_per_iteration: int = 3_000  # real steps between trainings
    param_noise: float = 3.0  # of the policy's last change in each parameter, standard deviation, per real episode
    action_noise: float | None = None  # most noise on the mean action, of half its range (code: 3); None: the policy's
    # The models
    members: int = 5  # networks
    hidden: tuple[int, ...] = (1024, 1024)  # units of each hidden layer, ReLU
    model_learning_rate: float = 1e-3  # Adam
    model_batch_size: int = 1_000  # transitions per member
    holdout: float = 1 / 3  # share of the data kept aside
    patience: int = 25  # epochs for which no member's hold-out error fell
    model_epochs: int = 2_000  # of a training at most
    # The policy
    policy_hidden: tuple[int, ...] = (32, 32)  # units, tanh
    init_std: float = 1.0  # of half the action range; each iteration begins with it
    horizon: int = 100  # steps of an imagined episode
    imagined_steps: int = 50_000  # per update of the policy
    discount: float = 1.0  # per step
    lam: float = 1.0  # trace weight of the advantage; 1: returns less the baseline
    max_kl: float = 0.01  # nats, of an update
    starts: Literal["episodes", "any"] = "episodes"  # where imagined episodes begin
    # When to stop (section 4.3)
    validate_every: int = 5  # updates of the policy
    validation_starts: int = 500  # imagined episodes in each member
    share: float = 0.7  # of the members in which the policy has to be better than when it last was kept
    tolerance: int = 25  # updates for which it may fail to be
    max_updates: int = 400  # per iteration


PUBLISHED: dict[str, dict[str, Any]] = {"Swimmer-v5": {"hidden": (512, 512), "horizon": 200}}


class METRPO:
    def __init__(self, problem: Problem, seed: int, config: Config) -> None:
        self.config, self.known, self.device = config, dict(problem.known), problem.device
        obs_size = observed_vector(problem, "me_trpo")
        bounded_actions(problem, "me_trpo", "policy is Gaussian")
        self.actions = ActionVectors(problem.action_space, problem.device)
        self.scale = UnitActions(self.actions)
        # A stream for each purpose, so that the length of one never moves the others.
        self.acting, self.fitting, self.imagining, drawing = (
            torch.Generator(problem.device).manual_seed(4 * seed + i) for i in range(4)
        )
        self.ensemble = Ensemble(
            obs_size,
            self.actions.size,
            EnsembleConfig(
                members=config.members,
                elites=config.members,
                hidden=config.hidden,
                activation="relu",
                probabilistic=False,
                learning_rate=config.model_learning_rate,
                weight_decay=0.0,
                batch_size=config.model_batch_size,
                holdout=config.holdout,
                max_holdout=problem.budget,
                patience=config.patience,
                max_epochs=config.model_epochs,
                bootstrap=False,
                normalise_targets=True,
                initial="glorot",
            ),
            self.fitting,
            reward="reward" not in self.known,
            termination="termination" not in self.known,
        )
        self.log_std = float(np.log(config.init_std))
        self.policy_net, self.explorer = (
            GaussianPolicy(
                obs_size, self.actions.size, drawing, hidden=config.policy_hidden, log_std=self.log_std
            ).requires_grad_(False)
            for _ in range(2)
        )
        set_parameters(self.explorer, parameters_of(self.policy_net))
        self.change = torch.zeros_like(parameters_of(self.policy_net))  # by the last iteration that made any
        self.baseline = LinearBaseline(obs_size, problem.device)
        self.trpo = TRPOConfig(max_kl=config.max_kl)
        self.replay = Replay(problem.budget, (obs_size,), self.actions.size)
        self.first = torch.zeros(problem.budget, dtype=torch.bool)  # whether a real step was its episode's first
        self.begins = True
        self.reach: Reach | None = None  # None until the models are trained
        self.policy_updates = 0

    def learn(self, door: Door, report: Report) -> None:
        """Algorithm 2: collect, train all models, improve the policy, and so on."""
        env = door.open()
        obs, _ = env.reset()
        metrics = None
        while True:
            report(metrics)
            if self.begins:
                self._perturb()
            action = self.explore(obs)
            next_obs, reward, terminated, truncated, _ = env.step(action)
            self.first[self.replay.added] = self.begins
            self.replay.add(obs, action, float(reward), next_obs, terminated)
            self.begins = bool(terminated or truncated)
            metrics = None
            if self.replay.added % self.config.steps_per_iteration == 0:
                metrics = self.fit_models() | self.improve_policy()
            obs = env.reset()[0] if self.begins else next_obs

    def _perturb(self) -> None:
        """Parameters for the next real episode: the more changed by the last improvement, the more perturbed."""
        noise = torch.randn(self.change.shape, generator=self.acting, device=self.device)
        set_parameters(self.explorer, parameters_of(self.policy_net) + self.config.param_noise * self.change * noise)

    def explore(self, obs: Any) -> Any:
        """The action in the environment's form."""
        seen, strength = self._tensor(obs)[None], self.config.action_noise
        if strength is None:
            return self.scale.decode(self.explorer.sample(seen, self.acting)[0])
        noise = torch.randn(1, self.actions.size, generator=self.acting, device=self.device)
        share = torch.rand(1, generator=self.acting, device=self.device)
        return self.scale.decode(self.explorer(seen) + strength * share * noise)

    def fit_models(self) -> dict[str, float]:
        """All members on all data; and how far imagination may go."""
        data = {name: column.to(self.device) for name, column in self.replay.tensors().items()}
        seen, paid = torch.cat([data["obs"], data["next_obs"]]), data["reward"]
        least, most = seen.amin(0), seen.amax(0)
        self.reach = Reach(least - (most - least), most + (most - least), paid.min(), paid.max())
        return {f"model/{name}": value for name, value in self.ensemble.fit(data).items()}

    def improve_policy(self) -> dict[str, float]:
        """Section 4.3: updates for as long as the policy gets better in enough members; the best one is kept."""
        config, policy = self.config, self.policy_net
        begin = parameters_of(policy)
        policy.log_std.fill_(self.log_std)
        pool = self.start_states()
        starts = self._drawn(pool, config.validation_starts)
        phase = PolicyPhase(config, parameters_of(policy), self.validate(starts))
        found: dict[str, float] = {}
        while not phase.over:
            found = self.update_policy(pool)
            phase.updates += 1
            if phase.due:
                phase.check(parameters_of(policy), self.validate(starts))
        set_parameters(policy, phase.best)
        self.policy_updates += phase.updates
        if phase.kept_at:
            self.change = phase.best - begin
            self.change[: self.actions.size] = 0.0  # the deviations, which the code does not perturb
        self.explorer_follows()
        return {f"policy/{name}": value for name, value in (found | phase.metrics()).items()}

    def explorer_follows(self) -> None:
        """The running episode goes on with the new policy, perturbed from the next episode on."""
        set_parameters(self.explorer, parameters_of(self.policy_net))

    def update_policy(self, pool: Float[Tensor, "M D"]) -> dict[str, float]:
        """Section 4.2: one trust-region step on imagined episodes."""
        config = self.config
        batch = self.imagine(pool)
        value = self.baseline(batch.obs, batch.time)
        last = self.baseline(batch.last_obs, batch.last_time)
        given = (batch.reward, value, last, batch.terminated, batch.truncated, torch.zeros_like(value))
        advantage = advantages(*given, config.discount, config.lam)
        returns = advantages(*given, config.discount, 1.0) + value
        self.baseline.fit(batch.obs, batch.time, returns)
        rows = (batch.obs.flatten(0, 1), batch.action.flatten(0, 1), normalised(advantage.flatten()))
        return trust_region_step(self.policy_net, *rows, self.trpo)

    def imagine(self, pool: Float[Tensor, "M D"]) -> Imagined:
        """``imagined_steps`` steps of the policy, a random member moving each; episodes of at most ``horizon`` steps.

        All begin together and last for one horizon; where one ends early, another begins.
        """
        config, generator = self.config, self.imagining
        steps, count = config.horizon, max(1, config.imagined_steps // config.horizon)
        obs, time = self._drawn(pool, count), torch.zeros(count, device=self.device)
        rows: list[tuple[Tensor, ...]] = []
        for _ in range(steps):
            action, _ = self.policy_net.sample(obs, generator)
            step = self._step(obs, self.scale.bounded(action))
            assert step.reward is not None
            assert step.termination is not None
            ended = torch.rand(count, generator=generator, device=self.device) < step.termination
            finite = step.next_obs.isfinite().all(1) & step.reward.isfinite()
            cut = ~ended & (~finite | (time + 1 >= steps))
            rows.append((obs, action, torch.where(finite, step.reward, 0.0), ended, cut, time))
            over = (ended | cut).nonzero()[:, 0]
            obs = step.next_obs.index_copy(0, over, self._drawn(pool, len(over)))
            time = (time + 1.0).index_fill(0, over, 0.0)
        columns = [torch.stack(column) for column in zip(*rows, strict=True)]
        return Imagined(*columns, last_obs=obs, last_time=time)

    def validate(self, starts: Float[Tensor, "S D"]) -> Float[Tensor, " E"]:
        """eta(theta; phi_i): the return of the policy's mean in each member alone, from the same states.

        One that is not finite is the worst: a model that diverges promises nothing.
        """
        members = self.config.members
        member = torch.arange(members, device=self.device).repeat_interleave(len(starts))
        obs = starts.repeat(members, 1)
        total, alive = torch.zeros(len(obs), device=self.device), torch.ones(len(obs), device=self.device)
        for t in range(self.config.horizon):
            step = self._step(obs, self.scale.bounded(self.policy_net(obs)), member)
            assert step.reward is not None
            assert step.termination is not None
            total += alive * self.config.discount**t * step.reward
            alive = alive * (1.0 - step.termination)
            obs = step.next_obs
        worst = -torch.inf
        return total.view(members, -1).mean(1).nan_to_num(nan=worst, posinf=worst, neginf=worst)

    def _step(self, obs: Float[Tensor, "B D"], action: Float[Tensor, "B A"], member: Tensor | None = None) -> Sampled:
        """One imagined step, with what the suite granted in place of what the model says."""
        step = self.ensemble.sample(obs, action, self.imagining, member)
        assert self.reach is not None
        step = step._replace(next_obs=step.next_obs.clamp(self.reach.low, self.reach.high))
        if step.reward is not None:
            step = step._replace(reward=step.reward.clamp(self.reach.least, self.reach.most))
        for name in ("reward", "termination"):
            if name in self.known:
                step = step._replace(**{name: self.known[name](obs, action, step.next_obs).float()})
        return step

    def start_states(self) -> Float[Tensor, "M D"]:
        """The real states at which imagined episodes may begin."""
        held = self.replay.tensors()["obs"]
        return (held[self.first[: len(held)]] if self.config.starts == "episodes" else held).to(self.device)

    def _drawn(self, pool: Float[Tensor, "M D"], count: int) -> Float[Tensor, "N D"]:
        return pool[torch.randint(len(pool), (count,), generator=self.imagining, device=self.device)]

    def _tensor(self, values: Any) -> Tensor:
        return torch.as_tensor(np.asarray(values, np.float32), device=self.device)

    @property
    def updates(self) -> int:
        return self.ensemble.updates + self.policy_updates

    def policy(self, mode: PolicyMode) -> GaussianActor:
        return GaussianActor(self.policy_net, self.scale, mode == "sample")

    def world_model(self) -> WorldModel | None:
        """The ensemble, in which the policy's mean acts; None until it is fitted."""
        if self.ensemble.updates == 0:
            return None
        act = lambda obs, _: self.scale.bounded(self.policy_net(obs))
        return ImaginedWorld(self.ensemble, self.actions, act=act, known=self.known)

    def save(self, folder: Path) -> None:
        state = {
            "ensemble": self.ensemble.state(),
            "policy": parameters_of(self.policy_net),
            "explorer": parameters_of(self.explorer),
            "change": self.change,
            "baseline": self.baseline.state(),
            "reach": None if self.reach is None else list(self.reach),
            "replay": self.replay.state(),
            "first": self.first[: len(self.replay)],
            "begins": self.begins,
            "policy_updates": self.policy_updates,
            "generators": [self.acting, self.fitting, self.imagining],
        }
        saving.write(folder, state)

    def load(self, folder: Path) -> None:
        state = saving.read(folder)
        self.ensemble.restore(state["ensemble"])
        set_parameters(self.policy_net, state["policy"])
        set_parameters(self.explorer, state["explorer"])
        self.change = state["change"].to(self.device)
        self.baseline.restore(state["baseline"])
        self.reach = None if state["reach"] is None else Reach(*(bound.to(self.device) for bound in state["reach"]))
        self.replay.restore(state["replay"])
        self.first[: len(self.replay)] = state["first"]
        self.begins, self.policy_updates = state["begins"], state["policy_updates"]
        for generator, saved in zip((self.acting, self.fitting, self.imagining), state["generators"], strict=True):
            generator.set_state(saved)


class Reach(NamedTuple):
    """What imagination is kept to."""

    low: Float[Tensor, " D"]  # of states
    high: Float[Tensor, " D"]
    least: Float[Tensor, ""]  # of learned rewards
    most: Float[Tensor, ""]


class Imagined(NamedTuple):
    """T steps of N imagined episodes side by side. Actions are the policy's own, unbounded."""

    obs: Float[Tensor, "T N D"]
    action: Float[Tensor, "T N A"]
    reward: Float[Tensor, "T N"]
    terminated: Bool[Tensor, "T N"]
    truncated: Bool[Tensor, "T N"]  # at the horizon, after which nothing counts
    time: Float[Tensor, "T N"]  # steps since the episode's beginning
    last_obs: Float[Tensor, "N D"]  # what the last step led to, or the start of a new episode
    last_time: Float[Tensor, " N"]


class PolicyPhase:
    """When to stop improving a policy in a fixed ensemble, and which policy to keep (section 4.3).

    ``returns [E]`` are the policy's in each member. It is kept if at least ``share`` of them are above those of the one
    that was last kept; it may fail to be for ``tolerance`` updates.
    """

    def __init__(self, config: Config, best: Float[Tensor, " P"], returns: Float[Tensor, " E"]) -> None:
        self.config, self.best, self.returns = config, best, returns
        self.before = returns
        self.updates = 0  # since the phase began
        self.kept_at = 0  # updates after which `best` was found

    @property
    def due(self) -> bool:
        return self.updates % self.config.validate_every == 0

    @property
    def over(self) -> bool:
        waited = self.due and self.updates - self.kept_at >= self.config.tolerance
        return waited or self.updates >= self.config.max_updates

    def check(self, parameters: Float[Tensor, " P"], returns: Float[Tensor, " E"]) -> bool:
        """Whether this policy is kept."""
        if not improves(self.returns, returns, self.config.share):
            return False
        self.best, self.returns, self.kept_at = parameters, returns, self.updates
        return True

    def metrics(self) -> dict[str, float]:
        before, after = float(self.before.mean()), float(self.returns.mean())
        counts = {"updates": float(self.updates), "kept_at": float(self.kept_at)}
        return counts | {"return_before": before, "return_after": after}


def improves(old: Float[Tensor, " E"], new: Float[Tensor, " E"], share: float) -> bool:
    """Whether ``new`` is above ``old`` in at least ``share`` of the members."""
    return int((new > old).sum()) >= share * len(old) - 1e-9


def make(problem: Problem, seed: int, **config: Any) -> METRPO:
    settings = Config(**{**PUBLISHED.get(problem.env_id, {}), **config})
    if not 2 <= settings.steps_per_iteration <= problem.budget:
        raise ValueError(
            f"me_trpo would never train: expected steps_per_iteration of at least 2 and at most the budget of "
            f"{problem.budget} steps, found {settings.steps_per_iteration}; lower it"
        )
    if settings.validate_every < 1:
        raise ValueError(f"expected validate_every of at least 1 update, found {settings.validate_every}")
    if not 0.0 < settings.share <= 1.0:
        raise ValueError(f"expected a share of the members above 0 and at most 1, found {settings.share}")
    return METRPO(problem, seed, settings)
