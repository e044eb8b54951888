"""M of World Models: an LSTM that predicts the next latent vector as a mixture of Gaussians in every dimension.

Ha & Schmidhuber 2018, appendix A.2. Weights start Glorot-uniform, biases at 0 (the code's: near 0), forget gates' at 1.
"""

from __future__ import annotations

from math import log, pi, sqrt
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Generator, Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, linear

State = tuple[Tensor, Tensor]  # h and c of the LSTM, [N H] each
Latents = Float[Tensor, "B T Z"]
Actions = Float[Tensor, "B T A"]
Column = Float[Tensor, "B T"]
MIXTURES = 5  # K, for each latent dimension; appendix A.2
DONE_FACTOR = 10.0  # how much more a step counts that ends the episode, in the done loss (released code)
aten = torch.ops.aten
ROWS = 512  # of the output layer at a time in the likelihood: what they need stays in a core's cache


class Outputs(NamedTuple):
    """What M says of the next step; leading axes as in what it was asked."""

    log_weights: Float[Tensor, "*N Z K"]  # normalised over K
    mean: Float[Tensor, "*N Z K"]
    log_std: Float[Tensor, "*N Z K"]
    done: Float[Tensor, "*N"] | None  # logit of the episode's end; None without this head
    reward: Float[Tensor, "*N"] | None


