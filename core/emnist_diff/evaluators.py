"""Evaluators, which compute what networks predict, and what a run gets them from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import attrs

if TYPE_CHECKING:  # the contracts can be read without paying for torch
    import torch
    from torch import Tensor

    from emnist_diff.assembly.layout import Layout
    from emnist_diff.components import Component
    from emnist_diff.conditions import RowConditions
    from emnist_diff.plugins import Registry
    from emnist_diff.protocols import Denoiser


Precision = Literal["fp32", "bf16", "fp16"]
"""What a network computes in. States, noise, sums and files are float32 whatever the network does."""


class HasRows(Protocol):
    """An evaluator that cuts calls into parts, and is called for whole parts."""

    @property
    def rows(self) -> int:
        """How many rows a part has; without, `Prepared.rows`."""


class Evaluator(Protocol):
    """A denoiser, set up for calls of one number of rows. It may also be `HasRows`."""

    def __call__(self, x: Tensor, t: Tensor, conds: RowConditions) -> Tensor:
        """The predictions of k · rows rows, float32 and contiguous.

        x: (k·rows, *shape) float32.  t: (k·rows,) float32 timesteps.  conds.index: (k·rows,).  k may differ from call
        to call. A row's value depends on its own inputs and on what the evaluator was set up for, and on nothing else:
        neither on its neighbours nor on k.
        """


@attrs.frozen(eq=False)
class Prepared:
    """The networks of a run on a backend.

    evaluators: what evaluates each, by name; ``""`` is the main one.  rows: of a call.  precision: computed in.
    component: the backend.  requires: the modules that it needs, whose versions are recorded.
    decoder: what makes images in [0, 1], (B, C, H, W), of states (B, *shape), each the same whatever B is; the main
    denoiser itself for None.
    reason: why this backend was chosen, and not a better one.  hint: what a user can do for a better one, or "".
    """

    evaluators: Mapping[str, Evaluator]
    rows: int
    precision: Precision
    component: Component
    requires: tuple[str, ...] = ()
    reason: str = "asked for"
    hint: str = ""
    decoder: Callable[[Tensor], Tensor] | None = None


@runtime_checkable
class Chooser(Protocol):
    """What a `ChooserSpec` names: puts the networks of a run on a backend."""

    def choose(
        self,
        registry: Registry,
        layout: Layout,
        denoisers: Mapping[str, Denoiser],
        identities: Mapping[str, str],
        device: torch.device,
    ) -> Prepared:
        """The networks on the backend that the settings of the run name, ``layout.settings.backend``, or on one that is
        chosen where they say ``auto``; with the rows of a call where they leave these to choice.

        denoisers: by name.  identities: the SHA-256 of their weights, or "".  Raises `ConfigError` where the backend
        refuses or memory does not suffice, `PluginError` for one that breaks.
        """
