"""Bidirectional GRU layers on a CPU, for the weights of `torch.nn.GRU`.

Torch's own CPU form adds to each weight's gradient at every frame, through the slower of its two libraries. Here a
layer is one function: products with the input and all gradients of weights are taken over all frames at once, and the
products that must wait for one another use weights that were packed once. Same numbers to rounding; on CUDA, cuDNN's
fused kernel (`torch.nn.GRU`) stays the better one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ssl_skel.nn.products import has_packed_products, linear, product_dtype, without_autocast

__all__ = ["run_gru"]

KEYS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
Product = Callable[[Tensor], Tensor]


def run_gru(gru: nn.GRU, x: Tensor, length: Tensor | None = None) -> Tensor:
    """Run a batch-first GRU of one or two directions over sequences on a CPU.

    Args:
        gru: Holds the weights (cuDNN's form of the GRU: the reset gate acts after the product).
        x: (N, T, I).
        length: (N,) int64, valid frames from the first on; None if all are. Later frames give zeros.

    Returns:
        (N, T, directions * H), the states of the last layer.
    """
    inside = None if length is None else torch.arange(x.shape[1])[:, None] < length  # (T, N)
    kind = product_dtype(x)
    out = x.transpose(0, 1)
    for layer in range(gru.num_layers):
        ways = []
        for name, back in (("", False), ("_reverse", True))[:1 + gru.bidirectional]:
            weights = (getattr(gru, f"{key}_l{layer}{name}") for key in KEYS)
            ways.append(_Way.apply(out, *weights, inside, back, kind))
        out = torch.cat(ways, 2)
    return out.transpose(0, 1)


class _Saved(NamedTuple):
    """What the way back needs of every frame: each (T, N, H)."""

    reset: Tensor
    update: Tensor
    new: Tensor
    before: Tensor
    inner: Tensor


def _product(weight: Tensor, rows: int, bias: Tensor | None) -> Product:
    """Product with one weight matrix (o, c), to be taken many times with (rows, c), as float32 or `weight`'s type."""
    if weight.dtype in (torch.float32, torch.bfloat16) and has_packed_products():
        packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), rows)
        own = None if bias is None else bias.to(weight.dtype)
        wide = torch.float32 if weight.dtype == torch.bfloat16 else weight.dtype
        return lambda x: torch.ops.mkldnn._linear_pointwise(
            x.to(weight.dtype), packed, own, "none", [], "").to(wide)
    return lambda x: F.linear(x.to(weight.dtype), weight, bias)


def _wide(x: Tensor) -> Tensor:
    return x.float() if x.dtype == torch.bfloat16 else x


def _over_frames(x: Tensor, weight: Tensor, bias: Tensor | None, kind: torch.dtype) -> Tensor:
    """(T, N, c) times (o, c), at once."""
    flat = linear(x.flatten(0, 1).to(kind), weight.to(kind), None if bias is None else bias.to(kind))
    return _wide(flat).view(*x.shape[:2], -1)


def _outer(of: Tensor, by: Tensor, kind: torch.dtype) -> Tensor:
    """Sum over frames and rows of the outer products of (T, N, o) and (T, N, c): (o, c)."""
    left, right = of.flatten(0, 1).t().contiguous().to(kind), by.flatten(0, 1).t().contiguous().to(kind)
    return _wide(linear(left, right))


class _Way(torch.autograd.Function):
    """One layer in one direction."""

    @staticmethod
    @without_autocast
    def forward(ctx: Any, x: Tensor, w_in: Tensor, w_state: Tensor, b_in: Tensor, b_state: Tensor,
                inside: Tensor | None, back: bool, kind: torch.dtype) -> Tensor:
        """Run (T, N, I) to (T, N, H)."""
        frames, rows, _ = x.shape
        size = w_state.shape[1]
        gates = _over_frames(x, w_in, b_in, kind)
        step = _product(w_state.to(kind), rows, b_state)
        states = gates.new_zeros(frames, rows, size)
        saved = _Saved(*(torch.empty_like(states) for _ in _Saved._fields))
        state = gates.new_zeros(rows, size)
        for frame in reversed(range(frames)) if back else range(frames):
            inner = step(state)
            both = (gates[frame, :, :2 * size] + inner[:, :2 * size]).sigmoid_()
            reset, update = both[:, :size], both[:, size:]
            new = torch.addcmul(gates[frame, :, 2 * size:], reset, inner[:, 2 * size:]).tanh_()
            for kept, value in zip(saved, (reset, update, new, state, inner[:, 2 * size:]), strict=True):
                kept[frame] = value
            after = torch.lerp(new, state, update)
            state = after if inside is None else torch.where(inside[frame, :, None], after, state)
            states[frame] = state
        if inside is not None:
            states = states * inside[..., None]
        ctx.save_for_backward(x, w_in, w_state, *saved)
        ctx.inside, ctx.back, ctx.kind = inside, back, kind
        return states

    @staticmethod
    @once_differentiable
    @without_autocast
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gate gradients frame by frame; everything else over all frames at once."""
        x, w_in, w_state, *kept = ctx.saved_tensors
        saved, inside, kind = _Saved(*kept), ctx.inside, ctx.kind
        by_gates, by_inner = _gate_gradients(grad, saved, _product(w_state.t().to(kind), grad.shape[1], None), inside,
                                             ctx.back)
        needs_x = ctx.needs_input_grad[0]
        to_x = _over_frames(by_gates, w_in.t(), None, kind).to(x.dtype) if needs_x else None
        return (to_x, _outer(by_gates, x, kind), _outer(by_inner, saved.before, kind), by_gates.sum((0, 1)),
                by_inner.sum((0, 1)), None, None, None)


def _gate_gradients(grad: Tensor, saved: _Saved, step_back: Product, inside: Tensor | None,
                    back: bool) -> tuple[Tensor, Tensor]:
    """Gradients of the input's and of the state's share of the gates, each (T, N, 3H)."""
    frames, rows, size = grad.shape
    grad = _wide(grad) if inside is None else _wide(grad) * inside[..., None]
    by_gates, by_inner = grad.new_empty(frames, rows, 3 * size), grad.new_empty(frames, rows, 3 * size)
    # factors that do not depend on what comes from later frames, over all frames at once
    of_new = (1 - saved.update) * (1 - saved.new.square())
    of_update = (saved.before - saved.new) * saved.update * (1 - saved.update)
    of_reset = saved.inner * saved.reset * (1 - saved.reset)
    later = grad.new_zeros(rows, size)
    for frame in range(frames) if back else reversed(range(frames)):
        total = grad[frame] + later
        here = total if inside is None else total * inside[frame, :, None]
        new, gates = here * of_new[frame], by_gates[frame]
        torch.mul(new, of_reset[frame], out=gates[:, :size])
        torch.mul(here, of_update[frame], out=gates[:, size:2 * size])
        gates[:, 2 * size:] = new
        by_inner[frame, :, :2 * size] = gates[:, :2 * size]
        torch.mul(new, saved.reset[frame], out=by_inner[frame, :, 2 * size:])
        later = torch.addcmul(step_back(by_inner[frame]), here, saved.update[frame])
        if inside is not None:
            later = later + total * ~inside[frame, :, None]
    return by_gates, by_inner
