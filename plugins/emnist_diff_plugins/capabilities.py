"""What components may offer beside their contract, and how they mark settings, for reviews, commands and backends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import attrs

if TYPE_CHECKING:  # the contracts can be read without paying for torch
    import torch

    from emnist_diff.frames import RunHeader
    from emnist_diff.timeline import StepInfo
    from emnist_diff_trajectory.attention import AttentionRequest
    from emnist_diff_trajectory.schema import Array


WEIGHTS = "weights"
"""The key of a field's metadata that marks the setting of a denoiser family which names its weights.
`families.Source.identity` stands for their content, so that a run records neither the name nor the setting."""


class Idles(Protocol):
    """A force or drift whose settings can leave a step alone."""

    def idle(self, at: StepInfo) -> bool:
        """Whether it adds nothing, or returns the state as it is, whatever the predictions are. A run says at its start
        which forces and drifts are idle at every step."""


@attrs.frozen
class Direction:
    """What a positive number makes a component do.

    does: that, for messages, as ``pushes away``.  instead: what to use for the opposite.
    repeated: whether a minus says the same as the name, so that a negative number is read as its magnitude; else it is
    refused.
    """

    does: str
    instead: str
    repeated: bool = False


Directions = Mapping[str, Direction]
"""Of a component: its numbers that have a direction, by setting, and ``weight`` for the weight that a run gives it."""


class HasDirections(Protocol):
    """A force or drift whose numbers mean a direction: a positive number of a force named *repel* repels."""

    @property
    def directions(self) -> Directions:
        """What a positive number makes it do, by setting."""


@runtime_checkable
class NamesFiles(Protocol):
    """What a component also offers that reads files which none of its settings names: see `reviews.files`."""

    def files(self) -> Mapping[str, str | Path]:
        """Files and directories that decide what it does, name → path. A run records their hashes under these names."""


@runtime_checkable
class SaysMemory(Protocol):
    """What a `Sink` also offers that keeps much until a batch is committed, so that a run which cannot end well is
    refused before it starts."""

    def memory(self, header: RunHeader, batch: int) -> float:
        """Bytes of main memory that it holds at most while a batch of so many samples is made; asked before `open`."""


@runtime_checkable
class SaysSize(Protocol):
    """What a `Sink` also offers that writes a file whose size is known before a run."""

    def file(self, header: RunHeader) -> Path:
        """The file."""

    def arrays(self, header: RunHeader) -> Sequence[Array]:
        """All that the file will hold."""


@runtime_checkable
class KeepsLess(Protocol):
    """What a `Sink` also offers of which less can be kept where its file would become too large."""

    @property
    def request(self) -> AttentionRequest | None:
        """The attention that it keeps; None for none."""

    def kept(self, request: AttentionRequest | None, every: int) -> Mapping[str, Any]:
        """Those of its settings that change where it keeps this attention, which may be None only where `request` is,
        and of the steps that it keeps each `every`-th."""


class HasVariants(Protocol):
    """A denoiser that can be evaluated in other ways than the plain one."""

    @property
    def variants(self) -> tuple[str, ...]:
        """Their names, as `emnist_diff_plugins.variants` reads them; a condition has one in `Cond.variant`."""


class ForgetsTexts(Protocol):
    """What a `Denoiser` of texts also offers whose rows depend on all texts that were requested, so that it can serve
    several runs one after the other."""

    def forget_texts(self) -> None:
        """Begin anew before a run is laid out; what was encoded may be kept."""


class Previews(Protocol):
    """What a `Denoiser` also offers whose `decode` takes long: cheaper pictures of states."""

    def previewer(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """A function from states (B, *shape) on any device to images (B, C, H, W) in [0, 1] of the denoiser's image
        shape. What it needs is loaded at once, for it is called by the thread of the sinks."""


class ShowsPreviews(Protocol):
    """What a `Sink` also offers that shows steps, and can show them by `Previews`."""

    def take_previewer(self, previewer: Callable[[], Callable[[torch.Tensor], torch.Tensor]] | None) -> None:
        """Called before `open`.  previewer: that of the run's denoiser, to be called where it is wanted; None where it
        has none. Raises `ConfigError` for a sink that cannot do without."""


@runtime_checkable
class Exportable(Protocol):
    """What a `Denoiser` also offers so that backends can compile or export its network; without it, only backends that
    call `Denoiser.predict` can serve."""

    def module(self, variant: str = "") -> torch.nn.Module:
        """The network as a plain module of tensors, in eval mode and with fixed weights:
        forward(x (R, *shape), t (R,) float32 timesteps, index (R,) int64 class indices) → (R, *shape)."""


class Casts(Protocol):
    """What a `Denoiser` also offers whose network is loaded in the precision that a run computes in."""

    def cast(self, precision: str) -> None:
        """Have the network compute in ``fp32``, ``bf16`` or ``fp16``, from float32 to float32."""


@runtime_checkable
class BoundsCalls(Protocol):
    """What a `Denoiser` also offers that computes no faster in calls of more rows, so that no call is filled up."""

    def most_rows(self, device: str) -> int | None:
        """How many rows of a call are computed together on a device of this type, such as ``cpu``; None for any."""


@runtime_checkable
class DescribesActivations(Protocol):
    """What a `Denoiser` that captures activations also offers, so that a run records what they are of."""

    def describe(self, requests: Iterable[str]) -> Mapping[str, Any]:
        """JSON-ready facts of the activations that these requests mean, such as layers and tokens."""
