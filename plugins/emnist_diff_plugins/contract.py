"""What plugins agree on among themselves, and the core knows nothing of: kinds of components with their records, the
contracts of what their factories make, and abilities of components that reviews and backends look for.

The records are declared as kinds by the folders that use them, with the hook ``emnist_diff_kinds``. A plugin of another
distribution registers such components by hooks like any others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import attrs
from attrs import validators as v

from emnist_diff.records import Spec

if TYPE_CHECKING:  # the contracts can be read without paying for torch
    import torch

    from emnist_diff.directions import Directions
    from emnist_diff.frames import RunHeader
    from emnist_diff.protocols import Sink
    from emnist_diff.timeline import StepInfo


@attrs.frozen(kw_only=True)
class CodecSpec(Spec):
    """A codec between images and latents. The factory makes a `CodecFamily` of emnist_diff_plugins.containers."""

    kind: ClassVar[str] = "codec"


@attrs.frozen(kw_only=True)
class ObjectiveSpec(Spec):
    """What a denoiser learns to predict. The factory makes an `Objective` of emnist_diff_plugins.containers."""

    kind: ClassVar[str] = "objective"


@attrs.frozen(kw_only=True)
class RecipeSpec(Spec):
    """A recipe: named settings of a training, which its `expand()` gives. The factory makes a `Preset`."""

    kind: ClassVar[str] = "recipe"


@attrs.frozen(kw_only=True)
class PresetSpec(Spec):
    """A preset: a named piece of configuration. The factory makes a `Preset`."""

    kind: ClassVar[str] = "preset"


@attrs.frozen(kw_only=True)
class DatasetSpec(Spec):
    """A dataset reader. The factory makes a `Dataset`."""

    kind: ClassVar[str] = "dataset"


@attrs.frozen(kw_only=True)
class PlotSpec(Spec):
    """A picture of something.

    of: what it is of. ``run``: a run about to start; the factory makes a `Plot`, and the default one serves
    ``emnist-diff run --plot-schedules``. ``trajectories``: recorded runs; the factory makes what ``emnist-diff plot``
    draws.
    """

    kind: ClassVar[str] = "plot"
    of: str = attrs.field(default="run", validator=v.in_(("run", "trajectories")))


@attrs.frozen(kw_only=True)
class DisplaySpec(Spec):
    """Shows how far a run is. The factory makes a `Display`; ``--NAME`` takes one that is no default."""

    kind: ClassVar[str] = "display"


@attrs.frozen(kw_only=True)
class LayerSpec(Spec):
    """Settings under the user's own of a run. The factory makes a `Layer`; ``--no-NAME`` leaves it out."""

    kind: ClassVar[str] = "layer"


@attrs.frozen(kw_only=True)
class FormSpec(Spec):
    """A form of configuration files. The factory makes a `Form`; the default one is asked last."""

    kind: ClassVar[str] = "form"


@runtime_checkable
class Preset(Protocol):
    """A named piece of configuration."""

    def expand(self) -> Mapping[str, Any]:
        """Configuration keys (base, forces, drifts, …) to lay under the user's own."""


@runtime_checkable
class Dataset(Protocol):
    """What a `DatasetSpec` names: an attrs class whose fields say which images, e.g. a directory and a split.

    A reader with a field ``part`` (``train`` or ``test``) lets training measure on images that it does not learn;
    asked for a part that is not there, it raises `DatasetError`.
    """

    def load(self) -> Any:
        """All images, decoded once, as an object with

        images: uint8 (N, C, H, W), upright, C 1 or 3.  labels: int64 (N,), indices into `classes`.
        classes: tuple of names in index order.  merged: names without a class of their own → the class for them.
        provenance: JSON-ready and without directories; equal whenever the images are.

        `emnist_diff_plugins.datasets.images.Images` is one, and checks all this. Raises `DatasetError` naming the
        file and what is wrong with it.
        """


@runtime_checkable
class Plot(Protocol):
    """A picture. ``emnist-diff run --plot-schedules`` asks the default one for that of a run's weights over time, and
    hands it an `emnist_diff.assembly.layout.Layout`."""

    def png(self, subject: Any) -> bytes:
        """The picture of `subject`, as a PNG. Raises `PluginError` where a drawing library is missing."""


@attrs.frozen(eq=False)
class Shown:
    """What a display wants to be told while a run goes on.

    on_commit: called after each commit with the samples done and the samples in all; None has the log say so.
    sinks: are given every frame.
    """

    on_commit: Callable[[int, int], None] | None = None
    sinks: tuple[Sink, ...] = ()


@runtime_checkable
class Display(Protocol):
    """What a `DisplaySpec` names: shows how far a run is."""

    def refusal(self) -> str | None:
        """Why it cannot be shown here, on this terminal; or None."""

    def log(self) -> Callable[..., Any] | None:
        """A structlog processor that sees each event before it is written, and may keep it by `structlog.DropEvent`;
        None where the log goes on as it is."""

    def show(self, total: int) -> AbstractContextManager[Shown]:
        """Show a run of `total` samples for as long as the context lasts."""


@runtime_checkable
class Layer(Protocol):
    """What a `LayerSpec` names: settings from elsewhere than the command line and its file."""

    def settings(self) -> Mapping[str, Any]:
        """Settings of a `config.RunConfig`, checked. Raises `ConfigError` for what is wrong with them."""


@runtime_checkable
class Form(Protocol):
    """What a `FormSpec` names: reads configurations in one form. The default one is asked last."""

    def layer(self, path: Path, registry: Any, checkpoint: str | None) -> Mapping[str, Any] | None:
        """The settings that a file means; None for one of another form.

        checkpoint: one that stands above the file's, or None.

        Raises `ConfigError` for what does not hold.
        """


class Idles(Protocol):
    """A force or drift whose settings can leave a step alone."""

    def idle(self, at: StepInfo) -> bool:
        """Whether it adds nothing, or returns the state as it is, whatever the predictions are. A run says at its start
        which forces and drifts are idle at every step."""


class HasDirections(Protocol):
    """A force or drift whose numbers mean a direction, see `emnist_diff.directions`."""

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
class Exportable(Protocol):
    """What a `Denoiser` also offers so that backends can compile or export its network; without it, only backends that
    call `Denoiser.predict` can serve."""

    def module(self, variant: str = "") -> torch.nn.Module:
        """The network as a plain module of tensors, in eval mode and with fixed weights:
        forward(x (R, *shape), t (R,) float32 timesteps, index (R,) int64 class indices) → (R, *shape)."""
