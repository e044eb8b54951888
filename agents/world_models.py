"""World Models: vision V, memory M, a small controller C, and dreams to train it in (Ha & Schmidhuber 2018).

"World Models", arXiv 1803.10122; numbers after the authors' code, hardmaru/WorldModelsExperiments, where paper and
code differ. Random policies play and are recorded (section 3, step 1); V, a variational autoencoder, learns to
compress each frame into z (step 2); M, an LSTM with a mixture density, learns P(z' | a, z, h) (step 3); C, linear in
[z h], is evolved by CMA-ES towards the return of whole episodes (step 4): in the environment (CarRacing, section 3)
or in M's dreams alone (Take Cover, section 4), where the temperature says how uncertain M is to be. Further, as the
paper tries or proposes it: V alone (table 1), the iterative procedure and curiosity (section 5), V trained together
with M's prediction of the reward (section 6), and a policy-gradient learner in place of CMA-ES or after it.

Deviations
----------
* Frames are fed as they are. The code stretches each to full contrast and feeds (1 - x) 255 of bytes x, modulo 256:
  x - 1, with black turned white.
* M of Take Cover is told the executed action as -1, 0 or 1; the code passes the number before it is cut.
* z is drawn anew for each use of a frame; the code draws once per batch for input and target.
* A sequence for an M without a done head lies inside one episode, and begins anywhere in it, often where it does; in
  the code each is a whole episode. Other sequences begin with h = 0; Doom's code carries h and c from batch to batch.
* What the done head learns of an episode's last step: 0 where a time limit or the end of recording cut it off, for
  that is no death; in the code 1, as at a death. The frame at a death is M's target; in the code the next episode's.
* CarRacing's code records 1,000 frames of every episode, and goes on after the car left the field; here that ends the
  episode. Doom's code drops recordings of up to 100 frames; here all are kept.
* Recording is counted in steps, not in episodes. C is the last mean; `test_every: 25` keeps the best, as the code does.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from gymnasium.spaces import Box
from torch import Tensor

from agents.parts import collecting, saving
from agents.parts.controllers import ActionMap, Controller
from agents.parts.dream_games import DreamGames
from agents.parts.evolution import Evolution
from agents.parts.games import Games
from agents.parts.latent_training import encode, images, memory_losses, reward_loss
from agents.parts.latent_world import LatentWorld
from agents.parts.mdn_rnn import MDNRNN
from agents.parts.mind import Driver, Explorer, Mind
from agents.parts.practice import GAMES, Practice
from agents.parts.recorder import Recorder
from agents.parts.recording import Recording
from agents.parts.vae import VAE
from agents.parts.world_settings import refuse_impossible
from agents.protocol import Door, Phase, PolicyMode, Problem, Report

ACTIONS = ("discrete", "continuous")
OBSERVATIONS = ("image",)


@dataclass(frozen=True, kw_only=True)
class Config:
    """The defaults are those of the released code for CarRacing; `PUBLISHED` holds those for other families."""

    # Recording
    random_policy: Literal["cauchy", "brownian", "held", "held_long", "uniform"] = "cauchy"  # code; brownian: ctallec's
    random_steps: int = 10_000_000  # steps; 10,000 episodes of 1,000. In a dream-trained agent: the whole budget
    recorders: int = 1  # environments stepped together meanwhile
    # V
    latent: int = 32  # z; code
    vision_epochs: int = 10  # passes over all frames; code (draft: 1)
    vision_batch: int = 100  # frames; code
    vision_learning_rate: float = 1e-4  # Adam; code
    vision_precision: Literal["float32", "bfloat16"] = "float32"  # of convolutions; bfloat16 is slow without AVX-512
    reward_weight: float = 0.0  # of M's reward loss, 1 or so at first, in V's training; section 6, without a number
    # M
    hidden: int = 256  # units of the LSTM; code
    memory_updates: int = 4000  # code; 0: M stays as it was drawn, a control
    memory_batch: int = 100  # sequences; code
    sequence: int = 999  # steps; code
    memory_learning_rate: float = 1e-3  # Adam; code
    memory_decay: float = 1.0  # of the learning rate, per update; code
    memory_floor: float = 1e-5  # least learning rate; code
    clip: float = 1.0  # of each component of the gradient; code
    done: bool = False  # M predicts the episode's end
    reward: bool = False  # M predicts the reward
    # C
    sees: Literal["z", "zh", "zhc"] = "zh"  # table 1
    controller_hidden: int = 0  # units of a tanh layer; 40 in table 1's ablation
    bias: bool = True  # of C; code (Take Cover: none)
    learn_in: Literal["reality", "dream"] = "reality"
    learner: Literal["cma", "ppo"] = "cma"  # ppo: in dreams only
    temperature: float = 1.0  # of the dream
    time_limit: int = 2100  # steps of a dream; section 4
    population: int = 64  # candidates of a generation; appendix
    rollouts: int = 16  # episodes per candidate, the same ones for all; appendix (the code: for pairs of candidates)
    games: int = 64  # real environments stepped together
    sigma: float = 0.1  # first standard deviation of the parameters; code
    diagonal: bool = False  # separable CMA-ES: as good a search here, at a 25th of the cost
    generations: int = 1800  # appendix; fewer where the budget ends them
    test_every: int = 0  # generations between tests of the mean, of which the best is kept; code: 25. 0: the last mean
    test_rollouts: int = 1024  # episodes of a test, charged if real; code
    dream_steps: int = 10_000_000  # of PPO in the dream
    # What the paper proposes beyond that
    rounds: int = 1  # of recording (by C after the first), training V and M, and dreaming; section 5
    curious_generations: int = 0  # of each later round, before it is recorded: towards M's surprise; section 5
    finetune_steps: int = 0  # real steps of PPO that go on from C


PUBLISHED: dict[str, dict[str, Any]] = {
    "take_cover": {
        "random_policy": "held",
        "latent": 64,
        "hidden": 512,
        "memory_updates": 24_400,  # 400 epochs of about 61 batches
        "sequence": 500,
        "memory_decay": 0.99999,
        "done": True,
        "sees": "zhc",
        "bias": False,
        "learn_in": "dream",
        "temperature": 1.15,
    },
}

# What the phases up to the end of V's and of M's training depend on, for other trials to take them over.
VISION = ("random_policy", "recorders", "latent", "vision_epochs", "vision_batch", "vision_learning_rate",
          "vision_precision", "reward_weight")  # fmt: skip
MEMORY = (*VISION, "hidden", "memory_updates", "memory_batch", "sequence", "memory_learning_rate", "memory_decay",
          "memory_floor", "clip", "done", "reward")  # fmt: skip

TESTS, WONDERING = 2**29, 2**28  # first common episodes of tests and of wondering, beyond those of generations


class WorldModels:
    def __init__(self, problem: Problem, seed: int, config: Config) -> None:
        self.config, self.problem, self.seed = config, problem, seed
        self.actions = ActionMap(problem.action_space, problem.family)
        names = ("vision", "memory", "acting", "learning")
        streams = [torch.Generator(problem.device).manual_seed(16 * seed + number) for number in range(len(names))]
        self.generators = dict(zip(names, streams, strict=True))
        self.vae = VAE(config.latent, self.generators["vision"], getattr(torch, config.vision_precision))
        sizes, heads = (config.latent, self.actions.told, config.hidden), {"done": config.done, "reward": config.reward}
        self.memory = MDNRNN(*sizes, self.generators["memory"], **heads)
        self.seen = config.latent + config.hidden * (len(config.sees) - 1)  # numbers that C sees
        self.controller = Controller(self.seen, self.actions.size, hidden=config.controller_hidden, bias=config.bias)
        self.evolution, self.wondering = self._evolution(0), self._evolution(1)
        self.parameters = self.evolution.mean  # of the C that is the agent's policy
        self.tested, self.best_tested = 0, -np.inf
        self.dreams = DreamGames(
            memory=self.memory,
            controller=self.controller,
            actions=self.actions,
            seen=self.seen,
            temperature=config.temperature,
            time_limit=config.time_limit,
        )
        self.games = Games(self._mind, self.controller, self.actions)
        self.practice = Practice(self.seen, self.actions, self.generators["learning"])  # in C's place, if wanted
        self.recording = Recording(problem.workspace, (64, 64, 3), self.actions.told)
        self.recorder = Recorder(self.recording, self.actions, self._rng("record"))
        self.updates = 0
        self.phases = self._plan()
        self.at = 0  # place among the phases
        self.doing: dict[str, Any] = {}  # what the phase under way has to remember

    def _evolution(self, number: int) -> Evolution:
        settings = {name: getattr(self.config, name) for name in ("population", "sigma", "diagonal")}
        return Evolution(self.controller.size, seed=2 * self.seed + number, **settings)

    def _plan(self) -> list[tuple[str, int]]:
        """Section 3's procedure, and section 5's repetition of it."""
        config = self.config
        learn = f"evolve_in_{config.learn_in}" if config.learner == "cma" else "practise_in_dream"
        phases: list[tuple[str, int]] = []
        for number in range(config.rounds):
            wonder = ["wonder"] if number and config.curious_generations else []
            phases += [(name, number) for name in (*wonder, "record", "fit_vision", "fit_memory", learn)]
        return [*phases, ("finetune", 0)] if config.finetune_steps else phases

    def learn(self, door: Door, report: Report) -> None:
        while self.at < len(self.phases):
            phase, round_ = self.phases[self.at]
            getattr(self, phase)(round_, door, report)
            self.at, self.doing = self.at + 1, {}

    # -- recording, by random policies or by C (sections 3 and 5) -----------------------------------------------------

    def record(self, round_: int, door: Door, report: Report) -> None:
        until = self._steps_recorded(round_, door.budget)
        tell: Callable[[], None] = lambda: report(phase=Phase("record", door.steps, until), unchanged=True)
        tell()
        if round_ == 0 and not self.recorder.games and self._found(door, "vision"):
            self.at += 1  # V is trained
            return
        while (left := until - door.steps) > 0:
            games = self.recorder.games or min(self.config.recorders, left)
            more = lambda games=games: until - door.steps >= games
            env = door.open(games)
            self.recorder.play(env, [self._player(round_) for _ in range(games)], round_ > 0, more, tell)
            env.close()

    def _steps_recorded(self, round_: int, budget: int) -> int:
        """Real steps after which the round's recording ends: dreams need no others, so they are all for M."""
        if self.config.learn_in == "reality":
            return min(self.config.random_steps, budget)
        return (budget - self.config.finetune_steps) * (round_ + 1) // self.config.rounds

    def _player(self, round_: int) -> Any:
        """Who plays to be recorded: at first a random policy, then C with the spread that evolution left it."""
        if round_ == 0:
            return collecting.policy(self.config.random_policy, self.problem.action_space, self.problem.family)
        evolution = self.wondering if self.config.curious_generations else self.evolution
        return Explorer(self._mind(1), self.controller, self.actions, evolution, self.generators["acting"])

    # -- V (section 3, step 2) ----------------------------------------------------------------------------------------

    def fit_vision(self, round_: int, door: Door, report: Report) -> None:
        config, recording, device = self.config, self.recording, self.problem.device
        per_epoch = max(1, recording.count // config.vision_batch)
        total = per_epoch * config.vision_epochs
        taught = [*self.vae.parameters(), *(self.memory.parameters() if config.reward_weight else ())]
        optimiser = self._optimiser(taught, config.vision_learning_rate)
        stream, order = recording.stream(), np.zeros(0, np.int64)
        self.memory.reward_unit.fill_(recording.reward_spread())
        metrics: dict[str, float] | None = None
        for update in range(self.doing.get("update", 0), total):
            self.doing = {"update": update, "optimiser": optimiser.state_dict()}
            report(metrics, phase=Phase("fit vision", update, total), unchanged=True)
            epoch, place = divmod(update, per_epoch)
            if place == 0 or not len(order):
                order = self._rng("vision", round_, epoch).permutation(recording.count)
            rows = np.sort(order[place * config.vision_batch : (place + 1) * config.vision_batch])
            losses = self.vae.losses(images(recording, rows, device), self.generators["vision"])
            if config.reward_weight:
                parts = (self.vae, self.memory, recording, stream, self._rng("reward", round_, update))
                losses["reward"] = config.reward_weight * reward_loss(*parts, self.generators["vision"])
            metrics = self._descend(optimiser, losses, 0.0)
        self.doing = {"update": total}
        tell = lambda row: report(phase=Phase("encode", row, recording.count), unchanged=True)
        encode(self.vae, recording, device, tell)
        self._share(door, "vision")

    # -- M (section 3, step 3) ----------------------------------------------------------------------------------------

    def fit_memory(self, round_: int, door: Door, report: Report) -> None:
        config, recording = self.config, self.recording
        if round_ == 0 and not self.doing and self._found(door, "memory"):
            return
        stream, sizes = recording.stream(), (config.memory_batch, config.sequence)
        self.memory.reward_unit.fill_(recording.reward_spread())
        optimiser = self._optimiser(self.memory.parameters(), config.memory_learning_rate)
        metrics: dict[str, float] | None = None
        for update in range(self.doing.get("update", 0), config.memory_updates):
            self.doing = {"update": update, "optimiser": optimiser.state_dict()}
            report(metrics, phase=Phase("fit memory", update, config.memory_updates), unchanged=True)
            rate = (config.memory_learning_rate - config.memory_floor) * config.memory_decay**update
            optimiser.param_groups[0]["lr"] = config.memory_floor + rate
            rng = self._rng("memory", round_, update)
            losses = memory_losses(self.memory, recording, stream, sizes, rng, self.generators["memory"])
            metrics = self._descend(optimiser, losses, config.clip)
        self.doing = {}
        self.best_tested = -np.inf  # dreams paid otherwise with the V and M of the round before
        self._share(door, "memory")

    # -- C (section 3, step 4) ----------------------------------------------------------------------------------------

    def evolve_in_dream(self, round_: int, door: Door, report: Report) -> None:
        """Section 4: whole generations inside M, which cost no real step.

        No step, no point of a learning curve: what fell due while the round was recorded waits for the C it leads to.
        """
        config, each = self.config, self.config.generations
        last = each * (round_ + 1)
        metrics: dict[str, float] | None = None
        phase: Callable[[int], Phase] = lambda left: Phase("evolve in the dream", each - left, each)
        while (generation := self.evolution.generation) < last:
            report(metrics, phase=phase(last - generation), unchanged=True)
            returns = self._dreamt(self.evolution.ask(), config.rollouts, self._rng("dream", generation))
            metrics = self._told(returns)
            if config.test_every and self.evolution.generation % config.test_every == 0:
                rng = self._rng("dream test", generation)
                self._keep_if_best(float(self._dreamt(self.evolution.mean[None], config.test_rollouts, rng).mean()))
        report(metrics, phase=phase(0))

    def _dreamt(self, candidates: np.ndarray, rollouts: int, rng: np.random.Generator) -> np.ndarray:
        """Returns ``[P R]`` of candidates ``[P n]``, in dreams that begin as recorded episodes did."""
        rows = torch.from_numpy(rng.choice(self.recording.first_rows(), rollouts))
        generator = torch.Generator(self.problem.device).manual_seed(int(rng.integers(2**62)))
        return self.dreams.play(candidates, self.recording.mean[rows], self.recording.logvar[rows], generator)

    def practise_in_dream(self, round_: int, door: Door, report: Report) -> None:
        """PPO in place of evolution: a dream is an environment like any other. Evaluated when it is over."""
        first, device = torch.from_numpy(self.recording.first_rows()), self.problem.device
        mean, logvar = self.recording.mean[first].to(device), self.recording.logvar[first].to(device)
        steps = self.config.dream_steps * (round_ + 1)
        learner, updates = self.practice.ppo, self.practice.updates(steps)
        phase: Callable[[], Phase] = lambda: Phase("practise in the dream", learner.updates, updates)
        tell = lambda told=None: report(told, phase=phase(), unchanged=True)
        self.practice.in_dreams(self.dreams, mean, logvar, steps, tell)
        report(phase=phase())

    def evolve_in_reality(self, round_: int, door: Door, report: Report) -> None:
        """Section 3: every rollout is real, and charged. All candidates of a generation meet the same episodes."""
        config = self.config
        env = door.open(min(config.games, config.population * config.rollouts), autoreset=False)
        metrics: dict[str, float] | None = None

        def play(candidates: np.ndarray, seeds: np.ndarray) -> np.ndarray:
            tell = lambda: report(metrics, phase=Phase("evolve", door.steps, door.budget))
            returns = self.games.play(candidates, seeds, env, tell, self.generators["acting"])
            assert returns is not None
            return returns

        while True:
            generation = self.evolution.generation
            if config.test_every and generation % config.test_every == 0 and self.tested < generation:
                tests = TESTS + np.arange(config.test_rollouts)
                self._keep_if_best(float(play(self.evolution.mean[None], tests).mean()))
            if generation >= config.generations:
                break
            episodes = generation * config.rollouts + np.arange(config.rollouts)
            metrics = self._told(play(self.evolution.ask(), episodes))
        env.close()

    def _told(self, returns: np.ndarray) -> dict[str, float]:
        """The generation is over; its mean is the agent's C until a test decides."""
        scores = returns.mean(1)
        self.evolution.tell(scores)
        self.updates += 1
        if self.best_tested == -np.inf:
            self.parameters = self.evolution.mean
        found = {"generation": self.evolution.generation, "mean": scores.mean(), "best": scores.max()}
        return {name: float(number) for name, number in found.items()}

    def _keep_if_best(self, score: float) -> None:
        self.tested = self.evolution.generation
        if score > self.best_tested:
            self.best_tested, self.parameters = score, self.evolution.mean

    # -- what the paper proposes beyond that (sections 5 and 6) -------------------------------------------------------

    def wonder(self, round_: int, door: Door, report: Report) -> None:
        """Curiosity: a C of its own is evolved, in reality, towards what M did not foresee; then it is recorded.

        At most half of the round's real steps go into its evolution.
        """
        since = self.doing.setdefault("since", self.wondering.generation)
        before = self._steps_recorded(round_ - 1, door.budget)
        until = (before + self._steps_recorded(round_, door.budget)) // 2
        config = self.config
        env = door.open(min(config.games, config.population), autoreset=False)
        tell = lambda: report(phase=Phase("wonder", door.steps - before, until - before))
        while self.wondering.generation - since < config.curious_generations and door.steps < until:
            seeds = np.array([WONDERING + self.wondering.generation])
            enough = lambda playing: door.steps + playing > until
            returns = self.games.play(
                self.wondering.ask(), seeds, env, tell, self.generators["acting"], surprise=True, enough=enough
            )
            if returns is None:
                break
            self.wondering.tell(returns.mean(1))
            self.updates += 1
        env.close()

    def finetune(self, round_: int, door: Door, report: Report) -> None:
        """Reality corrects what the dream got wrong: PPO goes on from C, and sees what C sees."""
        if not self.practice.begun:
            self.practice.take_over(torch.as_tensor(self.parameters, dtype=torch.float32), self.config.bias)
        tell = lambda metrics=None: report(metrics, phase=Phase("fine-tune", door.steps, door.budget))
        self.practice.in_reality(door.open(GAMES), self._mind(GAMES), self.generators["acting"], tell)

    # -- the agent as the runner sees it ------------------------------------------------------------------------------

    def policy(self, mode: PolicyMode) -> Driver:
        """C behind V and M. z is drawn, as in training, and C has one behaviour: both modes are the same."""
        return Driver(self._mind(1), self._head(), self.actions, torch.Generator(self.problem.device))

    def _head(self) -> Callable[[Tensor], Tensor]:
        """From what C sees to C's outputs, as C is now."""
        if self.practice.begun:
            return self.practice.ppo.mean_action
        parameters = torch.as_tensor(self.parameters[None], dtype=torch.float32, device=self.problem.device)
        return lambda features: self.controller.act(parameters, features)

    def world_model(self) -> LatentWorld | None:
        """V and M, once both were trained (or M was to stay untrained)."""
        first_learning = next(i for i, (name, _) in enumerate(self.phases) if name == "fit_memory") + 1
        if self.at < first_learning:
            return None
        head = self._head()
        act = lambda features, index: self.actions.tell(head(features[:, : self.seen]))
        dreams = lambda mean, logvar, generator, steps: self.dreams.dream(act, mean, logvar, generator, steps=steps)
        told = lambda features: self.actions.tell(head(features))
        return LatentWorld(self.vae, self.memory, self.config.sees, self.actions.vectors, told, dreams)

    def _mind(self, count: int) -> Mind:
        return Mind(self.vae, self.memory, self.config.sees, count)

    def _rng(self, *purpose: str | int) -> np.random.Generator:
        """For one purpose, without a state that would have to be saved: the same purpose gives the same numbers."""
        numbers = [zlib.crc32(part.encode()) if isinstance(part, str) else part for part in purpose]
        return np.random.default_rng([self.seed, *numbers])

    def _optimiser(self, parameters: Iterable[torch.nn.Parameter], learning_rate: float) -> torch.optim.Adam:
        optimiser = torch.optim.Adam(parameters, learning_rate, fused=self.problem.device == "cpu" or None)
        if "optimiser" in self.doing:
            optimiser.load_state_dict(self.doing["optimiser"])
        return optimiser

    def _descend(self, optimiser: torch.optim.Optimizer, losses: dict[str, Tensor], clip: float) -> dict[str, float]:
        optimiser.zero_grad()
        torch.autograd.backward(list(losses.values()))
        if clip:
            torch.nn.utils.clip_grad_value_(optimiser.param_groups[0]["params"], clip)
        optimiser.step()
        self.updates += 1
        return {f"loss/{name}": float(loss.detach()) for name, loss in losses.items()}

    # -- phases that other trials share, saving ------------------------------------------------------------------------

    def _key(self, phase: str, budget: int) -> dict[str, Any]:
        names = VISION if phase == "vision" and not self.config.reward_weight else MEMORY
        settings = asdict(self.config)
        return {"steps": self._steps_recorded(0, budget), **{name: settings[name] for name in names}}

    def _found(self, door: Door, phase: str) -> bool:
        """Take over what another trial has left of this phase. With more rounds the frames would be missed."""
        folder = door.recall(phase, self._key(phase, door.budget)) if self.config.rounds == 1 else None
        if folder is not None:
            self._take(folder)
        return folder is not None

    def _share(self, door: Door, phase: str) -> None:
        if self.config.rounds > 1:
            return
        streams = ("vision", "acting", "memory") if phase == "memory" else ("vision", "acting")
        learned = phase == "memory" or self.config.reward_weight  # together with V, section 6
        state = self._shared(streams) | ({"memory": dict(self.memory.state_dict())} if learned else {})
        door.remember(phase, self._key(phase, door.budget), lambda folder: saving.write(folder, state))

    def _shared(self, streams: tuple[str, ...]) -> dict[str, Any]:
        return {
            "vae": dict(self.vae.state_dict()),
            "recording": self.recording.state(),
            "generators": {name: self.generators[name] for name in streams},
            "recorder_rng": json.dumps(self.recorder.rng.bit_generator.state),
            "updates": self.updates,
        }

    def _take(self, folder: Path) -> None:
        state = saving.read(folder)
        self.vae.load_state_dict(state["vae"])
        if "memory" in state:
            self.memory.load_state_dict(state["memory"])
        self.recording.restore(state["recording"])
        for name, generator in state["generators"].items():
            self.generators[name].set_state(generator)
        self.recorder.rng.bit_generator.state = json.loads(state["recorder_rng"])
        self.updates = state["updates"]

    def save(self, folder: Path) -> None:
        state = {
            **self._shared(tuple(self.generators)),
            "memory": dict(self.memory.state_dict()),
            "evolution": self.evolution.state(),
            "wondering": self.wondering.state(),
            "parameters": torch.from_numpy(self.parameters),
            "tested": (self.tested, float(self.best_tested)),
            "games": self.games.state(),
            "recorder": self.recorder.state(),
            "practice": self.practice.state(),
            "at": self.at,
            "doing": self.doing,
        }
        saving.write(folder, state)

    def load(self, folder: Path) -> None:
        self._take(folder)
        state = saving.read(folder)
        self.evolution.restore(state["evolution"])
        self.wondering.restore(state["wondering"])
        self.parameters = state["parameters"].numpy()
        self.tested, self.best_tested = state["tested"]
        self.games.restore(state["games"])
        self.recorder.restore(state["recorder"])
        self.practice.restore(state["practice"])
        self.at, self.doing = state["at"], state["doing"]


def make(problem: Problem, seed: int, **config: Any) -> WorldModels:
    space = problem.observation_space
    if not (isinstance(space, Box) and space.shape == (64, 64, 3)):
        raise ValueError(
            f"world_models sees colour frames of 64 x 64 pixels, but {problem.env_id} shows {space}; "
            "set size: 64, grey: false and stack: 1 in the task's options"
        )
    settings = Config(**{**PUBLISHED.get(problem.family, {}), **config})
    refuse_impossible(settings, problem)
    return WorldModels(problem, seed, settings)
