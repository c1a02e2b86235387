"""One evaluation of the network, differentiated by as many forces as want to.

`torch.autograd.grad` frees what it went through. So that forces need not know of each other, each gets a leaf and
outputs of its own, and the way from the one to the other leads through the one evaluation, which is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import attrs
import torch
from torch import Tensor


@attrs.frozen(eq=False)
class Tape:
    """The outputs of some networks at a state, and the way back.

    leaf: the state, (B, *shape).  outputs: of each call, (R, *shape).
    """

    leaf: Tensor
    outputs: tuple[Tensor, ...]

    @classmethod
    def of(cls, x: Tensor, evaluate: Callable[[Tensor], Sequence[Tensor]]) -> Tape:
        """What `evaluate` makes of `x`, with gradients, also where the caller is in inference mode."""
        with autograd_enabled():
            leaf = x.clone().requires_grad_()
            return cls(leaf, tuple(evaluate(leaf)))

    def fresh(self) -> tuple[Tensor, list[Tensor]]:
        """A leaf and outputs that depend on it, for one who differentiates them."""
        with autograd_enabled():
            leaf = self.leaf.detach().clone().requires_grad_()
            outputs: tuple[Tensor, ...] = _Again.apply(self, leaf)  # type: ignore[no-untyped-call]  # torch's own
            return leaf, list(outputs)


@contextmanager
def autograd_enabled() -> Iterator[None]:
    """Autograd on, whatever the caller has turned off."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


class _Again(torch.autograd.Function):
    """The outputs of a tape as a function of another leaf."""

    @staticmethod
    def forward(ctx: Any, tape: Tape, leaf: Tensor) -> tuple[Tensor, ...]:
        ctx.tape = tape
        return tuple(output.detach().clone() for output in tape.outputs)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor | None]:
        tape: Tape = ctx.tape
        reached = [(o, g) for o, g in zip(tape.outputs, gradients, strict=True) if o.requires_grad]
        if not reached:
            return None, None
        outputs, back = zip(*reached, strict=True)
        (gradient,) = torch.autograd.grad(outputs, tape.leaf, back, retain_graph=True, allow_unused=True)
        return None, gradient