class MDNRNN(nn.Module):
    """``latent`` Z, ``actions`` A, ``hidden`` H units; heads for the end of the episode and for the reward by option.

    With ``done`` (Take Cover) it is also fed ``restart``: 1 in an episode's first step, as done was in the one before.
    """

    def __init__(
        self, latent: int, actions: int, hidden: int, generator: Generator, *, done: bool = False, reward: bool = False
    ) -> None:
        super().__init__()
        self.latent, self.actions, self.hidden, self.done, self.reward = latent, actions, hidden, done, reward
        self.gaussians = 3 * MIXTURES * latent  # outputs, in the order log-weights, mean, log-std; K before Z in each
        inputs, outputs = latent + actions + done, self.gaussians + done + reward
        # Rows: input, forget, output gate, candidate. Columns: `inputs`, whose last is the bias, then h.
        self.cell = nn.Parameter(torch.empty(4 * hidden, inputs + 1 + hidden, device=generator.device))
        self.output = nn.Parameter(torch.empty(outputs, hidden, device=generator.device))
        self.output_bias = nn.Parameter(torch.zeros(outputs, device=generator.device))
        self.reward_unit = nn.Buffer(torch.ones((), device=generator.device))  # of the head; a standard deviation
        with torch.no_grad():
            nn.init.xavier_uniform_(self.cell, generator=generator)
            nn.init.xavier_uniform_(self.output, generator=generator)
            self.cell[:, inputs] = 0.0
            self.cell[hidden : 2 * hidden, inputs] = 1.0

    def initial(self, count: int) -> State:
        """The state before the first step of ``count`` episodes."""
        return self.cell.new_zeros(count, self.hidden), self.cell.new_zeros(count, self.hidden)

    def inputs(self, z: Tensor, action: Tensor, restart: Tensor | None) -> Tensor:
        """What the cell is fed beside h: z, action, restart if M knows it, and 1."""
        known = [_needed(restart, "restart")[..., None]] if self.done else []
        return torch.cat([z, action, *known, z.new_ones(*z.shape[:-1], 1)], -1)

    def unroll(
        self, z: Latents, action: Actions, restart: Column | None, state: State | None = None
    ) -> tuple[Float[Tensor, "T B H"], State]:
        """The LSTM over sequences, *time first*, and its last state, which is cut from the graph.

        Where ``restart`` is 1 the state is set to zero before the step, even if M lacks that input.
        """
        x, keep = self.inputs(z, action, restart).transpose(0, 1), None if restart is None else (1.0 - restart).t()
        hidden, c = _LSTM.apply(x, keep, self.cell, *(state or self.initial(len(z))))  # type: ignore[no-untyped-call]
        return hidden, (hidden[-1].detach().clone(), c)

    def forward(
        self, z: Latents, action: Actions, restart: Column | None = None, state: State | None = None
    ) -> tuple[Outputs, State]:
        """What M expects after every step of real sequences, and the state after the last; see `unroll`."""
        hidden, state = self.unroll(z, action, restart, state)
        return self.predict(hidden.transpose(0, 1)), state

    def losses(
        self,
        z: Latents,
        action: Actions,
        restart: Column | None,
        next_z: Latents,
        done: Column | None = None,
        reward: Column | None = None,
        mask: Shaped[Tensor, "B T"] | None = None,
    ) -> dict[str, Tensor]:
        """Losses by name, each a mean over the steps where ``mask`` is true; what M has no head for is left aside.

        ``latent``: minus the log-likelihood of ``next_z`` (a constant: no gradient), mean over dimensions, too.
        ``done``: the logit's cross-entropy, where ``done`` is 1 counted ten times (but as one step in the mean).
        ``reward``: its squared error in ``reward_unit``, 1 or so at first: CarRacing's rare -100 don't drown the other
        losses, and it is still the mean that is learned (ours; the paper proposes the head and gives no loss).
        """
        hidden, _ = self.unroll(z, action, restart)
        weight = (torch.ones_like(z[..., 0]) if mask is None else mask.to(z)).t()
        weight = weight / weight.sum().clamp(min=1.0)
        n, target = self.gaussians, next_z.detach().transpose(0, 1).flatten(0, 1)
        layer = (hidden.flatten(0, 1), self.output[:n], self.output_bias[:n])
        given = (target, weight.flatten() / self.latent, torch.is_grad_enabled())
        found: dict[str, Tensor] = {"latent": _Likelihood.apply(*layer, *given)}  # type: ignore[no-untyped-call]
        others = linear(hidden, self.output[n:], self.output_bias[n:])
        if self.done:
            ended = _needed(done, "done").t()
            counted = weight * (1.0 + (DONE_FACTOR - 1.0) * ended)
            found["done"] = binary_cross_entropy_with_logits(others[..., 0], ended, counted, reduction="sum")
        if self.reward:
            found["reward"] = (weight * (others[..., -1] - _needed(reward, "reward").t() / self.reward_unit) ** 2).sum()
        return found

    @torch.no_grad()
    def step(
        self, z: Float[Tensor, "N Z"], action: Float[Tensor, "N A"], restart: Float[Tensor, " N"] | None, state: State
    ) -> State:
        """One step of the LSTM alone. ``restart`` is only an input: who begins an episode gives `initial` states."""
        h, c = state
        gates = torch.cat([self.inputs(z, action, restart), h], 1) @ self.cell.t()
        i, f, o = gates[:, : 3 * self.hidden].sigmoid_().chunk(3, 1)
        c = (f * c).addcmul_(i, gates[:, 3 * self.hidden :].tanh_())
        return o * c.tanh(), c

    def predict(self, h: Float[Tensor, "*N H"]) -> Outputs:
        """The heads alone."""
        out = linear(h, self.output, self.output_bias)
        parts = out[..., : self.gaussians].view(*out.shape[:-1], 3, MIXTURES, self.latent).transpose(-1, -2)
        done = out[..., self.gaussians] if self.done else None
        reward = out[..., -1] * self.reward_unit if self.reward else None
        return Outputs(parts[..., 0, :, :].log_softmax(-1), parts[..., 1, :, :], parts[..., 2, :, :], done, reward)

    @staticmethod
    @torch.no_grad()
    def sample(outputs: Outputs, temperature: float, generator: Generator) -> Float[Tensor, "*N Z"]:
        """The next z. The temperature divides the logits of the weights and multiplies the variance (section 4)."""
        odds = (outputs.log_weights / temperature).softmax(-1).cumsum(-1)
        share = torch.empty_like(odds[..., 0]).uniform_(generator=generator)
        chosen = (share[..., None] > odds[..., :-1]).sum(-1, keepdim=True)
        mean, log_std = (part.gather(-1, chosen)[..., 0] for part in (outputs.mean, outputs.log_std))
        return mean + sqrt(temperature) * log_std.exp() * torch.empty_like(share).normal_(generator=generator)

    @staticmethod
    def surprise(outputs: Outputs, next_z: Float[Tensor, "*N Z"]) -> Float[Tensor, "*N"]:
        """Minus the log-likelihood of what came, summed over the latent dimensions, in nats."""
        error = (next_z[..., None] - outputs.mean) * (-outputs.log_std).exp()
        each = outputs.log_weights - outputs.log_std - 0.5 * error.square()
        return (0.5 * log(2 * pi) - each.logsumexp(-1)).sum(-1)


def _needed(given: Tensor | None, name: str) -> Tensor:
    if given is None:
        raise ValueError(f"expected {name!r} for an M that was made with it, found None")
    return given


