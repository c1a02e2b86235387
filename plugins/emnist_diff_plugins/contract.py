"""What plugins agree on among themselves, and the core knows nothing of: kinds of components with their records, the
contracts of what their factories make. What components may offer beside is in `emnist_diff_plugins.capabilities`.

The records are declared as kinds by the folders that use them, with the hook ``emnist_diff_kinds``. A plugin of another
distribution registers such components by hooks like any others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import attrs
from attrs import validators as v

from emnist_diff.errors import ConfigError
from emnist_diff.records import Spec, names_only, one_line
from emnist_diff.surroundings import Review

if TYPE_CHECKING:  # the contracts can be read without paying for torch
    import torch

    from emnist_diff.assembly.sources import Found
    from emnist_diff.components import Component
    from emnist_diff.config import RunConfig
    from emnist_diff.evaluators import Evaluator, Precision
    from emnist_diff.plugins import Registry
    from emnist_diff.protocols import Denoiser, Sink
    from emnist_diff.schedules import Schedule


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


@attrs.frozen(kw_only=True)
class BackendSpec(Spec):
    """A way to evaluate networks. The factory makes a `Backend`.

    requires: modules that must be importable.  extra: of ``emnist-diff``, which brings them, or "".
    devices: kinds of torch devices it serves.  precisions: what it can compute in.
    min_rows: `auto` considers this backend only for runs of at least this many network rows, because setup is slow.
    priority: `auto` prefers the greater.
    max_rows_cpu: the most rows of one call on a CPU, where a configuration names none.
    max_rows_gpu: the same on any other device.
    """

    kind: ClassVar[str] = "backend"
    requires: tuple[str, ...] = attrs.field(default=(), converter=names_only)
    extra: str = attrs.field(default="", validator=one_line)
    devices: tuple[str, ...] = attrs.field(default=("cpu",), converter=names_only)
    precisions: tuple[str, ...] = attrs.field(default=("fp32",), converter=names_only)
    min_rows: int = attrs.field(default=0, validator=v.ge(0))
    priority: int = 0
    max_rows_cpu: int = attrs.field(default=32, validator=v.ge(1))
    max_rows_gpu: int = attrs.field(default=1024, validator=v.ge(1))

    def missing(self) -> str | None:
        """What has to be installed before it can serve, and how; or None."""
        absent = [name for name in self.requires if find_spec(name) is None]
        if not absent:
            return None
        remedy = f" — pip install 'emnist-diff[{self.extra}]'" if self.extra else ""
        return f"{', '.join(absent)} is not installed{remedy}"

    def refusal(self, device: str, precision: str) -> str | None:
        """Why it cannot serve on a kind of device (``cpu``, ``cuda``) in a precision, to follow its name; or None."""
        if device not in self.devices:
            return f"serves {', '.join(self.devices)}, not {device}"
        if precision not in self.precisions:
            return f"computes in {', '.join(self.precisions)}, not {precision}"
        return None

    def most_rows(self, device: str) -> int:
        """Rows of a call at most on a kind of device, ``cpu``, ``cuda``, …"""
        return self.max_rows_cpu if device == "cpu" else self.max_rows_gpu


@attrs.frozen
class SettingsReview(Review):
    """A review that also takes part in what plugins make of a run's settings, before a run is assembled of them and
    when they are recorded. Each method does nothing unless it is overridden."""

    def expand(self, settings: Mapping[str, Any], registry: Registry) -> Mapping[str, Any]:
        """The settings of a run, as plain data with components in their long form, with others in place of those that
        stand for them, as a preset does. Raises `ConfigError` for settings that contradict each other."""
        return settings

    def require_record(
        self, record: Mapping[str, Any], registry: Registry, settings: RunConfig, denoiser: Found
    ) -> None:
        """Raise `CheckpointError` or `ConfigError` for a recorded configuration whose weights and files, which `record`
        names by the hashes ``checkpoint_sha256``, ``guide_sha256`` and ``files`` (None where it is silent), are others
        than those of now."""

    def files(self, parts: Mapping[str, Component | Schedule]) -> Mapping[str, Any]:
        """JSON-ready: the files that decide what components and schedules do, by their place in the configuration
        (``forces[0]``). A run records them; runs with other ones are other runs."""
        return {}


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


@attrs.frozen
class Workload:
    """What a backend has to be ready for.

    rows: of a call at most, constant in the run.  device: where states are.  precision: what the network computes in.
    identity: a hash of network and weights, for caches; "" where nothing is known.
    threads: of the CPU, for this process.
    """

    rows: int
    device: torch.device
    precision: Precision = "fp32"
    identity: str = ""
    threads: int = 1


class MemoryShort(ConfigError):
    """A device's memory does not hold a call of a network, however few its rows may be."""


@runtime_checkable
class Backend(Protocol):
    """What a `BackendSpec` names: an attrs class of settings that makes evaluators of denoisers."""

    def refusal(self, denoiser: Denoiser, work: Workload) -> str | None:
        """Why it cannot serve this denoiser here (a library, the precision, the device), with the way out; or None.
        Cheap: imports nothing heavy."""

    def evaluator(self, denoiser: Denoiser, work: Workload) -> Evaluator:
        """The denoiser, set up. Raises `PluginError` or `ConfigError` with the way out."""