class _LSTM(torch.autograd.Function):
    """The recurrence over ``x [T B I]`` with the gradient by hand; gives h of every step, and the last c.

    ``nn.LSTM`` takes a fifth longer, has two biases and can't begin anew within a sequence: ``keep [T B]`` is 0 where
    the state is set to zero before the step. Backwards once only: the gates' gradients take the gates' place.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, keep: Tensor | None, w: Tensor, h0: Tensor, c0: Tensor) -> Any:
        (steps, count, inputs), size = x.shape, h0.shape[1]
        cut = [False] * steps if keep is None else (keep == 0).any(1).tolist()
        seen = x.new_empty(steps + 1, count, inputs + size)  # by each step: its inputs, and h of the step before
        c, gates = x.new_empty(steps + 1, count, size), x.new_empty(steps, count, 4 * size)
        h = seen[:, :, inputs:]
        seen[:-1, :, :inputs], h[0], c[0] = x, h0, c0
        for t in range(steps):
            before, c_before = seen[t], c[t]
            if keep is not None and cut[t]:
                before, c_before = torch.cat([x[t], h[t] * keep[t, :, None]], 1), c[t] * keep[t, :, None]
            g, c_now = torch.mm(before, w.t(), out=gates[t]), c[t + 1]
            i, f, o = g[:, : 3 * size].sigmoid_().chunk(3, 1)
            torch.mul(f, c_before, out=c_now).addcmul_(i, g[:, 3 * size :].tanh_())
            torch.mul(o, c_now.tanh(), out=h[t + 1])
        ctx.save_for_backward(seen, keep, w, gates, c)
        ctx.cut, last = cut, c[-1].clone()
        ctx.mark_non_differentiable(last)
        return h[1:], last

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        seen, keep, w, gates, c = ctx.saved_tensors
        size, d, d_c, d_h = c.shape[2], torch.empty_like(gates[0]), torch.zeros_like(c[0]), grads[0][-1].clone()
        w_x, w_h, (d_i, d_f, d_o, d_g), three = w[:, :-size], w[:, -size:], d.chunk(4, 1), slice(3 * size)
        for t in reversed(range(len(gates))):
            (i, f, o, g), tanh_c = gates[t].chunk(4, 1), c[t + 1].tanh()
            torch.mul(d_h, tanh_c, out=d_o)
            d_c += aten.tanh_backward(d_h.mul_(o), tanh_c)
            torch.mul(d_c, g, out=d_i)
            torch.mul(d_c, c[t] * keep[t, :, None] if ctx.cut[t] else c[t], out=d_f)
            torch.mul(d_c, i, out=d_g)
            d_c *= f
            aten.sigmoid_backward.grad_input(d[:, three], gates[t][:, three], grad_input=gates[t][:, three])
            aten.tanh_backward.grad_input(d_g, g, grad_input=g)
            torch.addmm(grads[0][t - 1], gates[t], w_h, out=d_h)  # at t = 0 of no use
            if ctx.cut[t]:
                d_c *= keep[t, :, None]
                d_h = torch.where(keep[t, :, None] > 0, d_h, grads[0][t - 1])
        d_gates, seen = gates.flatten(0, 1), seen[:-1].flatten(0, 1)
        d_w = d_gates.t() @ seen
        if any(ctx.cut):
            cut = (keep == 0).flatten()
            d_w[:, -size:] -= d_gates[cut].t() @ seen[cut, -size:]
        return (d_gates @ w_x).view(*gates.shape[:2], -1) if ctx.needs_input_grad[0] else None, None, d_w, None, None


class _Likelihood(torch.autograd.Function):
    """Minus the log-likelihood of ``y [M Z]`` under what a linear layer makes of ``h [M H]``, times ``share [M]``.

    Gradients are found on the way forward, a few rows at a time: nothing large is kept. Backwards once only, too.
    """

    @staticmethod
    def forward(ctx: Any, h: Tensor, w: Tensor, b: Tensor, y: Tensor, share: Tensor, grad: bool) -> Tensor:
        total, d_h, d_w, d_b = h.new_zeros(()), torch.empty_like(h), torch.zeros_like(w), torch.zeros_like(b)
        for start in range(0, len(h), ROWS):
            rows = slice(start, start + ROWS)
            out = torch.addmm(b, h[rows], w.t())
            logits, mean, log_std = out.view(len(out), 3, -1, y.shape[1]).unbind(1)
            scale, weight = (-log_std).exp_(), share[rows, None]
            error = (y[rows, None] - mean).mul_(scale)
            each = (logits - log_std).addcmul_(error, error, value=-0.5)
            normaliser, likelihood = logits.logsumexp(1), each.logsumexp(1)
            total += ((normaliser - likelihood + 0.5 * log(2 * pi)) * weight).sum()
            if grad:
                blame = each.sub_(likelihood[:, None]).exp_().mul_(weight[..., None])
                logits.sub_(normaliser[:, None]).exp_().mul_(weight[..., None]).sub_(blame)
                torch.mul(blame, error, out=mean)
                torch.addcmul(blame, mean, error, value=-1.0, out=log_std)
                mean.mul_(scale).neg_()
                torch.mm(out, w, out=d_h[rows])
                d_w.addmm_(out.t(), h[rows])
                d_b += out.sum(0)
        ctx.save_for_backward(d_h, d_w, d_b)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return *(found.mul_(grads[0]) for found in ctx.saved_tensors), None, None, None
